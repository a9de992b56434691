package pci

import (
	"fmt"
	"sync/atomic"

	"govmd/internal/device"
	"govmd/internal/memory"
)

// Bus is the controller of a PCI bus.
type Bus struct {
	mem, io *memory.Region
	parent  *Device // the bridge, or nil for a root bus
	root    *root   // of root buses

	funcs [slots * functions]*Device                // whose place it is; control lane
	live  [slots * functions]atomic.Pointer[Device] // what the guest sees
}

// root is what only a root bus has.
type root struct {
	pins   [4]*device.Pin
	swap   func(slot, pin int) int
	router atomic.Pointer[func(pin int, high bool)]
	ports  *ConfigPorts
}

// RootConfig says what a host bridge gives its bus.
type RootConfig struct {
	Name string // for messages, such as "pci.0"
	// Mem and IO are where BARs are mapped: containers that begin at bus address 0.
	Mem, IO *memory.Region
	// MapINTx says which of the bus's four interrupt pins a pin (0 to 3) of the
	// function in a slot drives. Nil means Swizzle.
	MapINTx func(slot, pin int) int
	// Ports are mechanism 1's, if the host bridge has them; see Bus.ConfigPorts.
	Ports *ConfigPorts
}

// NewRoot returns a root bus. Host bridges make one and hand it to Base.NewBus.
func NewRoot(cfg RootConfig) *Bus {
	b := &Bus{mem: cfg.Mem, io: cfg.IO, root: &root{swap: cfg.MapINTx, ports: cfg.Ports}}
	if b.root.swap == nil {
		b.root.swap = Swizzle
	}
	for i := range b.root.pins {
		b.root.pins[i] = device.NewPin(fmt.Sprintf("%s PIRQ%c", cfg.Name, 'A'+i), func(high bool) {
			if fn := b.root.router.Load(); fn != nil {
				(*fn)(i, high)
			}
		})
	}
	if cfg.Ports != nil {
		cfg.Ports.bus = b
	}
	return b
}

// NewSecondary returns the bus behind a bridge, whose windows are the given
// containers. Its numbers are those in the bridge's configuration space.
func NewSecondary(bridge *Device, mem, io *memory.Region) *Bus {
	b := &Bus{mem: mem, io: io, parent: bridge}
	bridge.secondary = b
	return b
}

// Of returns the PCI bus that d is plugged into.
func Of(d device.Device) *Bus { return d.Dev().Bus().Controller().(*Bus) }

// Mem returns the container in which memory BARs are mapped.
func (b *Bus) Mem() *memory.Region { return b.mem }

// IO returns the container in which I/O BARs are mapped.
func (b *Bus) IO() *memory.Region { return b.io }

// Parent returns the bridge that the bus is behind, or nil for a root bus.
func (b *Bus) Parent() *Device { return b.parent }

// Root returns the root bus that b is, or is behind.
func (b *Bus) Root() *Bus {
	for b.parent != nil && b.parent.bus != nil {
		b = b.parent.bus
	}
	return b
}

// Number returns the bus's number: 0, or what the guest has given it.
func (b *Bus) Number() int {
	if b.parent == nil {
		return 0
	}
	return int(b.parent.config.U8(RegSecondaryBus))
}

// INTxPins returns a root bus's four interrupt pins, nil for other buses.
func (b *Bus) INTxPins() []*device.Pin {
	if b.root == nil {
		return nil
	}
	return b.root.pins[:]
}

// RouteINTx has fn told of every change of a root bus's interrupt pins, with
// the pin locked; a nil fn ends that. fn is told at once of pins that are high.
// It runs on the control lane while the machine does not run.
func (b *Bus) RouteINTx(fn func(pin int, high bool)) {
	if fn == nil {
		b.root.router.Store(nil)
		return
	}
	b.root.router.Store(&fn)
	for i, p := range b.root.pins {
		if p.Level() {
			fn(i, true)
		}
	}
}

// ConfigPorts returns mechanism 1's ports, or nil where the host bridge has none.
func (b *Bus) ConfigPorts() *ConfigPorts {
	if r := b.Root(); r.root != nil {
		return r.root.ports
	}
	return nil
}

func (b *Bus) intxPin(slot, pin int) *device.Pin {
	for b.parent != nil {
		pin = Swizzle(slot, pin)
		slot = b.parent.Slot()
		if b.parent.bus == nil {
			return nil
		}
		b = b.parent.bus
	}
	return b.root.pins[b.root.swap(slot, pin)&3]
}

// At returns the function in that place, or nil. It is called on the control lane.
func (b *Bus) At(slot, fn int) Function {
	d := b.funcs[slot<<3|fn]
	if d == nil {
		return nil
	}
	return d.self
}

// Attach implements device.Controller: it gives the function its place.
func (b *Bus) Attach(dev device.Device) error {
	f, ok := dev.(Function)
	if !ok {
		return fmt.Errorf("Device '%s' can't go on %s bus", dev.Dev().TypeName(), BusKind)
	}
	d := f.PCI()
	devfn, err := b.place(d)
	if err != nil {
		return err
	}
	d.devfn = int32(devfn)
	b.funcs[devfn] = d
	d.bus, d.self = b, f
	d.reader, _ = dev.(ConfigReader)
	d.writer, _ = dev.(ConfigWriter)
	d.reload, _ = dev.(ConfigReloader)
	d.dma = d.Env().Mem.NewDMA(d.Describe())
	d.dma.SetEnabled(false)
	return nil
}

func (b *Bus) place(d *Device) (int, error) {
	devfn := int(d.devfn)
	if devfn < 0 {
		for devfn = 0; devfn < len(b.funcs); devfn += functions {
			if b.funcs[devfn] == nil {
				return devfn, b.checkFunctions(d, devfn)
			}
		}
		return 0, fmt.Errorf("PCI: no slot/function available for %s, all in use or reserved", d.TypeName())
	}
	if x := b.funcs[devfn]; x != nil {
		id := x.ID()
		if id == "" {
			id = "(null)"
		}
		return 0, fmt.Errorf("PCI: slot %d function %d not available for %s, in use by %s,id=%s",
			devfn>>3, devfn&7, d.TypeName(), x.TypeName(), id)
	}
	if f0 := b.funcs[devfn&^7]; f0 != nil && f0.Realized() && d.Env().Run != nil && d.Env().Run.Running() {
		// A guest looks for the other functions only when it finds the first.
		return 0, fmt.Errorf("PCI: slot %d function 0 already occupied by %s, new func %s cannot be exposed to guest.",
			devfn>>3, f0.TypeName(), d.TypeName())
	}
	return devfn, b.checkFunctions(d, devfn)
}

// checkFunctions makes sure that function 0 of a slot with several says so.
func (b *Bus) checkFunctions(d *Device, devfn int) error {
	slot, fn := devfn>>3, devfn&7
	if fn != 0 {
		if f0 := b.funcs[slot<<3]; f0 != nil && !f0.multifunction {
			return fmt.Errorf("PCI: single function device can't be populated in function %x.%x", slot, fn)
		}
		return nil
	}
	if d.multifunction {
		return nil
	}
	for fn = 1; fn < functions; fn++ {
		if b.funcs[slot<<3|fn] != nil {
			return fmt.Errorf("PCI: %x.0 indicates single function, but %x.%x is already populated.", slot, slot, fn)
		}
	}
	return nil
}

// Detach implements device.Controller.
func (b *Bus) Detach(dev device.Device) {
	d := dev.(Function).PCI()
	d.vanish()
	b.funcs[d.devfn] = nil
	d.bus = nil
}

// DevicePlugged implements device.Plugged: from now on the guest sees the function.
func (b *Bus) DevicePlugged(dev device.Device) {
	d := dev.(Function).PCI()
	d.plugged()
	b.live[d.devfn].Store(d)
}

// DMAFor implements device.DMAProvider.
func (b *Bus) DMAFor(base *device.Base) *memory.DMA {
	if f, ok := base.Object().(Function); ok && f.PCI().dma != nil {
		return f.PCI().dma
	}
	return base.Env().Mem.NewDMA(base.Describe())
}

func (b *Bus) hide(d *Device) { b.live[d.devfn].CompareAndSwap(d, nil) }

// function finds a function by bus number and place.
func (b *Bus) function(bus, devfn uint8) *Device {
	for depth := 0; depth < 256; depth++ {
		if int(bus) == b.Number() {
			return b.live[devfn].Load()
		}
		next := b.towards(bus)
		if next == nil {
			return nil
		}
		b = next
	}
	return nil
}

// towards returns the bus behind the bridge that forwards accesses to a bus number.
func (b *Bus) towards(bus uint8) *Bus {
	for i := range b.live {
		d := b.live[i].Load()
		if d == nil || d.secondary == nil {
			continue
		}
		first, last := d.config.U8(RegSecondaryBus), d.config.U8(RegSubordinateBus)
		if first != 0 && first <= bus && bus <= last {
			return d.secondary
		}
	}
	return nil
}

// ReadConfig reads from the function with that bus number and place; where
// there is none it reads as all ones. size is 1, 2 or 4.
func (b *Bus) ReadConfig(bus, devfn uint8, off, size int) uint32 {
	if d := b.function(bus, devfn); d != nil {
		return d.ConfigRead(off, size)
	}
	return ones(size)
}

// WriteConfig writes to the function with that bus number and place.
func (b *Bus) WriteConfig(bus, devfn uint8, off, size int, v uint32) {
	if d := b.function(bus, devfn); d != nil {
		d.ConfigWrite(off, size, v)
	}
}
