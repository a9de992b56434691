package fdc_test

import (
	"bytes"
	"encoding/binary"
	"testing"

	"govmd/internal/block"
	"govmd/internal/device/devtest"
	"govmd/internal/device/drive/drivetest"
	"govmd/internal/device/fdc"
	_ "govmd/internal/device/i8257"
)

const (
	base = 0x3f0
	size = 1440 << 10
	mem  = 0x20000
)

// rig is a machine with the controller, a floppy of 1.44 MB and an empty drive.
type rig struct {
	*devtest.Machine
	ctl  *fdc.Controller
	a, b *drivetest.Drive
}

func newRig(t testing.TB) *rig {
	r := onto(devtest.New(t))
	r.start()
	return r
}

func onto(m *devtest.Machine) *rig {
	r := &rig{Machine: m}
	m.Plug(m.ISA, "i8257", "")
	r.ctl = m.Plug(m.ISA, fdc.TypeName, "").(*fdc.Controller)
	r.a = drivetest.New(m, "floppy0", drivetest.Pattern(size))
	r.b = drivetest.New(m, "floppy1", nil)
	m.Plug(r.ctl.FloppyBus(), "floppy", "a", "drive", "floppy0")
	m.Plug(r.ctl.FloppyBus(), "floppy", "b", "drive", "floppy1")
	return r
}

// start resets the controller, as drivers do first.
func (r *rig) start() {
	r.Out8(base+2, 0x00)
	r.Out8(base+2, 0x1c)
	for i := range uint8(4) {
		r.expect("after the reset", r.command(0x08), 0xc0|i, 0)
	}
	r.Out8(base+7, 0)
	r.command(0x03, 0xaf, 0x02)
}

// command writes a command and returns its result, once there is one.
func (r *rig) command(p ...uint8) []uint8 {
	r.TB.Helper()
	for _, b := range p {
		if s := r.In8(base + 4); s&0xc0 != 0x80 {
			r.TB.Fatalf("command % x: main status %#02x", p, s)
		}
		r.Out8(base+5, b)
	}
	drivetest.Settle(r.Machine)
	return r.result()
}

func (r *rig) result() (list []uint8) {
	for r.In8(base+4)&0xd0 == 0xd0 {
		list = append(list, r.In8(base+5))
	}
	return list
}

func (r *rig) expect(what string, got []uint8, want ...uint8) {
	r.TB.Helper()
	if !bytes.Equal(got, want) {
		r.TB.Errorf("%s: % x, want % x", what, got, want)
	}
}

// dma sets up channel 2 for n bytes at mem; write: to memory.
func (r *rig) dma(n int, write bool) {
	mode := uint8(0x4a)
	if write {
		mode = 0x46
	}
	r.Out8(0x0a, 6)
	r.Out8(0x0c, 0)
	r.Out8(0x0b, mode)
	r.Out8(0x04, 0)
	r.Out8(0x04, 0)
	r.Out8(0x05, uint8(n-1))
	r.Out8(0x05, uint8((n-1)>>8))
	r.Out8(0x81, mem>>16)
	r.Out8(0x0a, 2)
}

func TestRead(t *testing.T) {
	r := newRig(t)
	want := drivetest.Pattern(size)
	r.expect("no interrupt is left", r.command(0x08), 0x80)
	r.command(0x0f, 0, 3)
	if !r.IRQ[6].Level() {
		t.Error("no interrupt after a seek")
	}
	r.expect("seek", r.command(0x08), 0x20, 3)
	if r.In8(base+7)&0x80 != 0 {
		t.Error("the disk has changed")
	}
	r.expect("read ID", r.command(0x4a, 0), 0, 0, 0, 3, 0, 1, 2)

	// Both sides of a cylinder, from its 17th sector on.
	r.dma(4*512, true)
	r.expect("READ DATA", r.command(0xe6, 0, 3, 0, 17, 2, 18, 0x1b, 0xff), 4, 0, 0, 3, 1, 3, 2)
	if !bytes.Equal(r.ReadMem(mem, 4*512), want[(3*36+16)*512:][:4*512]) {
		t.Error("READ DATA differs")
	}
	// A part of a sector, and the channel is masked at first.
	r.dma(100, true)
	r.Out8(0x0a, 6)
	if got := r.command(0xe6, 4, 3, 1, 5, 2, 18, 0x1b, 0xff); got != nil {
		t.Errorf("masked: % x", got)
	}
	r.Out8(0x0a, 2)
	r.expect("not masked", r.result(), 4, 0, 0, 3, 1, 6, 2)
	if !bytes.Equal(r.ReadMem(mem, 100), want[(3*36+18+4)*512:][:100]) {
		t.Error("READ DATA of a part differs")
	}
	r.dma(19*512, true)
	r.expect("more than a side has", r.command(0x46, 0, 3, 0, 1, 2, 18, 0x1b, 0xff), 0x40, 0x80, 0, 4, 0, 1, 2)
	r.expect("no such cylinder", r.command(0xe6, 0, 80, 0, 1, 2, 18, 0x1b, 0xff)[:3], 0x40, 4, 0x10)
	r.expect("no such sector", r.command(0xe6, 0, 3, 0, 19, 2, 18, 0x1b, 0xff)[:3], 0x40, 4, 0)
	r.expect("an empty drive", r.command(0xe6, 1, 3, 0, 1, 2, 18, 0x1b, 0xff)[:3], 0x41, 1, 0)
	r.expect("no such command", r.command(0x1e), 0x80)
}

func TestWrite(t *testing.T) {
	r := newRig(t)
	p := bytes.Repeat([]byte("abcd"), 3*128)
	r.WriteMem(mem, p)
	r.dma(len(p), false)
	r.expect("WRITE DATA", r.command(0xc5, 4, 7, 1, 17, 2, 18, 0x1b, 0xff), 0x44, 0x80, 0, 8, 0, 1, 2)
	if got := r.a.Image.Bytes()[(7*36+18+16)*512:][:1024]; !bytes.Equal(got, p[:1024]) {
		t.Error("the image does not have what was written")
	}
	r.command(0x0f, 0, 9)
	r.command(0x08)
	r.dma(18*4, false)
	r.expect("FORMAT TRACK", r.command(0x4d, 0, 2, 18, 0x50, 0xf6), 0, 0, 0, 9, 0, 1, 2)
	if got := r.a.Image.Bytes()[9*36*512:][:18*512]; !bytes.Equal(got, bytes.Repeat([]byte{0xf6}, 18*512)) {
		t.Error("the track is not filled")
	}
}

func TestPIO(t *testing.T) {
	r := newRig(t)
	r.command(0x03, 0xaf, 0x03)
	want := drivetest.Pattern(size)
	got := r.command(0x46, 0, 0, 0, 18, 2, 18, 0x1b, 0xff)
	if len(got) != 512+7 {
		t.Fatalf("%d bytes", len(got))
	}
	r.expect("result", got[512:], 0, 0, 0, 1, 0, 1, 2)
	if !bytes.Equal(got[:512], want[17*512:][:512]) {
		t.Error("READ DATA differs")
	}
}

func TestMedia(t *testing.T) {
	r := newRig(t)
	r.command(0x07, 0)
	r.command(0x08)
	r.command(0x0f, 0, 1)
	r.command(0x08)
	r.CheckIn8(base+7, 0, "not changed")
	r.a.Eject()
	r.CheckIn8(base+7, 0x80, "ejected")
	r.a.Insert(drivetest.Pattern(720 << 10))
	r.command(0x0f, 0, 2)
	r.command(0x08)
	r.CheckIn8(base+7, 0, "seen")
	r.dma(512, true)
	r.Out8(base+7, 2)
	r.expect("the next floppy", r.command(0xe6, 0, 2, 0, 9, 2, 9, 0x1b, 0xff), 0, 0, 0, 2, 1, 1, 2)
	if got := r.ReadMem(mem, 512); binary.LittleEndian.Uint64(got) != binary.LittleEndian.Uint64(drivetest.Pattern(720 << 10)[(2*18+8)*512:]) {
		t.Error("another sector")
	}
}

// A drive that begins empty takes a floppy that cannot be written.
func TestReadOnlyMedium(t *testing.T) {
	r := newRig(t)
	r.AddDrive("protected", size, block.Settings{ReadOnly: true})
	r.Do(func() {
		if err := r.b.InsertMedium(r.Env.Blocks.Backend("protected").Node()); err != nil {
			t.Errorf("a floppy that cannot be written: %v", err)
		}
	})
	r.b.Eject()
	r.b.Insert(make([]byte, size)) // and then one that can
	if n := r.b.Root(); n == nil || r.b.ReadOnly() {
		t.Error("a floppy that can be written is not in the drive")
	}
}

func TestOther(t *testing.T) {
	r := newRig(t)
	r.expect("VERSION", r.command(0x10), 0x90)
	r.expect("SENSE DRIVE STATUS", r.command(0x04, 1), 0x39)
	r.command(0x13, 0, 0x57, 0)
	r.expect("LOCK", r.command(0x94), 0x10)
	r.start()
	if p := r.command(0x0e); len(p) != 10 || p[7] != 0x80 || p[8] != 0x57 {
		t.Errorf("DUMPREG: % x", p)
	}
	r.expect("UNLOCK", r.command(0x14), 0)
	r.ResetAll()
	r.CheckIn8(base+4, 0x80, "main status after a reset")
}

func TestRoundTrip(t *testing.T) {
	for name, drive := range map[string]func(*rig){
		"rest":      func(*rig) {},
		"command":   func(r *rig) { r.Out8(base+5, 0xe6); r.Out8(base+5, 0) },
		"result":    func(r *rig) { r.Out8(base+5, 0x10) },
		"sense":     func(r *rig) { r.command(0x0f, 0, 3) },
		"masked":    func(r *rig) { r.command(0xe6, 0, 3, 0, 17, 2, 18, 0x1b, 0xff) },
		"write PIO": func(r *rig) { r.command(0x03, 0, 1); r.command(0xc5, 0, 3, 0, 1, 2, 18, 0x1b, 0xff); r.Out8(base+5, 1) },
	} {
		t.Run(name, func(t *testing.T) {
			var first *rig
			devtest.RoundTrip(t, func(m *devtest.Machine) {
				if r := onto(m); first == nil {
					first = r
				}
			}, func(*devtest.Machine) { first.start(); drive(first) })
		})
	}
}

func TestTwin(t *testing.T) {
	devtest.Twin(t, func(m *devtest.Machine) { onto(m).start() }, devtest.Ports(base, 8), devtest.Ports(0, 16))
}

func FuzzIO(f *testing.F) {
	devtest.FuzzIO(f, func(m *devtest.Machine) { onto(m).start() }, devtest.Ports(base, 8), devtest.Ports(0, 16))
}

func FuzzState(f *testing.F) {
	devtest.FuzzState(f, func(m *devtest.Machine) { onto(m).start() }, devtest.Ports(base, 8), devtest.Ports(0, 16))
}
