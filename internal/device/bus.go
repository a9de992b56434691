package device

import (
	"fmt"
	"slices"
	"sync/atomic"

	"govmd/internal/memory"
	"govmd/internal/object"
)

// Bus is where devices plug in. What is special about a kind of bus is its
// Controller. In the object tree it is below the device that provides it.
type Bus struct {
	object.Node
	kind    string
	name    string
	owner   *Base // nil for the main system bus
	ctl     Controller
	devices atomic.Pointer[[]Device] // replaced, never changed: a reset walks it on any goroutine
}

// Controller is the part of a bus that knows its kind.
type Controller interface {
	// Attach gives the device its address, or says why it cannot be there. It
	// runs before the device is realized.
	Attach(d Device) error
	// Detach takes back what Attach gave, after the device is unrealized.
	Detach(d Device)
}

// DMAProvider is a controller that hands out DMA spaces.
type DMAProvider interface {
	DMAFor(b *Base) *memory.DMA
}

// Addresser is a controller that gives places to its devices. DeviceAddress
// returns that of one, in a form that is the same in every machine with these
// options ("03.0"): saved state goes by it.
type Addresser interface {
	DeviceAddress(d Device) string
}

// Plugged is a controller that is told when a device is fully alive.
type Plugged interface {
	DevicePlugged(d Device)
}

// NewRootBus returns a bus that no device provides.
func NewRootBus(kind, name string, c Controller) *Bus {
	return newBus(kind, name, nil, c)
}

func newBus(kind, name string, owner *Base, c Controller) *Bus {
	b := &Bus{kind: kind, name: name, owner: owner, ctl: c}
	object.Adopt(b, kind)
	return b
}

// RegisterBus makes a kind of bus known to clients as a type. It is called from
// init functions only.
func RegisterBus(kind string) {
	object.Register(object.Type{Name: kind, Parent: "bus", Description: "bus"})
}

// CountBuses returns how many buses of a kind the machine has.
func (e *Env) CountBuses(kind string) (n int) {
	object.Walk(e.Root, func(o object.Object) {
		if d, ok := o.(Device); ok {
			for _, bus := range d.Dev().ChildBuses() {
				if bus.Kind() == kind {
					n++
				}
			}
		}
	})
	return n
}

// ListProperties implements object.Properter: what is plugged in.
func (b *Bus) ListProperties() []object.Property {
	list := []object.Property{object.Getter("realized", "bool", func(*Bus) any { return true }, "")}
	for i, d := range b.Devices() {
		list = append(list, object.Getter(fmt.Sprintf("child[%d]", i), "link<"+d.Dev().TypeName()+">",
			func(*Bus) any { return d.Dev().Path() }, ""))
	}
	return list
}

// Kind returns what plugs in here, such as "PCI".
func (b *Bus) Kind() string { return b.kind }

// Name returns the bus's name, such as "pci.0".
func (b *Bus) Name() string { return b.name }

// Owner returns the device that provides the bus, or nil.
func (b *Bus) Owner() Device {
	if b.owner == nil {
		return nil
	}
	d, _ := b.owner.Object().(Device)
	return d
}

// Controller returns the part that knows the kind of bus.
func (b *Bus) Controller() Controller { return b.ctl }

// Devices returns what is plugged in, in order of arrival. The caller must not change it.
// It may be called from any goroutine; devices that are on their way in or out
// are among them (Base.Realized tells).
func (b *Bus) Devices() []Device {
	if p := b.devices.Load(); p != nil {
		return *p
	}
	return nil
}

// BusKind returns what kind of bus a type plugs into, "" for none: its own, or
// the nearest ancestor's.
func BusKind(t *object.Type) string {
	for ; t != nil; t = object.Lookup(t.Parent) {
		if t.Bus != "" {
			return t.Bus
		}
	}
	return ""
}

func (b *Bus) attach(d Device) error {
	switch kind := BusKind(d.Dev().Type()); kind {
	case b.kind:
	case "":
		return fmt.Errorf("device '%s' does not plug into a bus", d.Dev().TypeName())
	default:
		return fmt.Errorf("Device '%s' can't go on %s bus", d.Dev().TypeName(), b.kind)
	}
	d.Dev().bus = b
	if err := b.ctl.Attach(d); err != nil {
		d.Dev().bus = nil
		return err
	}
	list := append(slices.Clone(b.Devices()), d)
	b.devices.Store(&list)
	return nil
}

func (b *Bus) detach(d Device) {
	list := slices.Clone(b.Devices())
	if i := slices.Index(list, d); i >= 0 {
		list = slices.Delete(list, i, i+1)
		b.devices.Store(&list)
		b.ctl.Detach(d)
	}
	d.Dev().bus = nil
}
