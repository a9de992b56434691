package device

import (
	"fmt"

	"govmd/internal/memory"
	"govmd/internal/object"
)

// Bus is where devices plug in. What is special about a kind of bus is its Controller.
type Bus struct {
	kind    string
	name    string
	owner   *Base // nil for the main system bus
	ctl     Controller
	devices []Device
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

// Plugged is a controller that is told when a device is fully alive.
type Plugged interface {
	DevicePlugged(d Device)
}

// NewRootBus returns a bus that no device provides.
func NewRootBus(kind, name string, c Controller) *Bus {
	return &Bus{kind: kind, name: name, ctl: c}
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
func (b *Bus) Devices() []Device { return b.devices }

func (b *Bus) attach(d Device) error {
	t := d.Dev().Type()
	for t.Bus == "" {
		t = parentType(t)
		if t == nil {
			return fmt.Errorf("device '%s' does not plug into a bus", d.Dev().TypeName())
		}
	}
	if t.Bus != b.kind {
		return fmt.Errorf("Device '%s' can't go on %s bus", d.Dev().TypeName(), b.kind)
	}
	d.Dev().bus = b
	if err := b.ctl.Attach(d); err != nil {
		d.Dev().bus = nil
		return err
	}
	b.devices = append(b.devices, d)
	return nil
}

func (b *Bus) detach(d Device) {
	for i, x := range b.devices {
		if x == d {
			b.devices = append(b.devices[:i:i], b.devices[i+1:]...)
			b.ctl.Detach(d)
			break
		}
	}
	d.Dev().bus = nil
}

func parentType(t *object.Type) *object.Type { return object.Lookup(t.Parent) }
