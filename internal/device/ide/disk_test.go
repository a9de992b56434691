package ide_test

import (
	"bytes"
	"encoding/binary"
	"testing"

	"golang.org/x/sys/unix"

	"govmd/internal/block"
	"govmd/internal/device/devtest"
	"govmd/internal/device/drive/drivetest"
	"govmd/internal/runstate"
)

func TestReset(t *testing.T) {
	r := newRig(t)
	r.ResetAll()
	r.setup()
	r.CheckIn8(primary+7, 0x50, "a disk after a reset")
	r.CheckIn8(primary+1, 1, "its diagnosis")
	r.CheckIn8(primary+4, 0, "a disk's signature")
	r.CheckIn8(secondary+7, 0, "a packet device after a reset")
	r.CheckIn8(secondary+4, 0x14, "a packet device's signature")
	r.CheckIn8(secondary+5, 0xeb, "a packet device's signature")
	r.Out8(primary+6, 0xb0)
	for port := uint16(primary + 1); port < primary+8; port++ {
		r.CheckIn8(port, 0, "a drive that is not there")
	}
	r.irq(14, 0, "nothing has happened")
}

func TestIdentify(t *testing.T) {
	r := newRig(t, "serial", "abc-1", "wwn", "0x5000c50015ea71ac", "rotation_rate", "1")
	r.command(primary, 0xec, 0, 0)
	r.irq(14, 1, "identify")
	r.expect(primary, 0x58, "identify")
	p := r.in(primary, 512)
	r.CheckIn8(primary+7, 0x50, "identify is over")
	word := func(n int) uint16 { return binary.LittleEndian.Uint16(p[2*n:]) }
	text := func(n, words int) string {
		var s []byte
		for i := range words {
			s = append(s, p[2*(n+i)+1], p[2*(n+i)])
		}
		return string(bytes.TrimRight(s, " "))
	}
	for n, want := range map[int]uint16{
		0: 0x40, 1: 2, 3: 16, 6: 63, 49: 0x0b00, 60: diskSize / 512, 61: 0, 83: 0x7400, 88: 0x203f, 100: diskSize / 512,
		108: 0x5000, 109: 0xc500, 110: 0x15ea, 111: 0x71ac, 128: 9, 169: 1, 217: 1, 85: 0x4021,
	} {
		if word(n) != want {
			t.Errorf("word %d is %#04x, want %#04x", n, word(n), want)
		}
	}
	if s := text(10, 10); s != "abc-1" {
		t.Errorf("serial number %q", s)
	}
	if s := text(27, 20); s != "QEMU HARDDISK" {
		t.Errorf("model %q", s)
	}
	sum := byte(0)
	for _, b := range p {
		sum += b
	}
	if sum != 0 {
		t.Errorf("the checksum is off by %d", sum)
	}
}

func TestPIO(t *testing.T) {
	r := newRig(t)
	image := drivetest.Pattern(diskSize)
	r.command(primary, 0x20, 7, 3)
	for i := range 3 {
		r.irq(14, 1, "a sector")
		r.expect(primary, 0x58, "a sector")
		if got := r.in(primary, 512); !bytes.Equal(got, image[(7+i)*512:(8+i)*512]) {
			t.Fatalf("sector %d differs", i)
		}
	}
	r.irq(14, 0, "no interrupt after the last sector")
	r.expect(primary, 0x50, "READ SECTORS is over")

	// Blocks of 4 sectors; the last one is shorter.
	r.command(primary, 0xc6, 0, 4)
	r.irq(14, 1, "SET MULTIPLE")
	r.expect(primary, 0x50, "SET MULTIPLE")
	r.ext(primary, 0x29, 100, 6)
	for _, n := range []int{4, 2} {
		r.irq(14, 1, "a block")
		r.expect(primary, 0x58, "a block")
		if got := r.in(primary, n*512); !bytes.Equal(got[:4], image[100*512:100*512+4]) && n == 4 {
			t.Fatal("the block differs")
		}
	}
	r.irq(14, 0, "no interrupt after the last block")

	data := bytes.Repeat([]byte("govmd!!!"), 128)
	r.command(primary, 0x30, 2000, 2)
	r.irq(14, 0, "no interrupt before the first sector")
	r.expect(primary, 0x58, "the first sector is wanted")
	r.out(primary, data[:512])
	r.irq(14, 1, "the next sector is wanted")
	r.expect(primary, 0x58, "the next sector is wanted")
	r.out(primary, data[512:])
	r.irq(14, 1, "written")
	r.expect(primary, 0x50, "written")
	if got := r.hd.Image.Bytes()[2000*512:][:1024]; !bytes.Equal(got, data) {
		t.Error("the image has something else")
	}

	// 32-bit accesses move two words.
	r.command(primary, 0x20, 1, 1)
	if got := r.In32(primary); got != binary.LittleEndian.Uint32(image[512:]) {
		t.Errorf("a double word is %#x", got)
	}
}

func TestCHS(t *testing.T) {
	r := newRig(t)
	image := drivetest.Pattern(diskSize)
	// Cylinder 1, head 2, sector 3 of 16 heads with 63 sectors.
	lba := (1*16+2)*63 + 3 - 1
	r.Out8(primary+6, 0xa2)
	r.Out8(primary+2, 1)
	r.Out8(primary+3, 3)
	r.Out8(primary+4, 1)
	r.Out8(primary+5, 0)
	r.Out8(primary+7, 0x20)
	if got := r.in(primary, 512); !bytes.Equal(got, image[lba*512:][:512]) {
		t.Error("another sector is read")
	}
	// The host sets another geometry: 2 heads of 10 sectors.
	r.Out8(primary+6, 0xa1)
	r.Out8(primary+2, 10)
	r.Out8(primary+7, 0x91)
	r.expect(primary, 0x50, "INITIALIZE DEVICE PARAMETERS")
	r.Out8(primary+6, 0xa1)
	r.Out8(primary+2, 1)
	r.Out8(primary+3, 10)
	r.Out8(primary+4, 4)
	r.Out8(primary+7, 0x20)
	lba = (4*2+1)*10 + 9
	if got := r.in(primary, 512); !bytes.Equal(got, image[lba*512:][:512]) {
		t.Error("another sector is read")
	}
}

func TestDMA(t *testing.T) {
	r := newRig(t)
	image := drivetest.Pattern(diskSize)
	// Odd pieces, the drive first and the bus master afterwards.
	r.prd(dmaMem, 1000, dmaMem+0x10000, 24, dmaMem+0x20000, 3072)
	r.ext(primary, 0x25, 1000, 8)
	r.irq(14, 0, "the bus master has not been started")
	r.dma(primary, true)
	r.irq(14, 1, "read")
	if s := r.bmStatus(primary); s&7 != 4 {
		t.Errorf("bus master status %#x, want interrupt and not active", s)
	}
	r.expect(primary, 0x50, "read")
	want := image[1000*512:][:8*512]
	got := append(append(r.ReadMem(dmaMem, 1000), r.ReadMem(dmaMem+0x10000, 24)...), r.ReadMem(dmaMem+0x20000, 3072)...)
	if !bytes.Equal(got, want) {
		t.Error("memory differs from the disk")
	}
	// The bus master first; 0 is 64 KiB.
	data := drivetest.Pattern(64 << 10)
	for i := range data {
		data[i] ^= 0x55
	}
	r.WriteMem(dmaMem, data)
	r.prd(dmaMem, 0)
	r.dma(primary, false)
	r.command(primary, 0xca, 64, 128)
	r.irq(14, 1, "written")
	r.expect(primary, 0x50, "written")
	if !bytes.Equal(r.hd.Image.Bytes()[64*512:][:len(data)], data) {
		t.Error("the disk differs from memory")
	}
	// A table with more than the command needs leaves the bus master active.
	r.prd(dmaMem, 4096)
	r.command(primary, 0xc8, 0, 1)
	r.dma(primary, true)
	if s := r.bmStatus(primary); s&7 != 5 {
		t.Errorf("bus master status %#x, want interrupt and active", s)
	}
	r.expect(primary, 0x50, "read")
	r.Out8(bmBase, 0)
	// One with less ends it without an interrupt.
	r.irq(14, 1, "the command")
	r.prd(dmaMem, 512)
	r.command(primary, 0xc8, 0, 4)
	r.dma(primary, true)
	r.irq(14, 0, "there is too little memory")
	if s := r.bmStatus(primary); s&7 != 0 {
		t.Errorf("bus master status %#x, want nothing", s)
	}
	// Memory that is not there.
	r.prd(0xfff00000, 512)
	r.command(primary, 0xc8, 0, 1)
	r.dma(primary, true)
	if s := r.bmStatus(primary); s&3 != 2 {
		t.Errorf("bus master status %#x, want an error", s)
	}
	r.expect(primary, 0x51, "no memory")
}

func TestManyPieces(t *testing.T) {
	r := newRig(t)
	var regions []uint32
	for i := range 8000 {
		regions = append(regions, dmaMem+uint32(i)*4, 2)
	}
	r.prd(regions...)
	r.ext(primary, 0x25, 3, 31)
	r.dma(primary, true)
	r.irq(14, 1, "read")
	r.expect(primary, 0x50, "read")
	want := drivetest.Pattern(diskSize)[3*512:][:31*512]
	mem := r.ReadMem(dmaMem, 32000)
	for i := 0; i < len(want); i += 2 {
		if mem[2*i] != want[i] || mem[2*i+1] != want[i+1] {
			t.Fatalf("byte %d differs", i)
		}
	}
}

func TestOutOfRange(t *testing.T) {
	r := newRig(t)
	for _, c := range []struct{ cmd, lba, count int }{
		{0x20, diskSize / 512, 1}, {0x30, diskSize/512 - 1, 2}, {0xc8, 0xfffffff, 0}, {0xca, diskSize / 512, 1}, {0x40, diskSize / 512, 1},
	} {
		r.command(primary, byte(c.cmd), c.lba, c.count)
		r.irq(14, 1, "it failed")
		r.expect(primary, 0x51, "outside of the disk")
		if e := r.In8(primary + 1); e&0x10 == 0 {
			t.Errorf("command %#x: error %#x", c.cmd, e)
		}
	}
}

func TestFlushTrimAndPower(t *testing.T) {
	r := newRig(t)
	r.command(primary, 0x30, 0, 1) // something to flush
	r.out(primary, make([]byte, 512))
	r.IRQ[14].Rises()
	r.command(primary, 0xe7, 0, 0)
	r.irq(14, 1, "flushed")
	r.expect(primary, 0x50, "flushed")
	if log := r.hd.Image.Log(); len(log) == 0 || !log[len(log)-1].Flush {
		t.Errorf("the image has not been flushed: %v", log)
	}
	for _, c := range []struct{ cmd, count int }{{0xe0, 0}, {0xe1, 0xff}} { // STANDBY, IDLE IMMEDIATE
		r.command(primary, byte(c.cmd), 0, 0)
		r.expect(primary, 0x50, "power")
		r.command(primary, 0xe5, 0, 0)
		r.expect(primary, 0x50, "CHECK POWER MODE")
		r.CheckIn8(primary+2, uint8(c.count), "the power mode")
	}
	// Two ranges.
	p := make([]byte, 512)
	binary.LittleEndian.PutUint64(p, 8|4<<48)
	binary.LittleEndian.PutUint64(p[16:], 100|1<<48)
	r.WriteMem(dmaMem, p)
	r.prd(dmaMem, 512)
	r.IRQ[14].Rises()
	r.Out8(primary+1, 0)
	r.Out8(primary+1, 1)
	r.ext(primary, 0x06, 0, 1)
	r.dma(primary, false)
	r.irq(14, 1, "trimmed")
	r.expect(primary, 0x50, "trimmed")
	// An image opened with discard=ignore keeps its data.
	if !bytes.Equal(r.hd.Image.Bytes()[100*512:101*512], drivetest.Pattern(diskSize)[100*512:101*512]) {
		t.Error("discard=ignore, and data are gone")
	}
	binary.LittleEndian.PutUint64(p, diskSize/512|1<<48)
	r.WriteMem(dmaMem, p)
	r.Out8(primary+1, 1)
	r.ext(primary, 0x06, 0, 1)
	r.dma(primary, false)
	r.expect(primary, 0x51, "a range outside of the disk")
}

func TestSMART(t *testing.T) {
	r := newRig(t)
	smart := func(feature, low, count byte) {
		r.Out8(primary+1, feature)
		r.command(primary, 0xb0, 0xc24f00|int(low), int(count))
	}
	sum := func(p []byte) (n byte) {
		for _, b := range p {
			n += b
		}
		return n
	}
	smart(0xda, 0, 0)
	r.expect(primary, 0x50, "RETURN STATUS")
	r.CheckIn8(primary+4, 0x4f, "no threshold is exceeded")
	r.CheckIn8(primary+5, 0xc2, "no threshold is exceeded")
	smart(0xd0, 0, 1)
	r.expect(primary, 0x58, "READ DATA")
	if p := r.in(primary, 512); sum(p) != 0 || p[0] == 0 {
		t.Error("SMART data are damaged")
	}
	smart(0xd4, 1, 0)
	r.expect(primary, 0x50, "a short self-test")
	smart(0xd5, 6, 1)
	r.expect(primary, 0x58, "READ LOG")
	if p := r.in(primary, 512); sum(p) != 0 || p[508] != 1 || p[2] != 1 {
		t.Error("the self-test is not in the log")
	}
	smart(0xd9, 0, 0)
	r.expect(primary, 0x50, "DISABLE")
	smart(0xd0, 0, 1)
	r.expect(primary, 0x51, "READ DATA while disabled")
	smart(0xd8, 0, 0)
	r.expect(primary, 0x50, "ENABLE")
}

func TestControl(t *testing.T) {
	r := newRig(t)
	for _, cmd := range []byte{0x00, 0x08, 0x22, 0xa0, 0xa1, 0xf1, 0xf4, 0xff, 0xc0, 0x60} {
		r.command(primary, cmd, 0, 0)
		r.expect(primary, 0x51, "not a disk's command")
		r.CheckIn8(primary+1, 4, "aborted")
	}
	for _, cmd := range []byte{0x10, 0x70, 0xf5, 0x40, 0x42} {
		r.command(primary, cmd, 0, 1)
		r.expect(primary, 0x50, "a command without data")
	}
	// No interrupt while nIEN is set; it comes when that is cleared.
	r.IRQ[14].Rises()
	r.Out8(0x3f6, 2)
	r.command(primary, 0xe7, 0, 0)
	r.irq(14, 0, "nIEN")
	r.Out8(0x3f6, 0)
	r.irq(14, 1, "nIEN is cleared")
	r.CheckIn8(0x3f6, 0x50, "the alternate status")
	if !r.IRQ[14].Level() {
		t.Error("the alternate status acknowledges the interrupt")
	}
	r.expect(primary, 0x50, "status")
	if r.IRQ[14].Level() {
		t.Error("the status does not acknowledge the interrupt")
	}
	// The bytes before the last are read with HOB.
	r.Out8(primary+3, 0x12)
	r.Out8(primary+3, 0x34)
	r.CheckIn8(primary+3, 0x34, "the last byte")
	r.Out8(0x3f6, 0x80)
	r.CheckIn8(primary+3, 0x12, "the byte before")
	r.Out8(0x3f6, 0)
	// READ NATIVE MAX ADDRESS EXT.
	r.ext(primary, 0x27, 0, 0)
	r.expect(primary, 0x50, "READ NATIVE MAX")
	r.CheckIn8(primary+3, byte((diskSize/512-1)&0xff), "the last sector")
	r.CheckIn8(primary+4, byte((diskSize/512-1)>>8), "the last sector")
	// SRST in the middle of a transfer.
	r.command(primary, 0x20, 0, 2)
	r.in(primary, 100)
	r.Out8(0x3f6, 4)
	r.CheckIn8(0x3f6, 0x90, "in reset")
	r.Out8(0x3f6, 0)
	r.CheckIn8(primary+7, 0x50, "after the reset")
	r.CheckIn8(primary+2, 1, "the signature")
	r.command(primary, 0x90, 0, 0)
	r.expect(primary, 0x50, "EXECUTE DEVICE DIAGNOSTIC")
	r.CheckIn8(primary+1, 1, "the diagnosis")
	// Transfer modes show in identify data; the write cache is the back end's.
	r.Out8(primary+1, 3)
	r.command(primary, 0xef, 0, 0x42)
	r.expect(primary, 0x50, "UDMA 2")
	r.Out8(primary+1, 0x82)
	r.command(primary, 0xef, 0, 0)
	r.expect(primary, 0x50, "the write cache is off")
	if r.hd.WriteCache() {
		t.Error("the write cache is on")
	}
	r.command(primary, 0xec, 0, 0)
	p := r.in(primary, 512)
	if w := binary.LittleEndian.Uint16(p[176:]); w != 0x043f {
		t.Errorf("word 88 is %#x", w)
	}
	if w := binary.LittleEndian.Uint16(p[170:]); w&0x20 != 0 {
		t.Errorf("word 85 is %#x", w)
	}
	r.ResetAll()
	if !r.hd.WriteCache() {
		t.Error("a reset leaves the write cache off")
	}
}

func (r *rig) swapFailing(kind string, errno unix.Errno) {
	r.hd.Eject()
	r.hd.InsertFailing(drivetest.Pattern(diskSize), drivetest.FailOnce(kind, int(errno)))
}

func TestErrorsAreReported(t *testing.T) {
	r := newRig(t, "rerror", "report", "werror", "report")
	r.swapFailing("read", unix.EIO)
	r.prd(dmaMem, 4096)
	r.command(primary, 0xc8, 16, 8)
	r.dma(primary, true)
	r.irq(14, 1, "it failed")
	r.expect(primary, 0x51, "it failed")
	r.CheckIn8(primary+1, 0x40, "uncorrectable")
	r.CheckIn8(primary+3, 16, "where")
	var seen []string
	for _, e := range r.Events()[1:] { // the first is RESUME
		seen = append(seen, e.EventName())
	}
	if len(seen) != 1 || seen[0] != "BLOCK_IO_ERROR" {
		t.Errorf("events %v", seen)
	}
}

// A failed write stops the machine, is saved as part of it, and is made again by
// another machine that loads it, or by this one.
func TestErrorsStop(t *testing.T) {
	r := newRig(t, "werror", "stop", "rerror", "stop")
	r.swapFailing("write", unix.ENOSPC)
	r.WriteMem(dmaMem, bytes.Repeat([]byte{0xab}, 4096))
	r.prd(dmaMem, 4096)
	r.ext(primary, 0x35, 40, 8)
	r.dma(primary, false)
	r.Sync()
	r.irq(14, 0, "the request is parked")
	if s := r.Env.Run.State(); s != runstate.IOError {
		t.Fatalf("the machine is %s", s)
	}
	if s, ok := r.hd.IOStatus(); !ok || s != block.IOStatusNoSpace {
		t.Errorf("io-status %v, %v", s, ok)
	}
	saved, err := r.Env.State.SaveAll()
	if err != nil {
		t.Fatal(err)
	}
	to := newRig(t, "werror", "stop", "rerror", "stop")
	to.WriteMem(0, r.ReadMem(0, devtest.RAMSize))
	to.Do(func() {
		if err := to.Env.Run.Stop(runstate.Paused); err != nil {
			t.Error(err)
		}
		if err := to.Env.State.LoadAll(saved); err != nil {
			t.Error(err)
		}
		if got := to.hd.Image.Bytes()[40*512]; got == 0xab {
			t.Error("a machine that does not run writes")
		}
	})
	for _, m := range []*rig{r, to} {
		m.Do(func() {
			if err := m.Env.Run.Start(); err != nil {
				t.Error(err)
			}
		})
		drivetest.Settle(m.Machine)
		m.irq(14, 1, "written after all")
		m.expect(primary, 0x50, "written after all")
		if got := m.hd.Image.Bytes()[40*512:][:4096]; !bytes.Equal(got, bytes.Repeat([]byte{0xab}, 4096)) {
			t.Error("the data are not there")
		}
	}
}

// A reset while a request is parked drops it.
func TestResetDropsParked(t *testing.T) {
	r := newRig(t, "werror", "stop")
	r.swapFailing("write", unix.EIO)
	r.command(primary, 0x30, 5, 1)
	r.out(primary, bytes.Repeat([]byte{1}, 512))
	r.Sync()
	if n := len(r.hd.Parked()); n != 1 {
		t.Fatalf("%d requests are parked", n)
	}
	r.ResetAll()
	if n := len(r.hd.Parked()); n != 0 {
		t.Errorf("%d requests are parked after a reset", n)
	}
	r.Do(func() {
		if err := r.Env.Run.Start(); err != nil {
			t.Error(err)
		}
	})
	r.CheckIn8(primary+7, 0x50, "the disk is idle")
	r.command(primary, 0x20, 5, 1)
	r.expect(primary, 0x58, "it works")
}

func ranges() []devtest.Range {
	return []devtest.Range{
		devtest.Ports(primary, 8), devtest.Ports(secondary, 8), devtest.Ports(0x3f6, 1), devtest.Ports(0x376, 1),
		devtest.Ports(bmBase, 16), devtest.Ports(primary+7, 1), devtest.Ports(secondary, 2),
	}
}

// guest has the machine do whole commands, which random accesses seldom make.
func guest(m *devtest.Machine) {
	r := full(m)
	commands := []byte{0x20, 0x30, 0x24, 0x34, 0xc8, 0xca, 0x25, 0x35, 0xc4, 0xc5, 0xec, 0xe7, 0x06, 0xb0, 0xef, 0xc6, 0x90}
	packets := [][]byte{
		{0x28, 0, 0, 0, 0, 3, 0, 0, 9}, {0xbe, 0, 0, 0, 0, 1, 0, 0, 5, 0xf8}, {0x12, 0, 0, 0, 96}, {0x43, 2, 0, 0, 0, 0, 0, 0, 99},
		{0x1b, 0, 0, 0, 2}, {0x1b, 0, 0, 0, 3}, {0x1e, 0, 0, 0, 1}, {0x1e}, {0x4a, 1, 0, 0, 16, 0, 0, 0, 8}, {0x46, 0, 0, 0, 0, 0, 0, 1, 0}, {0}, {3, 0, 0, 0, 18},
	}
	m.AddAction(func(next func(int) uint64) uint64 {
		r.setup()
		r.WriteMem(prdTable, binary.LittleEndian.AppendUint32(nil, dmaMem+uint32(next(1))*4))
		r.WriteMem(prdTable+4, binary.LittleEndian.AppendUint32(nil, uint32(next(2))|1<<31))
		r.Out8(primary+1, byte(next(1)))
		r.command(primary, commands[next(1)%uint64(len(commands))], int(next(2)%3000), int(next(1)%20))
		if v := next(1); v&1 != 0 {
			r.dma(primary, v&2 != 0)
		}
		return uint64(r.status(primary))
	})
	m.AddAction(func(next func(int) uint64) uint64 {
		r.setup()
		v := next(1)
		r.Out8(secondary+6, 0xa0)
		r.Out8(secondary+1, byte(v&1))
		r.Out8(secondary+4, byte(next(1)))
		r.Out8(secondary+5, byte(v>>7))
		r.Out8(secondary+7, 0xa0)
		p := packets[next(1)%uint64(len(packets))]
		r.out(secondary, append(append([]byte{}, p...), make([]byte, 12-len(p))...))
		if v&2 != 0 {
			r.dma(secondary, true)
		}
		return uint64(r.status(secondary))
	})
	m.AddAction(func(next func(int) uint64) uint64 {
		for range next(1) * 4 {
			r.In16(primary)
			r.Out16(primary, 0x1234)
			r.In16(secondary)
		}
		return uint64(r.status(primary))
	})
}

func TestRoundTrip(t *testing.T) {
	devtest.RoundTrip(t, func(m *devtest.Machine) { full(m) }, func(m *devtest.Machine) {
		m.Out8(primary+6, 0xe0)
		m.Out8(primary+2, 2)
		m.Out8(primary+7, 0x20)
		for range 33 {
			m.In16(primary)
		}
	})
}

func TestTwin(t *testing.T) { devtest.Twin(t, guest, ranges()...) }

func TestConcurrent(t *testing.T) {
	devtest.Concurrent(t, func(m *devtest.Machine) { full(m) }, ranges()...)
}

func FuzzIO(f *testing.F)    { devtest.FuzzIO(f, guest, ranges()...) }
func FuzzState(f *testing.F) { devtest.FuzzState(f, guest, ranges()...) }
