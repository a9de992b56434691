package virtiotest

import (
	"sync"
	"testing"

	"govmd/internal/device"
	"govmd/internal/device/devtest"
	"govmd/internal/device/pci"
	"govmd/internal/device/virtio"
	"govmd/internal/device/virtio/pcitransport"
)

// Where a rig's PCI function has its BARs.
const (
	PCILegacy = 0xc000
	PCIPIO    = 0xc100
	PCIMSIX   = 0xfe000000
	PCIModern = 0xfd000000
	pciSlot   = 3
)

// PCIBus is a root bus for tests, whose interrupt pins are recorded.
type PCIBus struct {
	*pci.Bus
	Dev *device.Bus

	mu   sync.Mutex
	pins [4]bool
}

// Pin reports the level of an interrupt pin, 0 to 3.
func (b *PCIBus) Pin(n int) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.pins[n]
}

// NewPCIBus adds a root bus to a machine.
func NewPCIBus(m *devtest.Machine) *PCIBus {
	m.TB.Helper()
	b := &PCIBus{}
	m.Do(func() {
		mem := m.Env.Memory.NewContainer("pci", 0)
		if err := m.Env.Mem.Root().AddOverlap(0, mem, -1); err != nil {
			m.TB.Fatal(err)
		}
		b.Bus = pci.NewRoot(pci.RootConfig{Name: "pci.0", Mem: mem, IO: m.Env.IO.Root()})
		b.Dev = device.NewRootBus(pci.BusKind, "pci.0", b.Bus)
		b.RouteINTx(func(pin int, high bool) {
			b.mu.Lock()
			defer b.mu.Unlock()
			b.pins[pin] = high
		})
	})
	return b
}

// NewPCI returns a rig with a function of the given PCI type, such as
// "virtio-rng-pci", whose BARs are mapped.
func NewPCI(tb testing.TB, typeName string, props ...string) *Rig {
	tb.Helper()
	return PCIOn(devtest.New(tb), typeName, props...)
}

// PCIOn is NewPCI on a machine that exists.
func PCIOn(m *devtest.Machine, typeName string, props ...string) *Rig {
	m.TB.Helper()
	bus := NewPCIBus(m)
	d := m.Plug(bus.Dev, typeName, "dev0", append([]string{"addr", "3"}, props...)...).(*pcitransport.Device)
	m.TB.Cleanup(func() { m.Unplug(d) }) // the device's thread ends
	r := rigForPCI(m, d)
	r.Driver.(*PCI).MapBARs()
	return r
}

func rigForPCI(m *devtest.Machine, d *pcitransport.Device) *Rig {
	p := &PCI{M: m, Bus: d.PCIBus(), Dev: d}
	p.find()
	return &Rig{Machine: m, Core: d.Inner().Virtio(), Outer: d, Driver: p}
}

// PCI drives virtio-pci.
type PCI struct {
	M      *devtest.Machine
	Bus    *pci.Bus
	Dev    *pcitransport.Device
	Legacy bool // use the legacy ports though there is a modern interface

	// Places of the capabilities, by their types; 0 for those that are not there.
	Caps [6]int

	common, isr, config, notify uint64
	stride                      uint64
}

// Cfg reads configuration space.
func (d *PCI) Cfg(off, size int) uint32 { return d.Bus.ReadConfig(0, pciSlot<<3, off, size) }

// SetCfg writes configuration space.
func (d *PCI) SetCfg(off, size int, v uint32) { d.Bus.WriteConfig(0, pciSlot<<3, off, size, v) }

// find reads the capabilities.
func (d *PCI) find() {
	d.Caps = [6]int{}
	for off := int(d.Cfg(pci.RegCapabilities, 1)); off != 0; off = int(d.Cfg(off+1, 1)) {
		if d.Cfg(off, 1) != pci.CapVendor {
			continue
		}
		typ := int(d.Cfg(off+3, 1))
		if d.Cfg(off+4, 1) != 4 && typ != 5 {
			continue // notification by a port
		}
		d.Caps[typ] = off
	}
	at := func(typ int) uint64 { return PCIModern + uint64(d.Cfg(d.Caps[typ]+8, 4)) }
	if d.Caps[1] == 0 {
		d.Legacy = true
		return
	}
	d.common, d.notify, d.isr, d.config = at(1), at(2), at(3), at(4)
	d.stride = uint64(d.Cfg(d.Caps[2]+16, 4))
}

// MapBARs programs the BARs and lets the function answer and access memory.
func (d *PCI) MapBARs() {
	d.SetCfg(0x10, 4, PCILegacy)
	d.SetCfg(0x14, 4, PCIMSIX)
	d.SetCfg(0x18, 4, PCIPIO)
	d.SetCfg(0x20, 4, PCIModern)
	d.SetCfg(0x24, 4, 0)
	d.SetCfg(pci.RegCommand, 2, pci.CommandIO|pci.CommandMemory|pci.CommandMaster)
}

// EnableMSIX enables MSI-X, with message n of data 0x40+n, and gives the
// configuration vector 0 and each queue its own.
func (d *PCI) EnableMSIX(vectors int) {
	for i := range vectors {
		at := uint64(PCIMSIX + 16*i)
		d.M.Write64(at, 0xfee00000)
		d.M.Write32(at+8, 0x40+uint32(i))
		d.M.Write32(at+12, 0)
	}
	off := d.Dev.FindCapability(pci.CapMSIX)
	d.SetCfg(off+2, 2, 1<<15)
}

// SetVectors gives the configuration and a queue their vectors, and returns what
// the device took.
func (d *PCI) SetVectors(config uint16, queue int, v uint16) (gotConfig, gotQueue uint16) {
	if d.Legacy {
		d.M.Out16(PCILegacy+0x14, config)
		d.M.Out16(PCILegacy+0x0e, uint16(queue))
		d.M.Out16(PCILegacy+0x16, v)
		return d.M.In16(PCILegacy + 0x14), d.M.In16(PCILegacy + 0x16)
	}
	d.M.Write16(d.common+0x10, config)
	d.M.Write16(d.common+0x16, uint16(queue))
	d.M.Write16(d.common+0x1a, v)
	return d.M.Read16(d.common + 0x10), d.M.Read16(d.common + 0x1a)
}

// Modern implements Driver.
func (d *PCI) Modern() bool { return !d.Legacy }

// DeviceID implements Driver.
func (d *PCI) DeviceID() uint32 {
	id := d.Cfg(pci.RegDevice, 2)
	if id < 0x1040 {
		return d.Cfg(pci.RegSubsystem, 2)
	}
	return id - 0x1040
}

// Status implements Driver.
func (d *PCI) Status() uint8 {
	if d.Legacy {
		return d.M.In8(PCILegacy + 0x12)
	}
	return d.M.Read8(d.common + 0x14)
}

// SetStatus implements Driver.
func (d *PCI) SetStatus(v uint8) {
	if d.Legacy {
		d.M.Out8(PCILegacy+0x12, v)
		return
	}
	d.M.Write8(d.common+0x14, v)
}

// Offered implements Driver.
func (d *PCI) Offered() uint64 {
	if d.Legacy {
		return uint64(d.M.In32(PCILegacy))
	}
	d.M.Write32(d.common, 1)
	hi := d.M.Read32(d.common + 4)
	d.M.Write32(d.common, 0)
	return uint64(hi)<<32 | uint64(d.M.Read32(d.common+4))
}

// Accept implements Driver.
func (d *PCI) Accept(f uint64) {
	if d.Legacy {
		d.M.Out32(PCILegacy+4, uint32(f))
		return
	}
	d.M.Write32(d.common+8, 1)
	d.M.Write32(d.common+12, uint32(f>>32))
	d.M.Write32(d.common+8, 0)
	d.M.Write32(d.common+12, uint32(f))
}

// QueueMax implements Driver.
func (d *PCI) QueueMax(n int) uint16 {
	if d.Legacy {
		d.M.Out16(PCILegacy+0x0e, uint16(n))
		return d.M.In16(PCILegacy + 0x0c)
	}
	d.M.Write16(d.common+0x16, uint16(n))
	return d.M.Read16(d.common + 0x18)
}

// Setup implements Driver. A legacy queue has the size that the device says.
func (d *PCI) Setup(n int, r *Ring) {
	if d.Legacy {
		*r = *NewRing(r.TB, r.Space, r.Desc, d.QueueMax(n))
		d.M.Out32(PCILegacy+8, uint32(r.Desc>>12))
		return
	}
	d.M.Write16(d.common+0x16, uint16(n))
	d.M.Write16(d.common+0x18, r.Size)
	for i, addr := range []uint64{r.Desc, r.Avail, r.Used} {
		d.M.Write64(d.common+0x20+8*uint64(i), addr)
	}
	d.M.Write16(d.common+0x1c, 1)
}

// Notify implements Driver.
func (d *PCI) Notify(n int) {
	if d.Legacy {
		d.M.Out16(PCILegacy+0x10, uint16(n))
		return
	}
	d.M.Write16(d.common+0x16, uint16(n))
	d.M.Write16(d.notify+d.stride*uint64(d.M.Read16(d.common+0x1e)), uint16(n))
}

// ISR implements Driver.
func (d *PCI) ISR() uint8 {
	if d.Legacy {
		return d.M.In8(PCILegacy + 0x13)
	}
	return d.M.Read8(d.isr)
}

func (d *PCI) legacyConfig() uint16 {
	if d.Dev.MSIXEnabled() {
		return PCILegacy + 0x18
	}
	return PCILegacy + 0x14
}

// ReadConfig implements Driver.
func (d *PCI) ReadConfig(off uint64, size int) uint64 {
	p := d.legacyConfig() + uint16(off)
	switch {
	case d.Legacy && size == 1:
		return uint64(d.M.In8(p))
	case d.Legacy && size == 2:
		return uint64(d.M.In16(p))
	case d.Legacy:
		return uint64(d.M.In32(p))
	case size == 1:
		return uint64(d.M.Read8(d.config + off))
	case size == 2:
		return uint64(d.M.Read16(d.config + off))
	case size == 8:
		return d.M.Read64(d.config + off)
	}
	return uint64(d.M.Read32(d.config + off))
}

// WriteConfig implements Driver.
func (d *PCI) WriteConfig(off uint64, size int, v uint64) {
	p := d.legacyConfig() + uint16(off)
	switch {
	case d.Legacy && size == 1:
		d.M.Out8(p, uint8(v))
	case d.Legacy && size == 2:
		d.M.Out16(p, uint16(v))
	case d.Legacy:
		d.M.Out32(p, uint32(v))
	case size == 1:
		d.M.Write8(d.config+off, uint8(v))
	case size == 2:
		d.M.Write16(d.config+off, uint16(v))
	case size == 8:
		d.M.Write64(d.config+off, v)
	default:
		d.M.Write32(d.config+off, uint32(v))
	}
}

var _ virtio.Transport = (*pcitransport.Device)(nil)
