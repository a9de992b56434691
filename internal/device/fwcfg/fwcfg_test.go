package fwcfg

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strings"
	"testing"

	"govmd/internal/device"
	"govmd/internal/device/devtest"
)

const (
	port = DefaultIOBase
	cmd  = 0x1000  // where the tests put commands
	buf  = 0x10000 // and data
)

func newFWCfg(t *testing.T, props ...string) (*devtest.Machine, *Device) {
	t.Helper()
	m := devtest.New(t)
	return m, m.Plug(nil, TypeName, "", props...).(*Device)
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func read(m *devtest.Machine, key uint16, n int) []byte {
	m.Out16(port, key)
	p := make([]byte, n)
	for i := range p {
		p[i] = m.In8(port + 1)
	}
	return p
}

// dma runs a command and returns the control word afterwards.
func dma(m *devtest.Machine, control, length uint32, addr uint64) uint32 {
	var c [16]byte
	binary.BigEndian.PutUint32(c[0:], control)
	binary.BigEndian.PutUint32(c[4:], length)
	binary.BigEndian.PutUint64(c[8:], addr)
	m.WriteMem(cmd, c[:])
	var be [4]byte
	binary.BigEndian.PutUint32(be[:], cmd)
	m.Out32(port+8, binary.LittleEndian.Uint32(be[:]))
	return binary.BigEndian.Uint32(m.ReadMem(cmd, 4))
}

func TestSignatureAndID(t *testing.T) {
	m, _ := newFWCfg(t)
	if got := read(m, KeySignature, 6); string(got) != "QEMU\x00\x00" {
		t.Errorf("signature %q", got)
	}
	if got := read(m, KeyID, 4); !bytes.Equal(got, []byte{3, 0, 0, 0}) {
		t.Errorf("ID % x", got)
	}
	if lo, hi := m.In32(port+4), m.In32(port+8); lo != 0x554d4551 || hi != 0x47464320 {
		t.Errorf("DMA signature %#x %#x", lo, hi)
	}
	if got := m.In16(port); got != 0xffff {
		t.Errorf("word read of the selector: %#x", got)
	}
}

func TestWithoutDMA(t *testing.T) {
	m, _ := newFWCfg(t, "dma_enabled", "off")
	if got := read(m, KeyID, 4); !bytes.Equal(got, []byte{1, 0, 0, 0}) {
		t.Errorf("ID % x", got)
	}
	if got := m.In32(port + 4); got != ^uint32(0) {
		t.Errorf("DMA register %#x", got)
	}
}

func TestItems(t *testing.T) {
	m, d := newFWCfg(t)
	d.AddUint16(KeyCPUs, 2)
	d.AddUint64(KeyRAMSize, 1<<32)
	d.AddString(KeyKernelCmdline, "quiet")
	d.Add(KeyE820Table, []byte{9})
	for key, want := range map[uint16]string{
		KeyCPUs:                        "\x02\x00\x00",
		KeyCPUs | keyWriteChannel:      "\x02\x00\x00",
		KeyRAMSize:                     "\x00\x00\x00\x00\x01\x00\x00\x00\x00",
		KeyKernelCmdline:               "quiet\x00\x00",
		KeyE820Table:                   "\x09\x00",
		KeyInitrdData:                  "\x00",
		KeyE820Table | keyWriteChannel: "\x09",
		0x3fff:                         "\x00",
		0xffff:                         "\x00",
	} {
		if got := read(m, key, len(want)); string(got) != want {
			t.Errorf("item %#x: %q, want %q", key, got, want)
		}
	}
}

func parseDir(t *testing.T, p []byte) map[string][2]uint32 {
	t.Helper()
	n := binary.BigEndian.Uint32(p)
	files := map[string][2]uint32{}
	for i := range int(n) {
		e := p[4+64*i:]
		name, _, _ := strings.Cut(string(e[8:64]), "\x00")
		files[name] = [2]uint32{binary.BigEndian.Uint32(e), uint32(binary.BigEndian.Uint16(e[4:]))}
	}
	return files
}

func TestDirectory(t *testing.T) {
	m, d := newFWCfg(t)
	long := strings.Repeat("n", nameMax)
	must(t, d.AddFile("etc/b", []byte("bee")))
	must(t, d.AddFile("etc/a", []byte("a")))
	must(t, d.AddFile(long, nil))
	dir := parseDir(t, read(m, KeyFileDir, 4+3*64))
	want := map[string][2]uint32{"etc/b": {3, 0x20}, "etc/a": {1, 0x21}, long: {0, 0x22}}
	if fmt.Sprint(dir) != fmt.Sprint(want) {
		t.Errorf("directory %v, want %v", dir, want)
	}
	must(t, d.SetFile("etc/a", []byte("other")))
	if got := read(m, 0x21, 5); string(got) != "other" {
		t.Errorf("changed file %q", got)
	}
	if size, ok := d.FileSize("etc/a"); size != 5 || !ok {
		t.Errorf("a file of %d bytes, %v", size, ok)
	}
	if _, ok := d.FileSize("etc/c"); ok {
		t.Error("there is a file that nobody added")
	}
}

func TestRefusedFiles(t *testing.T) {
	_, d := newFWCfg(t, "x-file-slots", "16")
	must(t, d.AddFile("f0", nil))
	for name, want := range map[string]string{
		"f0":                           "duplicate fw_cfg file name: f0",
		strings.Repeat("x", nameMax+1): "name too long (max. 55 char)",
		"":                             "fw_cfg: a file needs a name",
	} {
		if err := d.AddFile(name, nil); err == nil || err.Error() != want {
			t.Errorf("%q: %v, want %s", name, err, want)
		}
	}
	for i := 1; i < 16; i++ {
		must(t, d.AddFile(fmt.Sprint("f", i), nil))
	}
	if err := d.AddFile("one too many", nil); err == nil {
		t.Error("17 files in 16 slots")
	}
	if UserWarning("opt/x") != "" || UserWarning("etc/x") == "" {
		t.Error("UserWarning is wrong")
	}
}

func TestSlotsProperty(t *testing.T) {
	for _, n := range []string{"15", "16353"} {
		if _, err := devtest.New(t).TryPlug(nil, TypeName, "", "x-file-slots", n); err == nil {
			t.Errorf("%s slots are accepted", n)
		}
	}
}

func TestBuiltFile(t *testing.T) {
	m, d := newFWCfg(t)
	calls := 0
	must(t, d.AddBuiltFile("etc/built", func() []byte {
		calls++
		if calls == 2 {
			return []byte("shor") // must not happen; cannot do harm
		}
		return []byte(fmt.Sprintf("call%d", calls))
	}))
	if dir := parseDir(t, read(m, KeyFileDir, 68)); dir["etc/built"] != [2]uint32{5, 0x20} {
		t.Errorf("directory %v", dir)
	}
	if got := read(m, 0x20, 6); string(got) != "shor\x00\x00" {
		t.Errorf("first selection: %q", got)
	}
	read(m, 0x20, 1)
	if calls != 2 {
		t.Errorf("built %d times, want 2: for the size and for the contents", calls)
	}
	m.Reset(d)
	if got := read(m, 0x20, 6); string(got) != "call3\x00" {
		t.Errorf("after a reset: %q", got)
	}
}

func TestDMARead(t *testing.T) {
	m, d := newFWCfg(t)
	must(t, d.AddFile("f", []byte("0123456789")))
	m.WriteMem(buf, bytes.Repeat([]byte{0xee}, 32))
	if got := dma(m, 0x20<<16|dmaSelect|dmaRead, 4, buf); got != 0 {
		t.Errorf("control %#x", got)
	}
	if got := dma(m, dmaSkip, 2, 0); got != 0 {
		t.Errorf("control %#x", got)
	}
	if got := dma(m, dmaRead, 10, buf+4); got != 0 {
		t.Errorf("control %#x", got)
	}
	want := "01236789\x00\x00\x00\x00\x00\x00\xee\xee"
	if got := m.ReadMem(buf, len(want)); string(got) != want {
		t.Errorf("read %q, want %q", got, want)
	}
	if got := dma(m, dmaSkip, 1<<31, 0); got != 0 {
		t.Errorf("skip far past the end: control %#x", got)
	}
	if got := m.In8(port + 1); got != 0 {
		t.Errorf("past the end: %#x", got)
	}
}

func TestDMAAddressIs64Bits(t *testing.T) {
	m, _ := newFWCfg(t)
	m.Out32(port+4, 0x01000000) // the upper half, big-endian: an address without memory
	if got := dma(m, dmaRead, 4, buf); got != dmaRead {
		t.Errorf("a command at 4 GiB ran at 0: control %#x", got)
	}
	if got := dma(m, dmaSelect|dmaRead, 4, buf); got != 0 {
		t.Errorf("control %#x", got)
	}
	if got := m.ReadMem(buf, 4); string(got) != "QEMU" {
		t.Errorf("read %q", got)
	}
}

func TestDMAErrors(t *testing.T) {
	m, d := newFWCfg(t)
	must(t, d.AddFile("f", []byte("0123456789")))
	for _, c := range []struct {
		what            string
		control, length uint32
		addr            uint64
	}{
		{"no memory there", 0x20<<16 | dmaSelect | dmaRead, 4, 1 << 40},
		{"beyond the end of memory", 0x20<<16 | dmaSelect | dmaRead, 10, devtest.RAMSize - 5},
		{"zeros beyond the end of memory", 0x3fff<<16 | dmaSelect | dmaRead, 0xffffffff, buf},
		{"wrapping around", 0x3fff<<16 | dmaSelect | dmaRead, 0xffffffff, ^uint64(0) - 1},
		{"write to a file that is not writable", 0x20<<16 | dmaSelect | dmaWrite, 1, buf},
		{"write to nothing", 0x3fff<<16 | dmaSelect | dmaWrite, 1, buf},
	} {
		if got := dma(m, c.control, c.length, c.addr); got != dmaError {
			t.Errorf("%s: control %#x, want %#x", c.what, got, dmaError)
		}
	}
}

func TestDMAWrite(t *testing.T) {
	m, d := newFWCfg(t)
	var log []string
	data := []byte("abcdef")
	must(t, d.AddWritableFile("w", data, func(off, n int) { log = append(log, fmt.Sprint(off, n)) }))
	m.WriteMem(buf, []byte("XYZ"))
	dma(m, 0x20<<16|dmaSelect|dmaSkip, 2, 0)
	if got := dma(m, dmaWrite, 3, buf); got != 0 {
		t.Errorf("control %#x", got)
	}
	if string(data) != "abXYZf" || strings.Join(log, ",") != "2 3" {
		t.Errorf("data %q, written %v", data, log)
	}
	if got := dma(m, dmaWrite, 2, buf); got != dmaError {
		t.Errorf("write past the end: control %#x", got)
	}
	if string(data) != "abXYZf" {
		t.Errorf("data %q", data)
	}
}

func mkFiles(m *devtest.Machine) {
	d := m.Plug(nil, TypeName, "").(*Device)
	must(m.TB, d.AddWritableFile("w", make([]byte, 8), nil))
	must(m.TB, d.AddBuiltFile("b", func() []byte { return []byte("built") }))
	must(m.TB, d.AddFile("f", []byte("fixed")))
}

func TestRoundTrip(t *testing.T) {
	_, to := devtest.RoundTrip(t, mkFiles, func(m *devtest.Machine) {
		m.WriteMem(buf, []byte("saved!"))
		dma(m, 0x20<<16|dmaSelect|dmaWrite, 6, buf)
		read(m, 0x21, 2)
		m.Out32(port+4, 0x12345678)
	})
	if got := to.In8(port + 1); got != 'i' {
		t.Errorf("the offset is lost: %q", got)
	}
	if got := read(to, 0x20, 8); string(got) != "saved!\x00\x00" {
		t.Errorf("the written file is lost: %q", got)
	}
}

func TestNoAllocs(t *testing.T) {
	_, d := newFWCfg(t)
	must(t, d.AddFile("f", []byte("fixed")))
	devtest.NoAllocs(t, "reading an item", func() {
		(*ports)(d).WriteIO(0, 2, 0x20)
		(*ports)(d).ReadIO(1, 1)
	})
	devtest.NoAllocs(t, "a command", func() { (*dmaPorts)(d).WriteIO(0, 8, 0x0010000000000000) })
}

func fuzzRanges() []devtest.Range {
	return []devtest.Range{devtest.Ports(port, 12), devtest.MMIO(0, 64), devtest.MMIO(devtest.RAMSize-32, 64)}
}

func TestTwin(t *testing.T) {
	devtest.Twin(t, func(m *devtest.Machine) {
		mkFiles(m)
		m.AddAction(func(next func(int) uint64) uint64 { // a command that means something
			return uint64(dma(m, uint32(0x1f+next(1)%5)<<16|uint32(next(1)), uint32(next(1)), buf+next(1)))
		})
		m.AddAction(func(next func(int) uint64) uint64 {
			m.Out16(port, uint16(0x1f+next(1)%5))
			return 0
		})
	}, fuzzRanges()...)
}

func TestConcurrent(t *testing.T) { devtest.Concurrent(t, mkFiles, fuzzRanges()...) }

func FuzzIO(f *testing.F) { devtest.FuzzIO(f, mkFiles, fuzzRanges()...) }

func FuzzState(f *testing.F) { devtest.FuzzState(f, mkFiles, fuzzRanges()...) }

// FuzzDMA runs random commands.
func FuzzDMA(f *testing.F) {
	f.Add(uint32(0x20<<16|dmaSelect|dmaWrite), uint32(8), uint64(buf))
	f.Add(uint32(0x22<<16|dmaSelect|dmaRead), uint32(0xffffffff), uint64(1))
	f.Add(uint32(KeyFileDir<<16|dmaSelect|dmaRead), uint32(4096), uint64(cmd-8))
	f.Add(uint32(0xffff<<16|0xffff), uint32(1<<31), ^uint64(0)-7)
	f.Fuzz(func(t *testing.T, control, length uint32, addr uint64) {
		m := devtest.New(t)
		mkFiles(m)
		dma(m, control, length, addr)
		dma(m, control&^dmaSelect, length, addr+1)
	})
}

var _ device.Stater = (*Device)(nil)
