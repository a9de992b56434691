package boot

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// image is a file that exists in memory only.
func image(what string, data []byte) *Image {
	return &Image{What: what, Name: "x", ReaderAt: bytes.NewReader(data), Size: int64(len(data))}
}

// guest is memory of size bytes from address 0.
type guest struct{ b []byte }

func newGuest(size int) *guest { return &guest{make([]byte, size)} }

// dirty fills n bytes at addr, so that it shows who writes there.
func (g *guest) dirty(addr, n int) {
	for i := range g.b[addr : addr+n] {
		g.b[addr+i] = 0xaa
	}
}

func (g *guest) WriteAt(p []byte, addr int64) (int, error) {
	if addr < 0 || addr+int64(len(p)) > int64(len(g.b)) {
		return 0, errors.New("no memory there")
	}
	return copy(g.b[addr:], p), nil
}

func (g *guest) ReadAt(p []byte, addr int64) (int, error) {
	if addr < 0 || addr+int64(len(p)) > int64(len(g.b)) {
		return 0, io.ErrUnexpectedEOF
	}
	return copy(p, g.b[addr:]), nil
}

const testRAM = 64 << 20

// bzImage is a small kernel with a valid header: 4 setup sectors, and a kernel
// proper of 4096 bytes that says where it is from. change alters it.
func bzImage(change func(b []byte)) []byte {
	const setup = 5 * sector
	b := make([]byte, setup+4096)
	b[hdrSetupSects] = 4
	le.PutUint32(b[hdrSysSize:], 4096/16)
	le.PutUint16(b[hdrBootFlag:], 0xaa55)
	b[hdrJump] = 0x66
	copy(b[hdrMagic:], "HdrS")
	le.PutUint16(b[hdrVersion:], 0x20f)
	b[hdrLoadFlags] = loadedHigh
	le.PutUint32(b[hdrInitrdMax:], 0x7fffffff)
	le.PutUint32(b[hdrAlignment:], 0x200000)
	b[hdrRelocatable] = 1
	le.PutUint16(b[hdrXLoadFlags:], xlfKernel64)
	le.PutUint32(b[hdrCmdlineSize:], 2047)
	le.PutUint32(b[hdrPayload:], 100)
	le.PutUint32(b[hdrPayloadLength:], 200)
	le.PutUint64(b[hdrPrefAddress:], 16<<20)
	le.PutUint32(b[hdrInitSize:], 8<<20)
	copy(b[setup:], "protected mode")
	if change != nil {
		change(b)
	}
	return b
}

func kernel(img []byte) Kernel {
	return Kernel{Image: image("kernel image", img), Memory: DirectMap(testRAM, 0), Cmdline: "console=ttyS0", RSDP: 0xe0000,
		Seed: func(b []byte) error {
			for i := range b {
				b[i] = byte(i)
			}
			return nil
		}}
}

// checkSegments fails the test if segments overlap or are not in RAM.
func checkSegments(t *testing.T, p *Plan, m MemoryMap) {
	t.Helper()
	for i, a := range p.Segments {
		if !m.contains(a.Addr, a.Size) {
			t.Errorf("%s at %#x, %d bytes: not in RAM", a.Name, a.Addr, a.Size)
		}
		for _, b := range p.Segments[:i] {
			if a.Addr < b.Addr+b.Size && b.Addr < a.Addr+a.Size {
				t.Errorf("%s at %#x and %s at %#x overlap", a.Name, a.Addr, b.Name, b.Addr)
			}
		}
	}
}

func TestBzImage(t *testing.T) {
	k := kernel(bzImage(nil))
	k.VGA = true
	k.Initrd = image("initrd", bytes.Repeat([]byte("initrd"), 1000))
	p, err := k.Plan()
	if err != nil {
		t.Fatal(err)
	}
	checkSegments(t, p, k.Memory)
	g := newGuest(testRAM)
	if err := p.Load(g, false); err != nil {
		t.Fatal(err)
	}
	e := p.Entry
	if e.Mode != Long64 || e.RIP != 16<<20+0x200 || e.RSI != zeroPageAddr || e.CS.Selector != 0x10 || e.Data.Selector != 0x18 {
		t.Errorf("entry %+v", e)
	}
	if string(g.b[16<<20:][:14]) != "protected mode" {
		t.Error("the kernel is not at its address")
	}
	z := g.b[zeroPageAddr:][:4096]
	if string(z[hdrMagic:][:4]) != "HdrS" || z[hdrLoader] != 0xff || le.Uint64(z[zpRSDP:]) != 0xe0000 || z[6] != 3 || z[7] != 80 {
		t.Errorf("zero page % x", z[:hdrEnd])
	}
	cmdline := g.b[le.Uint32(z[hdrCmdline:]):]
	if string(cmdline[:14]) != "console=ttyS0\x00" {
		t.Errorf("command line %q", cmdline[:20])
	}
	addr, size := le.Uint32(z[hdrRamdisk:]), le.Uint32(z[hdrRamdiskSize:])
	if size != 6000 || addr != testRAM-8192 || string(g.b[addr:][:12]) != "initrdinitrd" {
		t.Errorf("initrd of %d bytes at %#x", size, addr)
	}
	if n := int(z[zpE820Entries]); n != len(k.Memory) || !bytes.Equal(z[zpE820Table:][:20*n], k.Memory.Encode()) {
		t.Errorf("%d entries in the memory map", n)
	}
	seed := g.b[le.Uint64(z[hdrSetupData:]):]
	if le.Uint64(seed) != 0 || le.Uint32(seed[8:]) != setupRNGSeed || le.Uint32(seed[12:]) != 32 || seed[16+31] != 31 {
		t.Errorf("seed % x", seed[:48])
	}
}

// walk translates an address by the page tables of a plan.
func walk(t *testing.T, g *guest, cr3, addr uint64) uint64 {
	t.Helper()
	for _, shift := range []int{39, 30, 21} {
		entry := le.Uint64(g.b[cr3+(addr>>shift&511)*8:])
		if entry&3 != 3 {
			t.Fatalf("%#x is not mapped and writable", addr)
		}
		if entry&(1<<7) != 0 {
			mask := uint64(1)<<shift - 1
			return entry&^0xfff&^mask | addr&mask
		}
		cr3 = entry &^ 0xfff
	}
	t.Fatalf("%#x: no page", addr)
	return 0
}

func TestLong64State(t *testing.T) {
	p, err := kernel(bzImage(nil)).Plan()
	if err != nil {
		t.Fatal(err)
	}
	g := newGuest(testRAM)
	if err := p.Load(g, false); err != nil {
		t.Fatal(err)
	}
	for _, addr := range []uint64{0, 0x7000, 0x100000, 16<<20 + 0x200, 1 << 30, 3<<30 + 12345, 1<<32 - 1} {
		if got := walk(t, g, p.Entry.CR3, addr); got != addr {
			t.Errorf("%#x is mapped to %#x", addr, got)
		}
	}
	checkDescriptors(t, g, p.Entry)
	if want := uint64(cr0PE | cr0PG); p.Entry.CR0&want != want || p.Entry.CR4 != cr4PAE || p.Entry.EFER != eferLMA|eferLME {
		t.Errorf("control registers %#x %#x %#x", p.Entry.CR0, p.Entry.CR4, p.Entry.EFER)
	}
}

// checkDescriptors holds the segment registers against the descriptors in the
// guest's table.
func checkDescriptors(t *testing.T, g *guest, e *Entry) {
	t.Helper()
	for _, s := range []SegmentRegister{e.CS, e.Data, e.TR} {
		if s.Selector+7 > e.GDT.Limit {
			t.Fatalf("selector %#x is beyond the table's limit %#x", s.Selector, e.GDT.Limit)
		}
		d := le.Uint64(g.b[e.GDT.Base+uint64(s.Selector):])
		limit := uint32(d&0xffff | d>>32&0xf0000)
		if d>>55&1 == 1 {
			limit = limit<<12 | 0xfff
		}
		got := SegmentRegister{Selector: s.Selector, Base: d>>16&0xffffff | d>>56<<24, Limit: limit, Type: uint8(d >> 40 & 0xf),
			System: d>>44&1 == 0, Long: d>>53&1 == 1, Big: d>>54&1 == 1, Granular: d>>55&1 == 1}
		if got != s || d>>47&1 == 0 {
			t.Errorf("selector %#x: descriptor %+v, register %+v", s.Selector, got, s)
		}
	}
}

func TestBzImageErrors(t *testing.T) {
	at16 := func(at int, v uint16) func([]byte) { return func(b []byte) { le.PutUint16(b[at:], v) } }
	at32 := func(at int, v uint32) func([]byte) { return func(b []byte) { le.PutUint32(b[at:], v) } }
	at64 := func(at int, v uint64) func([]byte) { return func(b []byte) { le.PutUint64(b[at:], v) } }
	tests := []struct {
		name   string
		change func([]byte)
		want   string
	}{
		{"boot flag", at16(hdrBootFlag, 0), "not a bzImage"},
		{"magic", func(b []byte) { b[hdrMagic] = 'h' }, "neither a bzImage nor an ELF image"},
		{"protocol", at16(hdrVersion, 0x20b), "protocol 2.12 or later"},
		{"32-bit kernel", at16(hdrXLoadFlags, 0), "64-bit"},
		{"zImage", func(b []byte) { b[hdrLoadFlags] = 0 }, "a zImage"},
		{"short header", func(b []byte) { b[hdrJump] = 0x10 }, "setup header ends at 0x212"},
		{"cut short", at32(hdrSysSize, 4096/16+1), "cut short: it has 6656 bytes and needs at least 6672"},
		{"giant kernel", at32(hdrSysSize, 0xffffffff), "cut short"},
		{"empty kernel", at32(hdrSysSize, 0), "too few to have an entry point"},
		{"many setup sectors", func(b []byte) { b[hdrSetupSects] = 255 }, "cut short"},
		{"payload", at32(hdrPayloadLength, 0xffffffff), "its payload ends"},
		{"alignment", at32(hdrAlignment, 0x300000), "not a power of two"},
		{"no alignment", at32(hdrAlignment, 0), "not a power of two"},
		{"low address", at64(hdrPrefAddress, 0), "below 1 MiB"},
		{"odd address", at64(hdrPrefAddress, 16<<20+1), "not aligned"},
		{"high address", at64(hdrPrefAddress, 1<<32), "not below 4 GiB"},
		{"absurd address", at64(hdrPrefAddress, ^uint64(0)&^0x1fffff), "not below 4 GiB"},
		{"small", at32(hdrInitSize, 16), "fewer than its own"},
		{"large", at32(hdrInitSize, testRAM), "does not fit in RAM: it needs memory up to 80 MiB"},
	}
	for _, tt := range tests {
		_, err := kernel(bzImage(tt.change)).Plan()
		if err == nil || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), "kernel image 'x'") {
			t.Errorf("%s: %v, want %s", tt.name, err, tt.want)
		}
	}
	whole := bzImage(nil)
	for n := range whole {
		k := kernel(whole[:n])
		if _, err := k.Plan(); err == nil && n < len(whole)-15 {
			t.Fatalf("%d of %d bytes: accepted", n, len(whole))
		} else if n >= hdrMagic+4 && err != nil && !strings.Contains(err.Error(), "cut short") {
			t.Fatalf("%d of %d bytes: %v", n, len(whole), err)
		}
	}
}

func TestCommandLine(t *testing.T) {
	k := kernel(bzImage(nil))
	k.Cmdline = strings.Repeat("x", 2047)
	if _, err := k.Plan(); err != nil {
		t.Error(err)
	}
	k.Cmdline += "x"
	if _, err := k.Plan(); err == nil || !strings.Contains(err.Error(), "has 2048 characters, kernel image 'x' takes at most 2047") {
		t.Errorf("long command line: %v", err)
	}
	k.Cmdline = "a\x00b"
	if _, err := k.Plan(); err == nil {
		t.Error("zero byte in the command line: accepted")
	}
	// A size that is larger than the space for it does not count.
	k = kernel(bzImage(func(b []byte) { le.PutUint32(b[hdrCmdlineSize:], 1<<20) }))
	k.Cmdline = strings.Repeat("x", cmdlineMax)
	if _, err := k.Plan(); err == nil {
		t.Error("command line of 64 KiB: accepted")
	}
}

func TestInitrdPlacement(t *testing.T) {
	tests := []struct {
		name         string
		below, above uint64
		size         int64
		change       func([]byte)
		want         uint64 // 0: refused
	}{
		{"top of RAM", testRAM, 0, 4097, nil, testRAM - 8192},
		{"below the limit", 3 << 30, 0, 4096, nil, 2<<30 - 4096},
		{"beside the kernel", testRAM, 0, 40 << 20, nil, testRAM - 40<<20},
		{"below the kernel", 26 << 20, 0, 10 << 20, nil, 6 << 20},
		{"too large", testRAM, 0, 41 << 20, nil, 0},
		{"larger than RAM", testRAM, 0, 1 << 40, nil, 0},
		{"above the limit", 3 << 30, 0, 1 << 20, func(b []byte) {
			le.PutUint32(b[hdrInitrdMax:], 16<<20-1)
			le.PutUint16(b[hdrXLoadFlags:], xlfKernel64)
		}, 15 << 20},
		{"above 4 GiB", 3 << 30, 4 << 30, 3 << 30, func(b []byte) { le.PutUint16(b[hdrXLoadFlags:], xlfKernel64|xlfAbove4G) }, 5 << 30},
		{"not above 4 GiB", 3 << 30, 4 << 30, 3 << 30, nil, 0},
		{"empty", testRAM, 0, 0, nil, 0},
	}
	for _, tt := range tests {
		k := kernel(bzImage(tt.change))
		k.Memory = DirectMap(tt.below, tt.above)
		k.Initrd = &Image{What: "initrd", Name: "i", Size: tt.size}
		p, err := k.Plan()
		if tt.want == 0 {
			if err == nil || !strings.Contains(err.Error(), "initrd 'i'") {
				t.Errorf("%s: %v", tt.name, err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		s := p.Segments[len(p.Segments)-1]
		if s.Addr != tt.want {
			t.Errorf("%s: at %#x, want %#x", tt.name, s.Addr, tt.want)
		}
		z := p.Segments[0].Data
		if got := uint64(le.Uint32(z[zpRamdiskHigh:]))<<32 | uint64(le.Uint32(z[hdrRamdisk:])); got != tt.want {
			t.Errorf("%s: the kernel is told %#x", tt.name, got)
		}
		checkSegments(t, p, k.Memory)
	}
}

func TestLargeMemoryMap(t *testing.T) {
	k := kernel(bzImage(nil))
	for i := range 200 {
		k.Memory.Set(1<<40+uint64(i)<<30, 1<<20, RAM)
	}
	n := len(k.Memory)
	p, err := k.Plan()
	if err != nil {
		t.Fatal(err)
	}
	checkSegments(t, p, k.Memory)
	g := newGuest(testRAM)
	if err := p.Load(g, false); err != nil {
		t.Fatal(err)
	}
	z := g.b[zeroPageAddr:]
	ext := g.b[le.Uint64(z[hdrSetupData:]):]
	size := int(le.Uint32(ext[12:]))
	got := append(bytes.Clone(z[zpE820Table:][:128*20]), ext[16:16+size]...)
	if z[zpE820Entries] != 128 || le.Uint32(ext[8:]) != setupE820Ext || size != (n-128)*20 || !bytes.Equal(got, k.Memory.Encode()) {
		t.Errorf("%d entries, then %d bytes", z[zpE820Entries], size)
	}
	if seed := g.b[le.Uint64(ext):]; le.Uint32(seed[8:]) != setupRNGSeed {
		t.Errorf("seed % x", seed[:48])
	}
	for i := range 400 {
		k.Memory.Set(1<<50+uint64(i)<<30, 1<<20, RAM)
	}
	if _, err := k.Plan(); err == nil {
		t.Error("map of more than 600 ranges: accepted")
	}
}

func TestTooLittleRAM(t *testing.T) {
	for _, size := range []uint64{0, 64 << 10, 640 << 10, 1 << 20} {
		k := kernel(bzImage(nil))
		k.Memory = DirectMap(size, 0)
		if _, err := k.Plan(); err == nil || !strings.Contains(err.Error(), "does not fit in RAM") {
			t.Errorf("%d bytes of RAM: %v", size, err)
		}
	}
}

// A plan can be executed again, and then does away with what was left behind.
func TestLoadAgain(t *testing.T) {
	p := &Plan{Segments: []Segment{
		{Name: "a", Addr: 16, Size: 600 << 10, Data: []byte("data")},
		{Name: "b", Addr: 1 << 20, Size: 700 << 10, File: bytes.NewReader(bytes.Repeat([]byte("f"), 512<<10)), Offset: 1, FileSize: 300 << 10},
	}}
	g := newGuest(2 << 20)
	for range 2 {
		g.dirty(0, len(g.b))
		if err := p.Load(g, false); err != nil {
			t.Fatal(err)
		}
		if string(g.b[16:21]) != "data\x00" || g.b[16+600<<10-1] != 0 || g.b[16+600<<10] != 0xaa {
			t.Error("first segment is wrong")
		}
		b := g.b[1<<20:]
		if !bytes.Equal(b[:300<<10], bytes.Repeat([]byte("f"), 300<<10)) || b[300<<10] != 0 || b[700<<10-1] != 0 || b[700<<10] != 0xaa {
			t.Error("second segment is wrong")
		}
	}
	g.dirty(0, len(g.b))
	if err := p.Load(g, true); err != nil {
		t.Fatal(err)
	}
	if g.b[20] != 0xaa {
		t.Error("zeros were written to fresh memory")
	}
}

// loaderGuest reads files by itself.
type loaderGuest struct {
	*guest
	calls int
}

func (g *loaderGuest) LoadFile(addr uint64, f io.ReaderAt, offset, size int64) error {
	g.calls++
	_, err := f.ReadAt(g.b[addr:addr+uint64(size)], offset)
	return err
}

func TestFileLoader(t *testing.T) {
	g := &loaderGuest{guest: newGuest(testRAM)}
	p, err := kernel(bzImage(nil)).Plan()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Load(g, true); err != nil || g.calls != 1 || string(g.b[16<<20:][:14]) != "protected mode" {
		t.Errorf("%v, %d calls", err, g.calls)
	}
}

func TestLoadErrors(t *testing.T) {
	name := filepath.Join(t.TempDir(), "kernel")
	if err := os.WriteFile(name, bzImage(nil), 0o600); err != nil {
		t.Fatal(err)
	}
	img, f, err := OpenImage("kernel image", name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	k := kernel(nil)
	k.Image = img
	p, err := k.Plan()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Load(newGuest(1<<20), false); err == nil || !strings.Contains(err.Error(), "does not fit in memory at 0x1000000") {
		t.Errorf("little memory: %v", err)
	}
	if err := os.Truncate(name, 5000); err != nil {
		t.Fatal(err)
	}
	if err := p.Load(newGuest(testRAM), false); err == nil || !strings.Contains(err.Error(), name+"' has become shorter") {
		t.Errorf("file cut off: %v", err)
	}
	k.Seed = func([]byte) error { return errors.New("no entropy") }
	k.Image = image("kernel image", bzImage(nil))
	if p, err = k.Plan(); err != nil {
		t.Fatal(err)
	}
	if err := p.Load(newGuest(testRAM), false); err == nil || !strings.Contains(err.Error(), "no entropy") {
		t.Errorf("no seed: %v", err)
	}
}

func TestOpenImage(t *testing.T) {
	dir := t.TempDir()
	missing := filepath.Join(dir, "missing")
	if _, _, err := OpenImage("initrd", missing); err == nil ||
		err.Error() != fmt.Sprintf("could not open initrd '%s': no such file or directory", missing) || !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("missing file: %v", err)
	}
	if _, _, err := OpenImage("initrd", dir); err == nil || !strings.Contains(err.Error(), "is not a regular file") {
		t.Errorf("directory: %v", err)
	}
}

func FuzzBzImage(f *testing.F) {
	f.Add(bzImage(nil), uint32(testRAM), uint32(5000))
	f.Add(bzImage(func(b []byte) { le.PutUint16(b[hdrXLoadFlags:], 3) }), uint32(3<<30), uint32(1<<31))
	f.Add(bzImage(func(b []byte) { b[hdrJump] = 0xff })[:hdrEnd], uint32(1<<20), uint32(1))
	f.Add([]byte("\x7fELF"), uint32(0), uint32(0))
	f.Fuzz(func(t *testing.T, data []byte, ram, initrd uint32) {
		k := kernel(data)
		k.Memory = DirectMap(uint64(ram), uint64(ram))
		k.Initrd = &Image{What: "initrd", Name: "i", Size: int64(initrd)}
		if p, err := k.Plan(); err == nil {
			checkSegments(t, p, k.Memory)
		}
	})
}
