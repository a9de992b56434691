package pcitransport_test

import (
	"strings"
	"testing"

	"govmd/internal/device"
	"govmd/internal/device/devtest"
	"govmd/internal/device/pci"
	"govmd/internal/device/virtio"
	_ "govmd/internal/device/virtio/console"
	"govmd/internal/device/virtio/pcitransport"
	_ "govmd/internal/device/virtio/rng"
	"govmd/internal/device/virtio/virtiotest"
	"govmd/internal/object"
)

func rig(t testing.TB, typeName string, props ...string) (*virtiotest.Rig, *virtiotest.PCI) {
	t.Helper()
	r := virtiotest.NewPCI(t, typeName, props...)
	return r, r.Driver.(*virtiotest.PCI)
}

func equal[T comparable](t *testing.T, what string, got, want T) {
	t.Helper()
	if got != want {
		t.Errorf("%s: %v, want %v", what, got, want)
	}
}

// What lspci shows of these devices under QEMU.
func TestIdentity(t *testing.T) {
	for _, c := range []struct {
		typeName             string
		props                []string
		id, subsystem, class uint32
		revision             uint32
	}{
		{"virtio-rng-pci", nil, 0x1005, 4, 0x00ff00, 0},
		{"virtio-rng-pci", []string{"disable-legacy", "on"}, 0x1044, 0x1100, 0x00ff00, 1},
		{"virtio-rng-pci", []string{"disable-modern", "on"}, 0x1005, 4, 0x00ff00, 0},
		{"virtio-rng-pci-transitional", nil, 0x1005, 4, 0x00ff00, 0},
		{"virtio-rng-pci-non-transitional", nil, 0x1044, 0x1100, 0x00ff00, 1},
		{"virtio-serial-pci", nil, 0x1003, 3, 0x078000, 0},
		{"virtio-serial-pci", []string{"class", "0xff"}, 0x1003, 3, 0x00ff00, 0},
		{"virtio-serial-pci", []string{"class", "0x1234"}, 0x1003, 3, 0x078000, 0},
		{"virtio-serial-pci-non-transitional", nil, 0x1043, 0x1100, 0x078000, 1},
	} {
		_, p := rig(t, c.typeName, c.props...)
		what := c.typeName + " " + strings.Join(c.props, "=")
		equal(t, what+" vendor", p.Cfg(pci.RegVendor, 2), 0x1af4)
		equal(t, what+" device", p.Cfg(pci.RegDevice, 2), c.id)
		equal(t, what+" subsystem vendor", p.Cfg(pci.RegSubsystemVendor, 2), 0x1af4)
		equal(t, what+" subsystem", p.Cfg(pci.RegSubsystem, 2), c.subsystem)
		equal(t, what+" class", p.Cfg(pci.RegRevision, 4)>>8, c.class)
		equal(t, what+" revision", p.Cfg(pci.RegRevision, 1), c.revision)
		equal(t, what+" pin", p.Cfg(pci.RegInterruptPin, 1), 1)
	}
}

func TestLayout(t *testing.T) {
	size := func(p *virtiotest.PCI, n int) uint32 {
		p.SetCfg(0x10+4*n, 4, 0xffffffff)
		v := p.Cfg(0x10+4*n, 4)
		if v == 0 {
			return 0
		}
		if v&1 != 0 {
			return ^(v &^ 3) + 1
		}
		return ^(v &^ 15) + 1
	}
	_, p := rig(t, "virtio-rng-pci")
	for n, want := range []uint32{32, 4096, 0, 0, 0x4000} {
		equal(t, "size", size(p, n), want)
	}
	equal(t, "kind of BAR 4", p.Cfg(0x20, 4)&15, 12)
	for typ, off := range map[int]int{1: 0x40, 3: 0x50, 4: 0x60, 2: 0x70, 5: 0x84} {
		equal(t, "capability", p.Caps[typ], off)
	}
	equal(t, "MSI-X capability", p.Dev.FindCapability(pci.CapMSIX), 0x98)
	equal(t, "vectors", p.Dev.MSIXVectors(), 2)
	equal(t, "multiplier", p.Cfg(0x70+16, 4), 4)

	_, p = rig(t, "virtio-rng-pci", "page-per-vq", "on", "vectors", "0", "modern-pio-notify", "on")
	for n, want := range []uint32{32, 0, 4, 0, 0x800000} {
		equal(t, "size", size(p, n), want)
	}
	equal(t, "multiplier", p.Cfg(p.Caps[2]+16, 4), 4096)
	equal(t, "vectors", p.Dev.MSIXVectors(), 0)
}

func TestNotificationByPort(t *testing.T) {
	r, _ := rig(t, "virtio-rng-pci", "modern-pio-notify", "on", "ioeventfd", "off")
	ring := r.Start(0, 1)[0]
	ring.Add(virtiotest.In(virtiotest.DataBase, 8))
	r.Out16(virtiotest.PCIPIO, 5) // not there
	r.Out16(virtiotest.PCIPIO, 0)
	r.Settle()
	equal(t, "elements used", len(ring.Take()), 1)
}

func TestPagePerQueue(t *testing.T) {
	r, _ := rig(t, "virtio-serial-pci", "page-per-vq", "on", "max_ports", "2")
	rings := r.Start(0, 6)
	rings[5].Add(virtiotest.Out(virtiotest.DataBase, 8))
	r.Kick(5)
	equal(t, "elements used", len(rings[5].Take()), 1)
}

func TestMSIX(t *testing.T) {
	for _, legacy := range []bool{false, true} {
		r, p := rig(t, "virtio-rng-pci")
		p.Legacy = legacy
		r.Negotiate(0)
		ring := r.Queue(0, 8)
		p.EnableMSIX(2)
		config, queue := p.SetVectors(0, 0, 1)
		equal(t, "configuration vector", config, 0)
		equal(t, "queue vector", queue, 1)
		config, queue = p.SetVectors(2, 0, 2)
		equal(t, "configuration vector that is not there", config, 0xffff)
		equal(t, "queue vector that is not there", queue, 0xffff)
		p.SetVectors(0, 0, 1)
		r.Go()
		ring.Add(virtiotest.In(virtiotest.DataBase, 8))
		r.Kick(0)
		sent := r.MSI.Sent()
		if len(sent) != 1 || sent[0] != (device.MSIMessage{Addr: 0xfee00000, Data: 0x41}) {
			t.Errorf("legacy %v: sent %v", legacy, sent)
		}
		equal(t, "pin", p.Dev.INTx(), false)
		equal(t, "interrupt status", r.ISR(), 0)
		if !legacy {
			ring.SetAvailIndex(100)
			r.Kick(0)
			sent = r.MSI.Sent()
			if len(sent) != 1 || sent[0].Data != 0x40 {
				t.Errorf("sent %v for a broken device", sent)
			}
			equal(t, "interrupt status", r.ISR(), 2)
		}
		r.SetStatus(0)
		config, queue = p.SetVectors(0xffff, 0, 0xffff)
		equal(t, "vectors after a reset", [2]uint16{config, queue}, [2]uint16{0xffff, 0xffff})
	}
}

func TestPinIsShared(t *testing.T) {
	m := devtest.New(t)
	r := virtiotest.PCIOn(m, "virtio-rng-pci")
	ring := r.Start(0, 1)[0]
	ring.Add(virtiotest.In(virtiotest.DataBase, 8))
	r.Kick(0)
	p := r.Driver.(*virtiotest.PCI)
	equal(t, "pin", p.Dev.INTx(), true)
	equal(t, "status register", p.Cfg(pci.RegStatus, 2)>>3&1, 1)
	equal(t, "interrupt status", r.ISR(), 1)
	equal(t, "pin after the read", p.Dev.INTx(), false)
}

// Firmware reaches registers that are out of its reach through configuration space.
func TestAccessThroughConfiguration(t *testing.T) {
	r, p := rig(t, "virtio-rng-pci")
	at := p.Caps[5]
	access := func(bar, off, n uint32) {
		p.SetCfg(at+4, 1, bar)
		p.SetCfg(at+8, 4, off)
		p.SetCfg(at+12, 4, n)
	}
	access(4, 0x14, 1)
	p.SetCfg(at+16, 1, 3)
	equal(t, "status", r.Status(), 3)
	equal(t, "status read back", p.Cfg(at+16, 1), 3)
	access(4, 0x12, 2)
	equal(t, "number of queues", p.Cfg(at+16, 2), 1)
	access(4, 0, 4)
	p.SetCfg(at+16, 4, 1)
	access(4, 4, 4)
	equal(t, "features", p.Cfg(at+16, 4), 1)
	ring := r.Start(0, 1)[0]
	ring.Add(virtiotest.In(virtiotest.DataBase, 8))
	access(4, 0x3000, 2)
	p.SetCfg(at+16, 2, 0)
	r.Settle()
	equal(t, "elements used", len(ring.Take()), 1)
	access(4, 0x1000, 1)
	equal(t, "interrupt status", p.Cfg(at+16, 1), 1)
	equal(t, "pin", p.Dev.INTx(), false)
	for _, bad := range [][3]uint32{{0, 0x14, 1}, {4, 0x15, 2}, {4, 0x14, 3}, {4, 0x14, 0}, {4, 0xffffffff, 1}, {4, 0x4000, 4}} {
		access(bad[0], bad[1], bad[2])
		p.SetCfg(at+16, 4, 0)
		p.Cfg(at+16, 4)
	}
	if r.Status()&virtio.StatusDriverOK == 0 {
		t.Error("a wrong access reached the status")
	}
}

func TestEventFDs(t *testing.T) {
	for _, c := range []struct {
		typeName string
		props    []string
		mem, io  int
	}{
		{"virtio-rng-pci-transitional", nil, 1, 0},
		{"virtio-rng-pci", []string{"disable-modern", "on"}, 0, 1},
		{"virtio-rng-pci", []string{"modern-pio-notify", "on"}, 1, 1},
		{"virtio-rng-pci", []string{"ioeventfd", "off"}, 0, 0},
	} {
		r, p := rig(t, c.typeName, c.props...)
		r.Start(0, 1)
		equal(t, "in memory", virtiotest.EventFDs(r.Env.Mem), c.mem)
		equal(t, "at ports", virtiotest.EventFDs(r.Env.IO), c.io)
		p.SetCfg(pci.RegCommand, 2, 0)
		equal(t, "while the BARs are off", virtiotest.EventFDs(r.Env.Mem)+virtiotest.EventFDs(r.Env.IO), 0)
		p.MapBARs()
		r.SetStatus(0)
		equal(t, "after a reset", virtiotest.EventFDs(r.Env.Mem)+virtiotest.EventFDs(r.Env.IO), 0)
	}
}

func TestBusMasterOff(t *testing.T) {
	r, p := rig(t, "virtio-rng-pci")
	ring := r.Start(0, 1)[0]
	ring.Add(virtiotest.In(virtiotest.DataBase, 8))
	p.SetCfg(pci.RegCommand, 2, pci.CommandIO|pci.CommandMemory)
	r.Kick(0)
	equal(t, "elements used", len(ring.Take()), 0)
	p.MapBARs()
	ring = r.Start(0, 1)[0]
	ring.Add(virtiotest.In(virtiotest.DataBase, 8))
	r.Kick(0)
	equal(t, "elements used", len(ring.Take()), 1)
}

func TestRefusals(t *testing.T) {
	m := devtest.New(t)
	bus := virtiotest.NewPCIBus(m)
	for _, c := range []struct {
		props []string
		want  string
	}{
		{[]string{"disable-legacy", "on", "disable-modern", "on"}, "neither modern nor legacy"},
		{[]string{"iommu_platform", "on"}, "VIRTIO_F_IOMMU_PLATFORM"},
		{[]string{"rng", "nobody"}, "Device 'nobody' not found"},
		{[]string{"vectors", "5000"}, "5000 MSI-X vectors"},
	} {
		if _, err := m.TryPlug(bus.Dev, "virtio-rng-pci", "", c.props...); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v: %v", c.props, err)
		}
	}
	if n := len(m.Devices()); n != 0 {
		t.Errorf("%d devices are left behind", n)
	}
	m.Plug(bus.Dev, "virtio-rng-pci", "", "iommu_platform", "on", "disable-legacy", "on")
}

// The inner device's properties are the function's.
func TestProperties(t *testing.T) {
	d, err := device.Create("virtio-rng-pci", "x")
	if err != nil {
		t.Fatal(err)
	}
	if err := object.SetText(d, "max-bytes", "1024"); err != nil {
		t.Fatal(err)
	}
	for _, o := range []object.Object{d, d.(*pcitransport.Device).Inner()} {
		if v, err := object.Get(o, "max-bytes"); err != nil || v != uint64(1024) {
			t.Errorf("max-bytes = %v, %v", v, err)
		}
		if v, err := object.Get(o, "event_idx"); err != nil || v != true {
			t.Errorf("event_idx = %v, %v", v, err)
		}
	}
	names := map[string]bool{}
	for _, p := range d.Dev().Properties() {
		names[p.Name] = true
	}
	for _, want := range []string{"addr", "vectors", "ioeventfd", "disable-legacy", "disable-modern", "page-per-vq",
		"modern-pio-notify", "max-bytes", "period", "rng", "indirect_desc", "event_idx", "iommu_platform", "packed"} {
		if !names[want] {
			t.Errorf("property %s is missing", want)
		}
	}
	if o, _ := d.Dev().Resolve("virtio-backend"); o == nil {
		t.Error("there is no child virtio-backend")
	}
	if object.Lookup("virtio-rng-pci-transitional") == nil {
		t.Error("there is no transitional type")
	}
}

func TestStateRoundTrip(t *testing.T) {
	for _, typeName := range []string{"virtio-rng-pci", "virtio-rng-pci-non-transitional"} {
		var ring *virtiotest.Ring
		from, to := devtest.RoundTrip(t, func(m *devtest.Machine) { virtiotest.PCIOn(m, typeName) },
			func(m *devtest.Machine) {
				r := virtiotest.RigOf(m)
				p := r.Driver.(*virtiotest.PCI)
				r.Negotiate(1<<28 | 1<<29)
				ring = r.Queue(0, 8)
				p.EnableMSIX(2)
				p.SetVectors(0, 0, 1)
				r.Go()
				ring.Add(virtiotest.In(virtiotest.DataBase, 8))
				r.Kick(0)
				ring.Take()
			})
		to.WriteMem(0, from.ReadMem(0, devtest.RAMSize))
		r := virtiotest.RigOf(to)
		ring.Space = to.Env.Mem
		ring.SetUsedEvent(1)
		ring.Add(virtiotest.In(virtiotest.DataBase, 8))
		r.Kick(0)
		equal(t, "elements used", len(ring.Take()), 1)
		if sent := to.MSI.Sent(); len(sent) != 1 || sent[0].Data != 0x41 {
			t.Errorf("sent %v", sent)
		}
	}
}

func TestUnplug(t *testing.T) {
	m := devtest.New(t)
	r := virtiotest.PCIOn(m, "virtio-rng-pci")
	r.Start(0, 1)
	d := r.Outer
	m.Unplug(d)
	if v := r.Driver.(*virtiotest.PCI).Cfg(0, 4); v != 0xffffffff {
		t.Errorf("configuration space still answers: %#x", v)
	}
	if v := m.Read32(virtiotest.PCIModern); v != 0xffffffff {
		t.Errorf("the BAR still answers: %#x", v)
	}
}

// ranges are all that a guest reaches of a function.
var ranges = []devtest.Range{
	devtest.Ports(cfgPort, 256), devtest.Ports(virtiotest.PCILegacy, 32), devtest.MMIO(virtiotest.PCIMSIX, 64),
	devtest.MMIO(virtiotest.PCIModern, 0x40), devtest.MMIO(virtiotest.PCIModern, 0x4000),
}

func fuzz(f *testing.F, typeName string) {
	devtest.FuzzIO(f, func(m *devtest.Machine) { showConfig(virtiotest.PCIOn(m, typeName)) }, ranges...)
}

func FuzzTransitional(f *testing.F) { fuzz(f, "virtio-rng-pci") }

func FuzzState(f *testing.F) {
	devtest.FuzzState(f, func(m *devtest.Machine) {
		r := virtiotest.PCIOn(m, "virtio-rng-pci")
		virtiotest.Prefill(r.Start(1<<28|1<<29, 1))
		r.Driver.(*virtiotest.PCI).EnableMSIX(2)
		showConfig(r)
	}, ranges...)
}

func FuzzSerial(f *testing.F) { fuzz(f, "virtio-serial-pci-non-transitional") }

func TestConcurrent(t *testing.T) {
	for _, typeName := range []string{"virtio-rng-pci", "virtio-serial-pci-non-transitional"} {
		devtest.Concurrent(t, func(m *devtest.Machine) {
			r := virtiotest.PCIOn(m, typeName)
			virtiotest.Prefill(r.Start(1<<28|1<<29, 1))
			showConfig(r)
		}, append(ranges, virtiotest.HostileRanges(1)...)...)
	}
}
