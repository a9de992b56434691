// Package piix is the Intel PIIX3 and PIIX4 south bridges, as machine "pc" has
// them: the ISA bridge of the one and the power-management function of the other.
// Section numbers are those of the data sheets (Intel 290550 and 290562).
package piix

import (
	"sync"

	"govmd/internal/device"
	"govmd/internal/device/isa"
	"govmd/internal/device/pci"
	"govmd/internal/object"
	"govmd/internal/runstate"
	"govmd/internal/state"
)

const (
	regPIRQ      = 0x60 // to 0x63: where PIRQA to PIRQD go
	pirqDisabled = 0x80
	pirqMask     = 0x8f

	pirqs = 4
	irqs  = 16
)

// PIIX3 is the device "PIIX3", the PCI-to-ISA bridge 8086:7000. The board
// creates it, sets IRQs, gives it its place (01.0) and plugs it into the root bus:
//
//	d, _ := device.Create("PIIX3", "")
//	isaBridge := d.(*piix.PIIX3)
//	isaBridge.IRQs = gsi0to15
//	isaBridge.SetAddr(1, 0)
//	device.Plug(env, host.Bus(), isaBridge)
//
// Then ISA is the bus "isa.0". The bridge routes the root bus's interrupt pins
// to IRQs as the guest programs it; the board programs it (PIRQ) when there is no
// firmware to do that.
type PIIX3 struct {
	pci.Device

	// IRQs are the inputs of the interrupt controllers, by ISA interrupt number.
	// Those that are nil are not connected.
	IRQs [irqs]*device.Pin

	isa   *device.Bus
	lines [pirqs][irqs]*device.Line

	mu    sync.Mutex // guards what follows
	high  [pirqs]bool
	route [pirqs]int // ISA interrupt, or -1
	reset uint8      // reset control register
}

// ISA returns the bus "isa.0", once the bridge is realized.
func (p *PIIX3) ISA() *device.Bus { return p.isa }

// ISAIRQ returns the input of the interrupt controllers for an ISA interrupt, nil
// when it is not connected.
func (p *PIIX3) ISAIRQ(n int) *device.Pin { return p.IRQs[n] }

// Realize implements device.Device.
func (p *PIIX3) Realize() error {
	p.SetMultifunction(true)
	if err := p.Setup(pci.Identity{Vendor: pci.VendorIntel, Device: 0x7000, Class: 0x060100}); err != nil {
		return err
	}
	p.registers()
	bus := p.PCIBus()
	p.isa = p.NewBus(isa.BusKind, "isa.0", isa.New(bus.IO(), bus.Mem(), p.IRQs))
	for i := range p.lines {
		p.route[i] = -1
		for n, pin := range p.IRQs {
			if pin != nil {
				p.lines[i][n] = pin.Connect("PIRQ" + string(rune('A'+i)))
			}
		}
	}
	bus.RouteINTx(p.pirq)
	p.Defer(func() {
		bus.RouteINTx(nil)
		for i := range p.lines {
			for _, l := range p.lines[i] {
				l.Disconnect()
			}
		}
	})
	if ports := bus.ConfigPorts(); ports != nil {
		ports.SetResetControl((*resetControl)(p))
		p.Defer(func() { ports.SetResetControl(nil) })
	}
	return nil
}

// registers gives configuration space the reset values of section 2.2 and lets
// the guest write what is plain storage here.
func (p *PIIX3) registers() {
	c := p.Config()
	const specialCycles = 1 << 3
	c.SetU16(pci.RegCommand, pci.CommandIO|pci.CommandMemory|pci.CommandMaster|specialCycles)
	c.Update(pci.RegStatus, 0, pci.StatusDevselMedium)
	for _, r := range []struct {
		off   int
		value uint8
	}{
		{0x4c, 0x4d}, {0x4e, 0x03}, {0x4f, 0x00}, {0x69, 0x02}, {0x6a, 0x00}, {0x70, 0x80}, {0x71, 0x00},
		{0x76, 0x0c}, {0x77, 0x0c}, {0x78, 0x02}, {0x79, 0x00}, {0x80, 0x00}, {0x82, 0x00},
		{0xa0, 0x08}, {0xa2, 0x00}, {0xa3, 0x00}, {0xa4, 0x00}, {0xa5, 0x00}, {0xa6, 0x00}, {0xa7, 0x00},
		{0xa8, 0x0f}, {0xaa, 0x00}, {0xab, 0x00}, {0xac, 0x00}, {0xae, 0x00},
	} {
		c.SetU8(r.off, r.value)
		c.Writable(r.off, 1, 0xff)
	}
	for i := range pirqs {
		c.SetU8(regPIRQ+i, pirqDisabled)
		c.Writable(regPIRQ+i, 1, pirqMask)
	}
}

// pirq follows the root bus's interrupt pins. The pin is locked.
func (p *PIIX3) pirq(pin int, high bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.high[pin] = high
	if n := p.route[pin]; n >= 0 {
		p.lines[pin][n].SetLevel(high)
	}
}

// reroute follows the routing registers.
func (p *PIIX3) reroute() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i := range p.route {
		n := -1
		if v := p.Config().U8(regPIRQ + i); v&pirqDisabled == 0 {
			n = int(v & (irqs - 1))
		}
		if old := p.route[i]; old != n {
			if old >= 0 {
				p.lines[i][old].SetLevel(false)
			}
			p.route[i] = n
			if n >= 0 {
				p.lines[i][n].SetLevel(p.high[i])
			}
		}
	}
}

// PIRQ returns the ISA interrupt that PIRQ i (0 for A, to 3) is routed to, or -1.
func (p *PIIX3) PIRQ(i int) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.route[i]
}

// RoutePIRQs writes the routing registers, as firmware does.
func (p *PIIX3) RoutePIRQs(irqs [pirqs]uint8) {
	for i, n := range irqs {
		p.ConfigWrite(regPIRQ+i, 1, uint32(n))
	}
}

// ConfigWritten implements pci.ConfigWriter.
func (p *PIIX3) ConfigWritten(off, size int) {
	if off < regPIRQ+pirqs && off+size > regPIRQ {
		p.reroute()
	}
}

// ConfigReloaded implements pci.ConfigReloader.
func (p *PIIX3) ConfigReloaded() { p.reroute() }

// ResetEnter implements device.ResetEnterer.
func (p *PIIX3) ResetEnter() {
	p.Device.ResetEnter()
	p.mu.Lock()
	p.reset = 0
	p.mu.Unlock()
}

// resetControl is the register at port 0xcf9 (section 2.5.5.5).
type resetControl PIIX3

const (
	resetHard = 1 << 1
	resetNow  = 1 << 2
)

func (r *resetControl) ReadIO(uint64, int) uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return uint64(r.reset)
}

func (r *resetControl) WriteIO(_ uint64, _ int, v uint64) {
	r.mu.Lock()
	r.reset = uint8(v) & resetHard
	r.mu.Unlock()
	if v&resetNow != 0 {
		r.Env().Run.RequestReset(runstate.CauseGuestReset)
	}
}

type savedPIIX3 struct {
	Reset uint8 `cbor:"reset-control"`
}

// States implements device.Stater.
func (p *PIIX3) States() []state.Entry {
	return []state.Entry{state.Of("", 1,
		func() savedPIIX3 {
			p.mu.Lock()
			defer p.mu.Unlock()
			return savedPIIX3{p.reset}
		},
		func(s *savedPIIX3) error {
			p.mu.Lock()
			defer p.mu.Unlock()
			p.reset = s.Reset & resetHard
			return nil
		})}
}

func init() {
	pci.Register(object.Type{
		Name: "PIIX3", Description: "PCI-to-ISA bridge",
		New: func() object.Object { return &PIIX3{} },
	})
}
