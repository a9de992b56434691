package ahci_test

import (
	"bytes"
	"encoding/binary"
	"testing"

	"golang.org/x/sys/unix"

	"govmd/internal/device/devtest"
	"govmd/internal/device/drive/drivetest"
	"govmd/internal/runstate"
)

func TestIdentity(t *testing.T) {
	r := newRig(t)
	if id := r.pci.ReadConfig(0, slot, 0, 4); id != 0x29228086 {
		t.Errorf("ID %#x", id)
	}
	if class := r.pci.ReadConfig(0, slot, 8, 4); class != 0x01060102 {
		t.Errorf("class %#x", class)
	}
	r.CheckRead32(base, 0xc0141f05, "CAP")
	r.CheckRead32(base+0xc, 0x3f, "PI")
	r.CheckRead32(base+0x10, 0x10000, "VS")
	if s := r.get(0, 0x28); s != 0x113 {
		t.Errorf("the disk's link is %#x", s)
	}
	if s := r.get(2, 0x28); s != 0 {
		t.Errorf("the link of an empty port is %#x", s)
	}
	for n, want := range map[int]uint32{0: 0x101, 1: 0xeb140101, 2: 0xffffffff} {
		if sig := r.get(n, 0x24); sig != want {
			t.Errorf("port %d: signature %#x", n, sig)
		}
	}
}

func TestIndexedRegisters(t *testing.T) {
	r := newRig(t)
	r.pci.WriteConfig(0, slot, 0x20, 4, 0xc000)
	r.pci.WriteConfig(0, slot, 4, 2, 7)
	r.Out32(0xc010, 0xc)
	if v := r.In32(0xc014); v != 0x3f {
		t.Errorf("PI is %#x", v)
	}
}

func TestPIOAndIdentify(t *testing.T) {
	r := newRig(t)
	status, _ := r.run(0, command{cmd: 0xec, regions: []uint32{dmaMem, 512}})
	if status != 0x50 {
		t.Fatalf("status %#x", status)
	}
	p := r.ReadMem(dmaMem, 512)
	if w := binary.LittleEndian.Uint16(p[150:]); w != 31 {
		t.Errorf("the queue has %d entries", w+1)
	}
	if p[54] != 'E' || p[55] != 'Q' {
		t.Errorf("model %q", p[54:94])
	}
	if !r.IRQ[11].Level() {
		t.Error("no interrupt")
	}
	if is := r.get(0, 0x10); is != 2 {
		t.Errorf("PxIS is %#x, want a PIO set-up FIS alone", is)
	}
	if f := r.fis(0, 0x20, 20); f[0] != 0x5f || f[15] != 0x50 || binary.LittleEndian.Uint16(f[16:]) != 512 {
		t.Errorf("FIS % x", f)
	}
	if n := r.Read32(list + 4); n != 512 {
		t.Errorf("%d bytes are moved", n)
	}
	r.px(0, 0x10, 2)
	r.Write32(base+8, 1)
	if r.IRQ[11].Level() {
		t.Error("the interrupt stays")
	}
	// Several blocks, out and in.
	data := drivetest.Pattern(40 * 512)
	r.WriteMem(dmaMem, data)
	if status, _ := r.run(0, command{cmd: 0x39, lba: 500, count: 40, write: true, regions: []uint32{dmaMem, 100, dmaMem + 100, 40*512 - 100}}); status != 0x50 {
		t.Fatalf("status %#x", status)
	}
	if !bytes.Equal(r.hd.Image.Bytes()[500*512:][:len(data)], data) {
		t.Error("the disk differs")
	}
	if status, _ := r.run(0, command{cmd: 0x24, lba: 510, count: 3, regions: []uint32{dmaMem, 3 * 512}}); status != 0x50 {
		t.Fatalf("status %#x", status)
	}
	if !bytes.Equal(r.ReadMem(dmaMem, 3*512), data[10*512:13*512]) {
		t.Error("memory differs")
	}
}

func TestDMA(t *testing.T) {
	r := newRig(t)
	image := drivetest.Pattern(diskSize)
	status, _ := r.run(0, command{cmd: 0x25, lba: 100, count: 300, regions: []uint32{dmaMem, 2, dmaMem + 0x1000, 300*512 - 2}})
	if status != 0x50 {
		t.Fatalf("status %#x", status)
	}
	got := append(r.ReadMem(dmaMem, 2), r.ReadMem(dmaMem+0x1000, 300*512-2)...)
	if !bytes.Equal(got, image[100*512:400*512]) {
		t.Error("memory differs")
	}
	if is := r.get(0, 0x10); is != 1 {
		t.Errorf("PxIS is %#x, want a register FIS alone", is)
	}
	if n := r.Read32(list + 4); n != 300*512 {
		t.Errorf("%d bytes are moved", n)
	}
	if status, err := r.run(0, command{cmd: 0x25, lba: diskSize / 512, count: 1, regions: []uint32{dmaMem, 512}}); status != 0x51 || err != 0x14 {
		t.Errorf("status %#x, error %#x", status, err)
	}
	if is := r.get(0, 0x10); is != 1|1<<30 {
		t.Errorf("PxIS is %#x, want an error", is)
	}
	if ci := r.get(0, 0x38); ci != 1 {
		t.Errorf("PxCI is %#x: the command that has failed stays", ci)
	}
	r.px(0, 0x38, 2) // nothing is done until the driver recovers
	r.recover(0)
	if ci := r.get(0, 0x38); ci != 0 {
		t.Errorf("PxCI is %#x", ci)
	}
	// Less memory than the drive has data, and as much.
	for n, want := range map[int]bool{3: true, 2: false} {
		r.px(0, 0x10, 0xffffffff)
		r.run(0, command{cmd: 0x25, lba: 7, count: n, regions: []uint32{dmaMem, 1024}})
		if is := r.get(0, 0x10); is&(1<<24) != 0 != want {
			t.Errorf("PxIS is %#x for %d sectors in 1024 bytes", is, n)
		}
		if !bytes.Equal(r.ReadMem(dmaMem, 1024), image[7*512:9*512]) {
			t.Errorf("the memory that there is does not have the first of %d sectors", n)
		}
	}
	// Memory that is not there.
	if status, _ := r.run(0, command{cmd: 0x25, lba: 0, count: 1, regions: []uint32{0xfff00000, 512}}); status&1 == 0 {
		t.Errorf("status %#x", status)
	}
	if is := r.get(0, 0x10); is&(1<<29) == 0 {
		t.Errorf("PxIS is %#x, want a bus error", is)
	}
	r.recover(0)
	if status, _ := r.run(0, command{cmd: 0xe7}); status != 0x50 {
		t.Errorf("status %#x", status)
	}
}

func TestQueue(t *testing.T) {
	r := newRig(t)
	image := drivetest.Pattern(diskSize)
	var all uint32
	for s := range 32 {
		r.queue(s, s&1 != 0, int64(s*8), 8, dmaMem+uint32(s)*4096, 4096)
		if s&1 != 0 {
			r.WriteMem(uint64(dmaMem+s*4096), bytes.Repeat([]byte{byte(s)}, 4096))
		}
		all |= 1 << s
	}
	r.px(0, 0x34, all)
	r.px(0, 0x38, all)
	if sact, ci := r.get(0, 0x34), r.get(0, 0x38); sact != 0 || ci != 0 {
		t.Fatalf("PxSACT %#x, PxCI %#x", sact, ci)
	}
	if is := r.get(0, 0x10); is != 8 {
		t.Errorf("PxIS is %#x, want set device bits", is)
	}
	for s := range 32 {
		p := r.ReadMem(uint64(dmaMem+s*4096), 4096)
		if s&1 == 0 && !bytes.Equal(p, image[s*4096:(s+1)*4096]) {
			t.Errorf("tag %d: memory differs", s)
		}
		if s&1 != 0 && !bytes.Equal(p, r.hd.Image.Bytes()[s*4096:(s+1)*4096]) {
			t.Errorf("tag %d: the disk differs", s)
		}
	}
	// A failing one.
	r.px(0, 0x10, 8)
	r.queue(3, false, diskSize/512-1, 2, dmaMem, 1024)
	r.px(0, 0x34, 8)
	r.px(0, 0x38, 8)
	if sact, tfd := r.get(0, 0x34), r.get(0, 0x20); sact != 8 || tfd&1 == 0 {
		t.Errorf("PxSACT %#x, PxTFD %#x", sact, tfd)
	}
	if is := r.get(0, 0x10); is != 8|1<<30 {
		t.Errorf("PxIS is %#x, want an error", is)
	}
	r.recover(0)
	if status, _ := r.run(0, command{cmd: 0x2f, lba: 0x10, count: 1, regions: []uint32{dmaMem, 512}}); status != 0x50 {
		t.Fatalf("READ LOG EXT: status %#x", status)
	}
	if p := r.ReadMem(dmaMem, 512); p[0] != 3 || p[2]&1 == 0 || p[3] != 0x14 {
		t.Errorf("the log is % x", p[:16])
	}
}

func TestPackets(t *testing.T) {
	r := newRig(t)
	image := drivetest.Pattern(256 << 10)
	packet := func(dma byte, size uint32, code ...byte) byte {
		status, _ := r.run(1, command{cmd: 0xa0, feature: dma, packet: code, regions: []uint32{dmaMem, size}})
		return status
	}
	for dma := range byte(2) {
		r.WriteMem(dmaMem, make([]byte, 40*2048))
		if s := packet(dma, 40*2048, 0x28, 0, 0, 0, 0, 3, 0, 0, 40); s != 0x50 {
			t.Fatalf("status %#x", s)
		}
		if !bytes.Equal(r.ReadMem(dmaMem, 40*2048), image[3*2048:43*2048]) {
			t.Error("memory differs")
		}
		if s := packet(dma, 64, 0x12, 0, 0, 0, 36); s != 0x50 {
			t.Fatalf("status %#x", s)
		}
		if p := r.ReadMem(dmaMem, 36); p[0] != 5 || string(p[8:12]) != "QEMU" {
			t.Errorf("INQUIRY: % x", p)
		}
		if n := r.Read32(list + perPort + 4); n != 36 {
			t.Errorf("%d bytes are moved", n)
		}
	}
	if s := packet(0, 64, 0xee); s != 0x51 {
		t.Errorf("status %#x", s)
	}
	r.recover(1)
	if status, _ := r.run(1, command{cmd: 0xa1, regions: []uint32{dmaMem, 512}}); status != 0x50 {
		t.Errorf("status %#x", status)
	}
}

func TestResets(t *testing.T) {
	r := newRig(t)
	// COMRESET.
	r.px(0, 0x18, 0x16)
	r.px(0, 0x2c, 0x301)
	if s := r.get(0, 0x28); s != 0 {
		t.Errorf("the link is %#x in reset", s)
	}
	r.px(0, 0x2c, 0x300)
	if s, tfd, serr := r.get(0, 0x28), r.get(0, 0x20), r.get(0, 0x30); s != 0x113 || tfd != 0x150 || serr&(1<<26) == 0 {
		t.Errorf("link %#x, task file %#x, errors %#x", s, tfd, serr)
	}
	if is := r.get(0, 0x10); is&(1<<6) == 0 {
		t.Errorf("PxIS is %#x, want the link's change", is)
	}
	r.px(0, 0x30, 0xffffffff)
	if is := r.get(0, 0x10); is&(1<<6) != 0 {
		t.Errorf("PxIS is %#x", is)
	}
	r.px(0, 0x18, 0x17)
	// SRST by two FISes.
	r.run(1, command{raw: append([]byte{0x27, 0}, append(make([]byte, 13), 4)...)})
	if ci := r.get(1, 0x38); ci != 0 {
		t.Errorf("PxCI is %#x", ci)
	}
	// A command meanwhile is lost, and does not keep the reset from ending.
	if r.run(1, command{cmd: 0xa1, regions: []uint32{dmaMem, 512}}); r.get(1, 0x38) != 0 {
		t.Errorf("PxCI is %#x after a command in the middle of a reset", r.get(1, 0x38))
	}
	status, _ := r.run(1, command{raw: make16(0x27)})
	if status != 0 || r.get(1, 0x24) != 0xeb140101 {
		t.Errorf("status %#x, signature %#x", status, r.get(1, 0x24))
	}
	// The controller.
	r.Write32(base+4, 1)
	r.CheckRead32(base+4, 1<<31, "GHC after a reset")
	if tfd := r.get(0, 0x20); tfd != 0x7f {
		t.Errorf("the task file is %#x while no FIS is received", tfd)
	}
	r.setup()
	if status, _ := r.run(0, command{cmd: 0xec, regions: []uint32{dmaMem, 512}}); status != 0x50 {
		t.Errorf("status %#x", status)
	}
}

func make16(b ...byte) []byte { return append(b, make([]byte, 16-len(b))...) }

func TestMessages(t *testing.T) {
	r := newRig(t)
	r.pci.WriteConfig(0, slot, 0x84, 4, 0xfee00000)
	r.pci.WriteConfig(0, slot, 0x8c, 2, 0x41)
	r.pci.WriteConfig(0, slot, 0x82, 2, 1)
	r.run(0, command{cmd: 0xe7})
	if sent := r.MSI.Sent(); len(sent) != 1 || sent[0].Data != 0x41 {
		t.Errorf("messages %v", sent)
	}
	if r.IRQ[11].Level() {
		t.Error("an interrupt by pin, too")
	}
	r.px(0, 0x10, 1)
	r.Write32(base+8, 1)
	if sent := r.MSI.Sent(); len(sent) != 0 {
		t.Errorf("messages %v", sent)
	}
}

// A queued write that fails for want of space is made again after cont, by this
// machine or one that has loaded its state.
func TestQueuedErrorStops(t *testing.T) {
	r, to := newRig(t, "werror", "stop"), newRig(t, "werror", "stop")
	r.hd.Eject()
	r.hd.InsertFailing(drivetest.Pattern(diskSize), drivetest.FailOnce("write", int(unix.ENOSPC)))
	r.WriteMem(dmaMem, bytes.Repeat([]byte{0xcd}, 4096))
	r.queue(7, true, 64, 8, dmaMem, 4096)
	r.px(0, 0x34, 1<<7)
	r.px(0, 0x38, 1<<7)
	r.Sync()
	if s := r.Env.Run.State(); s != runstate.IOError {
		t.Fatalf("the machine is %s", s)
	}
	if sact := r.get(0, 0x34); sact != 1<<7 {
		t.Errorf("PxSACT is %#x", sact)
	}
	saved, err := r.Env.State.SaveAll()
	if err != nil {
		t.Fatal(err)
	}
	to.WriteMem(0, r.ReadMem(0, devtest.RAMSize))
	to.Do(func() {
		if err := to.Env.Run.Stop(runstate.Paused); err != nil {
			t.Error(err)
		}
		if err := to.Env.State.LoadAll(saved); err != nil {
			t.Error(err)
		}
	})
	for _, m := range []*rig{r, to} {
		m.Do(func() {
			if err := m.Env.Run.Start(); err != nil {
				t.Error(err)
			}
		})
		drivetest.Settle(m.Machine)
		if sact := m.get(0, 0x34); sact != 0 {
			t.Errorf("PxSACT is %#x", sact)
		}
		if p := m.hd.Image.Bytes()[64*512:][:4096]; !bytes.Equal(p, bytes.Repeat([]byte{0xcd}, 4096)) {
			t.Error("the data are not there")
		}
	}
}

func ranges() []devtest.Range {
	return []devtest.Range{devtest.MMIO(base, 0x20), devtest.MMIO(base+0x100, 0x100), devtest.MMIO(base+0x130, 16)}
}

// guest has the machine execute whole commands.
func guest(m *devtest.Machine) {
	r := full(m)
	m.AddAction(func(next func(int) uint64) uint64 {
		r.setup()
		commands := []byte{0x20, 0x30, 0x24, 0x34, 0x25, 0x35, 0xec, 0xe7, 0x06, 0x2f, 0xef, 0x90, 0xb0}
		n := uint32(next(1))*64 + 2
		c := command{
			cmd: commands[next(1)%uint64(len(commands))], lba: int64(next(2) % 3000), count: int(next(1) % 40), feature: byte(next(1)),
			regions: []uint32{dmaMem + uint32(next(1)), n, dmaMem + 0x8000, n},
		}
		c.write = c.cmd&0x10 != 0
		r.fill(0, int(next(1)&3), c)
		r.px(0, 0x38, uint32(next(1))&15)
		return uint64(r.get(0, 0x20))
	})
	m.AddAction(func(next func(int) uint64) uint64 {
		// One at a time: of several it is not told which will be the last.
		var tags uint32
		for range next(1) & 1 {
			s := int(next(1) & 31)
			r.queue(s, next(1)&1 != 0, int64(s)*66+int64(next(1)&31), int(next(1)%16)+1, dmaMem+uint32(s)*8192, 8192)
			tags |= 1 << s
		}
		r.px(0, 0x34, tags)
		r.px(0, 0x38, tags)
		return uint64(r.get(0, 0x34))
	})
	m.AddAction(func(next func(int) uint64) uint64 {
		packets := [][]byte{{0x28, 0, 0, 0, 0, 3, 0, 0, 9}, {0xbe, 0, 0, 0, 0, 1, 0, 0, 5, 0xf8}, {0x12, 0, 0, 0, 96}, {0}, {3, 0, 0, 0, 18}, {0x1b, 0, 0, 0, 2}, {0x1b, 0, 0, 0, 3}}
		r.run(1, command{
			cmd: 0xa0, feature: byte(next(1) & 1), packet: packets[next(1)%uint64(len(packets))], regions: []uint32{dmaMem, uint32(next(2)) + 1},
		})
		return uint64(r.get(1, 0x20))
	})
}

func TestRoundTrip(t *testing.T) {
	devtest.RoundTrip(t, func(m *devtest.Machine) { full(m) }, nil)
}

func TestTwin(t *testing.T) { devtest.Twin(t, guest, ranges()...) }

func TestConcurrent(t *testing.T) {
	devtest.Concurrent(t, func(m *devtest.Machine) { full(m) }, ranges()...)
}

func FuzzIO(f *testing.F)    { devtest.FuzzIO(f, guest, ranges()...) }
func FuzzState(f *testing.F) { devtest.FuzzState(f, guest, ranges()...) }
