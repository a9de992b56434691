package pci_test

import (
	"os"
	"strings"
	"sync"
	"testing"

	"govmd/internal/device"
	"govmd/internal/device/devtest"
	"govmd/internal/device/pci"
	"govmd/internal/memory"
	"govmd/internal/object"
	"govmd/internal/runstate"
	"govmd/internal/state"
)

// probe is a function with one of everything.
type probe struct {
	pci.Device
	vectors uint32
	fail    bool
	ports   *store
	regs    *store
	written int
}

// store is a region that keeps what is written to it.
type store struct {
	mu   sync.Mutex
	data [256]byte
	n    int // accesses
}

func (s *store) ReadIO(off uint64, size int) (v uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.n++
	for i := size - 1; i >= 0; i-- {
		v = v<<8 | uint64(s.data[(off+uint64(i))&255])
	}
	return v
}

func (s *store) WriteIO(off uint64, size int, v uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.n++
	for i := range size {
		s.data[(off+uint64(i))&255] = byte(v >> (8 * i))
	}
}

var errProbe = os.ErrInvalid

func (p *probe) Realize() error {
	if err := p.Setup(pci.Identity{Vendor: 0x1234, Device: 0x5678, Revision: 9, Class: 0x0c0330, InterruptPin: 2}); err != nil {
		return err
	}
	mem := p.Env().Memory
	p.ports, p.regs = &store{}, &store{}
	if err := p.RegisterBAR(0, pci.BARIO, mem.NewIO("ports", 32, p.ports, memory.Spec{})); err != nil {
		return err
	}
	if err := p.RegisterBAR(2, pci.BARMem64|pci.BARPrefetch, mem.NewIO("regs", 0x4000, p.regs, memory.Spec{})); err != nil {
		return err
	}
	if err := p.EnableMSIXOwnBAR(int(p.vectors), 1); err != nil {
		return err
	}
	if err := p.EnableMSI(4, 0, true); err != nil {
		return err
	}
	if err := p.AddPM(0); err != nil {
		return err
	}
	if p.fail {
		return errProbe
	}
	return nil
}

func (p *probe) ConfigWritten(int, int) { p.written++ }

func init() {
	pci.Register(object.Type{
		Name: "pci-probe",
		Props: []object.Property{
			object.Int("vectors", func(p *probe) *uint32 { return &p.vectors }, 5, ""),
			object.Bool("fail", func(p *probe) *bool { return &p.fail }, false, ""),
		},
		New: func() object.Object { return &probe{} },
	})
}

// bed is a machine with a root bus.
type bed struct {
	*devtest.Machine
	bus   *device.Bus
	pci   *pci.Bus
	ports pci.ConfigPorts
	intx  [4]bool
}

func newBed(t testing.TB) *bed { return onto(devtest.New(t)) }

func onto(m *devtest.Machine) *bed {
	b := &bed{Machine: m}
	mem := m.Env.Memory.NewContainer("pci", 0)
	m.Do(func() {
		if err := m.Env.Mem.Root().AddOverlap(0, mem, -1); err != nil {
			m.TB.Fatal(err)
		}
		b.pci = pci.NewRoot(pci.RootConfig{Name: "pci.0", Mem: mem, IO: m.Env.IO.Root(), Ports: &b.ports})
		b.bus = device.NewRootBus(pci.BusKind, "pci.0", b.pci)
		// What a host bridge would do.
		if _, err := m.Env.State.Register(state.Of("ports", 1,
			func() struct{ Addr uint32 } { return struct{ Addr uint32 }{b.ports.Address()} },
			func(s *struct{ Addr uint32 }) error { b.ports.SetAddress(s.Addr); return nil })); err != nil {
			m.TB.Fatal(err)
		}
		b.pci.RouteINTx(func(pin int, high bool) { b.intx[pin] = high })
		io := m.Env.IO.Root()
		if err := io.Add(pci.PortConfigAddress, b.ports.AddressRegion(m.Env.Memory)); err != nil {
			m.TB.Fatal(err)
		}
		if err := io.Add(pci.PortConfigData, b.ports.DataRegion(m.Env.Memory)); err != nil {
			m.TB.Fatal(err)
		}
	})
	return b
}

func (b *bed) probe(props ...string) *probe {
	b.TB.Helper()
	return b.Plug(b.bus, "pci-probe", "", props...).(*probe)
}

// at selects a register by the address port and returns the port of its data.
func (b *bed) at(slot, fn, off int) uint16 {
	b.Out32(pci.PortConfigAddress, 1<<31|uint32(slot<<11|fn<<8|off&^3))
	return pci.PortConfigData + uint16(off&3)
}

func (b *bed) cfg8(slot, off int) uint8         { return b.In8(b.at(slot, 0, off)) }
func (b *bed) cfg16(slot, off int) uint16       { return b.In16(b.at(slot, 0, off)) }
func (b *bed) cfg32(slot, off int) uint32       { return b.In32(b.at(slot, 0, off)) }
func (b *bed) setCfg16(slot, off int, v uint16) { b.Out16(b.at(slot, 0, off), v) }
func (b *bed) setCfg32(slot, off int, v uint32) { b.Out32(b.at(slot, 0, off), v) }
func (b *bed) command(slot int, bits uint16)    { b.setCfg16(slot, pci.RegCommand, bits) }
func equal[T comparable](t testing.TB, what string, got, want T) {
	t.Helper()
	if got != want {
		t.Errorf("%s = %v, want %v", what, got, want)
	}
}

func TestHeader(t *testing.T) {
	b := newBed(t)
	p := b.probe("addr", "4")
	equal(t, "IDs", b.cfg32(4, 0), 0x56781234)
	equal(t, "class and revision", b.cfg32(4, 8), 0x0c033009)
	equal(t, "subsystem", b.cfg32(4, 0x2c), 0x11001af4)
	equal(t, "pin", b.cfg8(4, pci.RegInterruptPin), 2)
	b.setCfg32(4, 0, 0xffffffff)
	equal(t, "IDs after a write", b.cfg32(4, 0), 0x56781234)
	b.command(4, 0xffff)
	equal(t, "command", b.cfg16(4, pci.RegCommand), 0x0507)
	b.Out8(b.at(4, 0, pci.RegInterruptLine), 11)
	equal(t, "interrupt line", b.cfg8(4, pci.RegInterruptLine), 11)
	equal(t, "nobody's slot", b.cfg32(5, 0), 0xffffffff)
	equal(t, "nobody's slot, byte", b.cfg8(5, 0), 0xff)
	equal(t, "address", p.Address(), "0000:00:04.0")
	if p.written == 0 {
		t.Error("the function was not told of writes")
	}
}

func TestMechanism1(t *testing.T) {
	b := newBed(t)
	b.probe("addr", "4")
	b.Out32(pci.PortConfigAddress, 0xffffffff)
	equal(t, "address register", b.In32(pci.PortConfigAddress), 0x80fffffc)
	b.Out8(pci.PortConfigAddress, 0)
	b.Out16(pci.PortConfigAddress, 0)
	b.Out8(pci.PortConfigAddress+1, 0)
	equal(t, "address register after narrow writes", b.In32(pci.PortConfigAddress), 0x80fffffc)
	equal(t, "another bus", b.In32(pci.PortConfigData), 0xffffffff)
	b.Out32(pci.PortConfigAddress, 4<<11) // not enabled
	equal(t, "disabled", b.In32(pci.PortConfigData), 0xffffffff)
	b.Out32(pci.PortConfigAddress, 1<<31|4<<11)
	equal(t, "byte 3", b.In8(pci.PortConfigData+3), 0x56)
	equal(t, "word 2", b.In16(pci.PortConfigData+2), 0x5678)

	r := &store{}
	b.ports.SetResetControl(r)
	b.Out8(0xcf9, 6)
	equal(t, "reset control", b.In8(0xcf9), 6)
	equal(t, "address register beside it", b.In32(pci.PortConfigAddress), 1<<31|4<<11)
}

func TestBARSizing(t *testing.T) {
	b := newBed(t)
	b.probe("addr", "4")
	for _, c := range []struct {
		off  int
		want uint32
	}{{0x10, 0xffffffe1}, {0x14, 0xfffff000}, {0x18, 0xffffc00c}, {0x1c, 0xffffffff}, {0x20, 0}, {0x24, 0}, {0x30, 0}} {
		b.setCfg32(4, c.off, 0xffffffff)
		equal(t, "size of "+string(rune('0'+(c.off-0x10)/4)), b.cfg32(4, c.off), c.want)
	}
}

func TestBARMoves(t *testing.T) {
	b := newBed(t)
	p := b.probe("addr", "4")
	b.setCfg32(4, 0x10, 0xc000)
	b.setCfg32(4, 0x18, 0xfe000000)
	p.ports.data[1] = 0x5a
	p.regs.data[2] = 0xa5
	equal(t, "ports before the command register", b.In8(0xc001), 0xff)
	b.command(4, pci.CommandIO|pci.CommandMemory)
	equal(t, "ports", b.In8(0xc001), 0x5a)
	equal(t, "memory", b.Read8(0xfe000002), 0xa5)
	b.setCfg32(4, 0x10, 0xc020)
	equal(t, "old ports", b.In8(0xc001), 0xff)
	equal(t, "new ports", b.In8(0xc021), 0x5a)
	b.setCfg32(4, 0x1c, 0x12)
	equal(t, "old memory", b.Read8(0xfe000002), 0xff)
	equal(t, "memory above 4 GiB", b.Read8(0x12fe000002), 0xa5)
	b.command(4, pci.CommandIO)
	equal(t, "memory disabled", b.Read8(0x12fe000002), 0xff)
	equal(t, "ports still there", b.In8(0xc021), 0x5a)
	// The same, again and again, leaves nothing behind.
	views := len(b.Env.Mem.FlatView())
	for i := range uint32(200) {
		b.command(4, pci.CommandMemory)
		b.setCfg32(4, 0x18, 0xe0000000+i<<14)
		b.command(4, 0)
	}
	equal(t, "sections", len(b.Env.Mem.FlatView()), views)
}

func TestBARImpossibleAddresses(t *testing.T) {
	b := newBed(t)
	p := b.probe("addr", "4")
	for _, c := range []struct{ low, high uint32 }{
		{0, 0}, {0xffffffff, 0}, {0xffffffff, 0xffffffff}, {0, 0},
	} {
		b.command(4, 0)
		b.setCfg32(4, 0x18, c.low)
		b.setCfg32(4, 0x1c, c.high)
		b.setCfg32(4, 0x10, c.low)
		b.command(4, pci.CommandIO|pci.CommandMemory)
		if a, ok := p.BARAddr(2); ok {
			t.Errorf("memory is mapped at %#x", a)
		}
		if a, ok := p.BARAddr(0); ok {
			t.Errorf("ports are mapped at %#x", a)
		}
	}
	b.setCfg32(4, 0x10, 0x1c000) // beyond the ports
	if a, ok := p.BARAddr(0); ok {
		t.Errorf("ports are mapped at %#x", a)
	}
}

func TestRAMWinsOverBAR(t *testing.T) {
	b := newBed(t)
	b.probe("addr", "4")
	b.setCfg32(4, 0x18, 0x100000)
	b.command(4, pci.CommandMemory)
	b.Write32(0x100000, 0x11223344)
	equal(t, "RAM", b.Read32(0x100000), 0x11223344)
}

func TestBusMaster(t *testing.T) {
	b := newBed(t)
	p := b.probe("addr", "4")
	var buf [4]byte
	if err := p.DMA().Read(0x1000, buf[:]); err == nil {
		t.Error("a function that is not bus master reads memory")
	}
	b.command(4, pci.CommandMaster)
	if err := p.DMA().Read(0x1000, buf[:]); err != nil {
		t.Error(err)
	}
	b.Reset(p)
	if err := p.DMA().Read(0x1000, buf[:]); err == nil {
		t.Error("a function is bus master after a reset")
	}
}

func TestINTx(t *testing.T) {
	b := newBed(t)
	x, y := b.probe("addr", "4"), b.probe("addr", "8") // both INTB, both on pin (4+1)&3
	z := b.probe("addr", "5")
	x.SetINTx(true)
	equal(t, "PIRQB", b.intx, [4]bool{1: true})
	equal(t, "status", b.cfg16(4, pci.RegStatus)&pci.StatusInterrupt, pci.StatusInterrupt)
	z.SetINTx(true)
	equal(t, "PIRQs", b.intx, [4]bool{1: true, 2: true})
	y.SetINTx(true)
	x.SetINTx(false)
	equal(t, "shared", b.intx[1], true)
	b.command(8, pci.CommandINTxDisable)
	equal(t, "disabled", b.intx[1], false)
	equal(t, "status while disabled", b.cfg16(8, pci.RegStatus)&pci.StatusInterrupt, pci.StatusInterrupt)
	b.command(8, 0)
	equal(t, "enabled again", b.intx[1], true)
	b.Reset(y)
	equal(t, "after a reset", b.intx[1], false)
	b.Unplug(z)
	equal(t, "unplugged", b.intx, [4]bool{})
}

func TestSwizzleBehindBridge(t *testing.T) {
	for slot := range 32 {
		for pin := range 4 {
			equal(t, "pin", pci.Swizzle(slot, pin), (slot+pin)%4)
		}
	}
}

func TestCapabilities(t *testing.T) {
	b := newBed(t)
	p := b.probe("addr", "4")
	if b.cfg16(4, pci.RegStatus)&pci.StatusCapabilities == 0 {
		t.Error("status says that there are no capabilities")
	}
	var ids []uint8
	for off := int(b.cfg8(4, pci.RegCapabilities)); off != 0 && len(ids) < 10; off = int(b.cfg8(4, off+1)) {
		ids = append(ids, b.cfg8(4, off))
	}
	if string(ids) != string([]byte{pci.CapPM, pci.CapMSI, pci.CapMSIX}) {
		t.Errorf("capabilities %#x", ids)
	}
	pm := p.FindCapability(pci.CapPM)
	b.setCfg16(4, pm+4, 3)
	equal(t, "power state", b.cfg16(4, pm+4)&3, 3)
	if _, err := p.AddCapability(pci.CapVendor, pm, 4); err == nil {
		t.Error("capabilities overlap")
	}
	if _, err := p.AddCapability(pci.CapVendor, 0, 200); err == nil {
		t.Error("a capability that does not fit was added")
	}
}

// newColdBed is a machine that has not been started.
func newColdBed(t testing.TB) *bed {
	b := newBed(t)
	b.Do(func() {
		if err := b.Env.Run.Stop(runstate.Paused); err != nil {
			t.Error(err)
		}
	})
	return b
}

func TestPlaces(t *testing.T) {
	b := newColdBed(t)
	b.probe("addr", "3")
	for _, c := range []struct{ props, want string }{
		{"addr=3", "PCI: slot 3 function 0 not available for pci-probe, in use by pci-probe,id=(null)"},
		{"addr=3.1", "PCI: single function device can't be populated in function 3.1"},
		{"addr=20", "Property 'pci-probe.addr' doesn't take value '20'"},
		{"addr=1.8", "Property 'pci-probe.addr' doesn't take value '1.8'"},
		{"addr=1.2.3", "Property 'pci-probe.addr' doesn't take value '1.2.3'"},
		{"addr=", "Property 'pci-probe.addr' doesn't take value ''"},
		{"romfile=/nonexistent/rom", `failed to find romfile "/nonexistent/rom"`},
		{"romfile=/dev/null", `romfile "/dev/null" is empty`},
		{"vectors=0", "pci-probe: 0 MSI-X vectors in base address register 1 are not possible"},
	} {
		k, v, _ := strings.Cut(c.props, "=")
		_, err := b.TryPlug(b.bus, "pci-probe", "", k, v)
		if err == nil || err.Error() != c.want {
			t.Errorf("%s: %v, want %s", c.props, err, c.want)
		}
	}
	equal(t, "first free slot", b.probe().Slot(), 0)
	equal(t, "next free slot", b.probe().Slot(), 1)

	b2 := newColdBed(t)
	m := b2.probe("addr", "3", "multifunction", "on")
	f1 := b2.probe("addr", "3.1")
	_ = f1
	equal(t, "header", b2.cfg8(3, pci.RegHeaderType), 0x80)
	b2.Unplug(m)
	equal(t, "unplugged", b2.cfg32(3, 0), 0xffffffff)
	equal(t, "function 1", b2.In32(b2.at(3, 1, 0)), 0x56781234)
	_, err := b2.TryPlug(b2.bus, "pci-probe", "", "addr", "3.0")
	const want = "PCI: 3.0 indicates single function, but 3.1 is already populated."
	if err == nil || err.Error() != want {
		t.Errorf("%v, want %s", err, want)
	}

	hotBed := newBed(t)
	hotBed.probe("addr", "4", "multifunction", "on")
	_, err = hotBed.TryPlug(hotBed.bus, "pci-probe", "", "addr", "4.1")
	const hot = "PCI: slot 4 function 0 already occupied by pci-probe, new func pci-probe cannot be exposed to guest."
	if err == nil || err.Error() != hot {
		t.Errorf("%v, want %s", err, hot)
	}

	full := newBed(t)
	for range 32 {
		full.probe()
	}
	_, err = full.TryPlug(full.bus, "pci-probe", "")
	if err == nil || err.Error() != "PCI: no slot/function available for pci-probe, all in use or reserved" {
		t.Error(err)
	}
}

func TestFailedRealizeLeavesNothing(t *testing.T) {
	b := newBed(t)
	if _, err := b.TryPlug(b.bus, "pci-probe", "", "addr", "4", "fail", "on"); err == nil {
		t.Fatal("realized")
	}
	equal(t, "slot", b.cfg32(4, 0), 0xffffffff)
	if b.pci.At(4, 0) != nil {
		t.Error("the slot is taken")
	}
	b.probe("addr", "4")
}

func TestReset(t *testing.T) {
	b := newBed(t)
	p := b.probe("addr", "4")
	b.setCfg32(4, 0x10, 0xc000)
	b.Out8(b.at(4, 0, pci.RegInterruptLine), 11)
	b.command(4, pci.CommandIO|pci.CommandMaster)
	b.Reset(p)
	equal(t, "BAR", b.cfg32(4, 0x10), 1)
	equal(t, "command", b.cfg16(4, pci.RegCommand), 0)
	equal(t, "line", b.cfg8(4, pci.RegInterruptLine), 0)
	equal(t, "ports", b.In8(0xc001), 0xff)
}

func TestUnplugWhileMapped(t *testing.T) {
	b := newBed(t)
	p := b.probe("addr", "4")
	b.setCfg32(4, 0x18, 0xfe000000)
	b.command(4, pci.CommandMemory|pci.CommandMaster)
	views := len(b.Env.Mem.FlatView())
	b.Unplug(p)
	equal(t, "sections", len(b.Env.Mem.FlatView()), views-1)
	equal(t, "IDs", b.cfg32(4, 0), 0xffffffff)
	p.ConfigWrite(pci.RegCommand, 2, pci.CommandMemory) // by a vCPU that was late
	equal(t, "sections", len(b.Env.Mem.FlatView()), views-1)
}

func TestOptionROM(t *testing.T) {
	path := t.TempDir() + "/rom.bin"
	rom := make([]byte, 5000)
	rom[0], rom[1], rom[4999] = 0x55, 0xaa, 0x77
	if err := os.WriteFile(path, rom, 0o600); err != nil {
		t.Fatal(err)
	}
	b := newBed(t)
	p := b.probe("addr", "4", "romfile", path)
	b.setCfg32(4, pci.RegROM, 0xffffffff)
	equal(t, "size", b.cfg32(4, pci.RegROM), 0xffffe001)
	b.setCfg32(4, pci.RegROM, 0xfe000000)
	b.command(4, pci.CommandMemory)
	equal(t, "not enabled", b.Read16(0xfe000000), 0xffff)
	b.setCfg32(4, pci.RegROM, 0xfe000001)
	equal(t, "signature", b.Read16(0xfe000000), 0xaa55)
	b.Write16(0xfe000000, 0)
	equal(t, "signature after a write", b.Read16(0xfe000000), 0xaa55)
	equal(t, "end", b.Read8(0xfe000000+4999), 0x77)
	b.Unplug(p)

	hidden := b.probe("addr", "4", "romfile", path, "rombar", "0")
	b.setCfg32(4, pci.RegROM, 0xffffffff)
	equal(t, "hidden", b.cfg32(4, pci.RegROM), 0)
	b.Unplug(hidden)
	for _, c := range []struct{ size, want string }{
		{"4096", "is too large for ROM size 4096"}, {"5000", "ROM size 5000 is not a power of two"},
	} {
		if _, err := b.TryPlug(b.bus, "pci-probe", "", "romfile", path, "romsize", c.size); err == nil ||
			!strings.Contains(err.Error(), c.want) {
			t.Errorf("romsize %s: %v", c.size, err)
		}
	}
	if _, err := b.TryPlug(b.bus, "pci-probe", "", "romfile", path, "romsize", "8192"); err != nil {
		t.Error(err)
	}
}
