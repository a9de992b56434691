package i440fx_test

import (
	"bytes"
	"fmt"
	"sync/atomic"
	"testing"

	"govmd/internal/device"
	"govmd/internal/device/devtest"
	"govmd/internal/device/i440fx"
	"govmd/internal/device/pci"
	"govmd/internal/memory"
)

const (
	romStart = 0xe0000
	romSize  = 0x20000
	romByte  = 0xee
	ramByte  = 0x11
	vgaStart = 0xa0000
)

// vga is something on PCI in the window that SMRAM hides.
type vga struct{ last atomic.Uint64 }

func (v *vga) ReadIO(uint64, int) uint64         { return 0x76 }
func (v *vga) WriteIO(_ uint64, _ int, x uint64) { v.last.Store(x) }

type bed struct {
	*devtest.Machine
	host *i440fx.Host
	vga  *vga
	opt  *vga // an I/O region where option ROMs are
}

func newBed(t testing.TB) *bed { return onto(devtest.New(t)) }

func onto(m *devtest.Machine) *bed {
	t := m.TB
	d, err := device.Create("i440FX-pcihost", "")
	if err != nil {
		t.Fatal(err)
	}
	b := &bed{Machine: m, host: d.(*i440fx.Host), vga: &vga{}, opt: &vga{}}
	mem := m.Env.Memory
	b.host.RAM = mem.NewRAM("pc.ram", m.RAM, 0, 0)
	b.host.RAMSize = devtest.RAMSize
	if err := m.Insert(nil, d); err != nil {
		t.Fatal(err)
	}
	block, err := mem.NewBlock(memory.BlockConfig{Name: "rom", Size: romSize})
	if err != nil {
		t.Fatal(err)
	}
	fill(t, block, romByte)
	for _, c := range []struct {
		at uint64
		r  *memory.Region
	}{
		{romStart, mem.NewROM("rom", block, 0, romSize)},
		{vgaStart, mem.NewIO("vga", 0x20000, b.vga, memory.Spec{})},
		{0xc8000, mem.NewIO("opt", 0x4000, b.opt, memory.Spec{})},
	} {
		if err := b.host.PCIMem().Add(c.at, c.r); err != nil {
			t.Fatal(err)
		}
	}
	fill(t, m.RAM, ramByte)
	return b
}

func fill(t testing.TB, block *memory.Block, v byte) {
	p := bytes.Repeat([]byte{v}, int(min(block.Size(), 1<<20)))
	if err := block.Write(0, p); err != nil {
		t.Fatal(err)
	}
}

func (b *bed) ram(addr uint64) byte {
	b.TB.Helper()
	var p [1]byte
	if err := b.RAM.Read(addr, p[:]); err != nil {
		b.TB.Fatal(err)
	}
	return p[0]
}

func (b *bed) cfg8(off int) uint8 {
	b.Out32(pci.PortConfigAddress, 1<<31|uint32(off&^3))
	return b.In8(pci.PortConfigData + uint16(off&3))
}

func (b *bed) setCfg8(off int, v uint8) {
	b.Out32(pci.PortConfigAddress, 1<<31|uint32(off&^3))
	b.Out8(pci.PortConfigData+uint16(off&3), v)
}

func equal[T comparable](t testing.TB, what string, got, want T) {
	t.Helper()
	if got != want {
		t.Errorf("%s = %v, want %v", what, got, want)
	}
}

func TestIdentity(t *testing.T) {
	b := newBed(t)
	b.Out32(pci.PortConfigAddress, 1<<31)
	equal(t, "IDs", b.In32(pci.PortConfigData), 0x12378086)
	b.Out32(pci.PortConfigAddress, 1<<31|8)
	equal(t, "class", b.In32(pci.PortConfigData), 0x06000002)
	b.Out32(pci.PortConfigAddress, 1<<31|0x2c)
	equal(t, "subsystem", b.In32(pci.PortConfigData), 0x11001af4)
	equal(t, "SMRAM", b.cfg8(0x72), 2)
	b.setCfg8(0x59, 0xff)
	b.setCfg8(0x5a, 0xff)
	equal(t, "PAM0", b.cfg8(0x59), 0x30)
	equal(t, "PAM1", b.cfg8(0x5a), 0x33)
	equal(t, "bus", b.host.Bus().Name(), "pci.0")
}

// segments lists what each PAM register's halves control.
var segments = []struct {
	reg, shift  int
	start, size uint64
}{
	{0x59, 4, 0xf0000, 0x10000},
	{0x5a, 0, 0xc0000, 0x4000}, {0x5a, 4, 0xc4000, 0x4000}, {0x5b, 0, 0xc8000, 0x4000}, {0x5b, 4, 0xcc000, 0x4000},
	{0x5c, 0, 0xd0000, 0x4000}, {0x5c, 4, 0xd4000, 0x4000}, {0x5d, 0, 0xd8000, 0x4000}, {0x5d, 4, 0xdc000, 0x4000},
	{0x5e, 0, 0xe0000, 0x4000}, {0x5e, 4, 0xe4000, 0x4000}, {0x5f, 0, 0xe8000, 0x4000}, {0x5f, 4, 0xec000, 0x4000},
}

// onPCI is what PCI reads as at addr.
func onPCI(addr uint64) byte {
	switch {
	case addr >= romStart:
		return romByte
	case addr >= 0xc8000 && addr < 0xcc000:
		return 0x76
	}
	return 0xff
}

func TestPAMMatrix(t *testing.T) {
	b := newBed(t)
	for _, s := range segments {
		for m := range 4 {
			what := fmt.Sprintf("%#x mode %d: ", s.start, m)
			at := []uint64{s.start, s.start + s.size/2, s.start + s.size - 1}
			for _, addr := range at {
				if err := b.RAM.Write(addr, []byte{ramByte}); err != nil {
					t.Fatal(err)
				}
			}
			b.setCfg8(s.reg, uint8(m<<s.shift))
			for _, addr := range at {
				want := onPCI(addr)
				if m&1 != 0 {
					want = ramByte
				}
				where := fmt.Sprintf(" at %#x", addr)
				equal(t, what+"read"+where, b.Read8(addr), want)
				b.opt.last.Store(0)
				b.Write8(addr, 0x42)
				ram, read := byte(ramByte), want
				if m&2 != 0 {
					ram = 0x42
				}
				if m == 3 {
					read = 0x42
				}
				equal(t, what+"RAM after a write"+where, b.ram(addr), ram)
				equal(t, what+"read after a write"+where, b.Read8(addr), read)
				if s.start == 0xc8000 {
					equal(t, what+"write seen on PCI", b.opt.last.Load() == 0x42, m&2 == 0)
				}
			}
			for _, addr := range []uint64{s.start - 1, s.start + s.size} {
				if addr >= 0xc0000 && addr < 1<<20 {
					equal(t, fmt.Sprintf("%sneighbour %#x", what, addr), b.Read8(addr), onPCI(addr))
				}
			}
			b.setCfg8(s.reg, 0)
		}
	}
}

// Firmware that shadows its ROM in place executes from it meanwhile, so what it
// reads stays memory.
func TestCopyModeIsExecutable(t *testing.T) {
	b := newBed(t)
	b.setCfg8(0x59, 0x20)
	s, ok := b.Env.Mem.Lookup(0xffff0)
	if !ok || s.Block == nil || !s.ReadOnly {
		t.Errorf("the reset vector is in %+v", s)
	}
	for a := uint64(0xf0000); a < 0x100000; a += 4 { // rep movsd, from and to the same place
		b.Write32(a, b.Read32(a))
	}
	b.setCfg8(0x59, 0x10)
	equal(t, "shadowed", b.Read32(0xffff0), 0xeeeeeeee)
	equal(t, "RAM", b.ram(0xffff0), romByte)
	b.Write8(0xffff0, 1)
	equal(t, "write-protected", b.Read8(0xffff0), romByte)
}

func TestPAMTogglingLeavesNothing(t *testing.T) {
	b := newBed(t)
	before := b.Env.Mem.FlatView()
	for i := range 400 {
		b.setCfg8(0x59+i%7, uint8(i*0x31))
	}
	for i := range 7 {
		b.setCfg8(0x59+i, 0)
	}
	equal(t, "sections", len(b.Env.Mem.FlatView()), len(before))
}

func TestSMRAM(t *testing.T) {
	for _, c := range []struct {
		v    uint8
		open bool
	}{{0x02, false}, {0x42, false}, {0x0a, false}, {0x4a, true}, {0x6a, false}, {0x5a, false}} {
		b := newBed(t)
		b.setCfg8(0x72, c.v)
		want := byte(0x76)
		if c.open {
			want = ramByte
		}
		equal(t, fmt.Sprintf("%#x", c.v), b.Read8(vgaStart+0x1ffff), want)
		equal(t, "RAM below", b.Read8(vgaStart-1), ramByte)
	}
}

func TestSMRAMLock(t *testing.T) {
	b := newBed(t)
	b.setCfg8(0x72, 0x5a)
	equal(t, "locked", b.cfg8(0x72), 0x1a)
	b.setCfg8(0x72, 0x4a)
	equal(t, "locked still", b.cfg8(0x72)&0x58, 0x18)
	equal(t, "window", b.Read8(vgaStart), 0x76)
	b.Reset(b.host)
	equal(t, "after a reset", b.cfg8(0x72), 2)
	b.setCfg8(0x72, 0x4a)
	equal(t, "window", b.Read8(vgaStart), ramByte)
}

func TestReset(t *testing.T) {
	b := newBed(t)
	for i := range 7 {
		b.setCfg8(0x59+i, 0x33)
	}
	equal(t, "shadow", b.Read8(0xf0000), ramByte)
	b.Reset(b.host)
	equal(t, "ROM", b.Read8(0xf0000), romByte)
	equal(t, "address register", b.In32(pci.PortConfigAddress), 0)
}

func TestNeedsRAM(t *testing.T) {
	m := devtest.New(t)
	d, err := device.Create("i440FX-pcihost", "")
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Insert(nil, d); err == nil {
		t.Error("realized without RAM")
	}
}

func TestState(t *testing.T) {
	var beds []*bed
	devtest.RoundTrip(t, func(m *devtest.Machine) { beds = append(beds, onto(m)) }, func(*devtest.Machine) {
		b := beds[0]
		b.setCfg8(0x59, 0x10)
		b.setCfg8(0x5f, 0x23)
		b.setCfg8(0x72, 0x4a)
		b.Out32(pci.PortConfigAddress, 0x80001234)
	})
	b := beds[1]
	equal(t, "address register", b.In32(pci.PortConfigAddress), 0x80001234)
	equal(t, "PAM0", b.Read8(0xf0000), ramByte)
	equal(t, "PAM6 lower", b.Read8(0xe8000), ramByte)
	equal(t, "PAM6 upper", b.Read8(0xec000), romByte)
	equal(t, "SMRAM", b.Read8(vgaStart), ramByte)
}

func TestUnplug(t *testing.T) {
	b := newBed(t)
	b.setCfg8(0x59, 0x20)
	b.Unplug(b.host)
	equal(t, "ports", b.In32(pci.PortConfigAddress), 0xffffffff)
	equal(t, "RAM", b.Read8(0xf0000), ramByte)
	equal(t, "RAM", b.Read8(vgaStart), ramByte)
}

var fuzzRanges = []devtest.Range{
	devtest.Ports(pci.PortConfigAddress, 8), devtest.Ports(pci.PortConfigData, 4), devtest.MMIO(vgaStart, 0x60000),
}

// registers are those that shape the map.
var registers = []int{0x59, 0x5a, 0x5b, 0x5c, 0x5d, 0x5e, 0x5f, 0x72, 0x57, 0x04}

func TestTwin(t *testing.T) {
	devtest.Twin(t, func(m *devtest.Machine) {
		b := onto(m)
		m.AddAction(func(next func(int) uint64) uint64 {
			reg := registers[int(next(1))%len(registers)]
			b.setCfg8(reg, uint8(next(1)))
			return uint64(b.cfg8(reg))
		})
		m.AddAction(func(next func(int) uint64) uint64 {
			return uint64(b.Read32(vgaStart + next(2)<<2))
		})
	}, fuzzRanges...)
}

func TestConcurrent(t *testing.T) {
	devtest.Concurrent(t, func(m *devtest.Machine) { onto(m) }, fuzzRanges...)
}

func FuzzAccess(f *testing.F) {
	devtest.FuzzIO(f, func(m *devtest.Machine) { onto(m) }, fuzzRanges...)
}

func FuzzState(f *testing.F) {
	devtest.FuzzState(f, func(m *devtest.Machine) { onto(m) }, fuzzRanges...)
}

// FuzzRegisters writes the registers that shape the map, with accesses to it between.
func FuzzRegisters(f *testing.F) {
	f.Add([]byte{0, 0x30, 1, 1, 0x20, 7, 3, 0x11, 200, 9, 0x4a, 3})
	f.Fuzz(func(t *testing.T, data []byte) {
		b := newBed(t)
		for i := 0; i < 300 && len(data) >= 3; i++ {
			b.setCfg8(registers[int(data[0])%len(registers)], data[1])
			addr := 0xa0000 + uint64(data[2])<<10 + uint64(data[0])
			b.Write32(addr, b.Read32(addr))
			data = data[3:]
		}
		b.Reset(b.host)
		if got := b.Read8(0xfffff); got != romByte {
			t.Errorf("after a reset the ROM reads %#x", got)
		}
	})
}
