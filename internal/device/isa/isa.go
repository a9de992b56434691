// Package isa is the ISA bus: fixed ports, fixed addresses below 16 MiB, and
// sixteen edge-triggered interrupt inputs.
package isa

import (
	"fmt"

	"govmd/internal/device"
	"govmd/internal/memory"
)

// BusKind is what ISA devices plug into.
const BusKind = "ISA"

func init() { device.RegisterBus(BusKind) }

// Bus is the controller of an ISA bus.
type Bus struct {
	irqs [16]*device.Pin
	io   *memory.Region
	mem  *memory.Region
}

// New returns an ISA bus whose devices' ports and memory are mapped in the
// given regions and whose interrupts drive irqs; a nil pin is not connected.
func New(io, mem *memory.Region, irqs [16]*device.Pin) *Bus {
	return &Bus{irqs: irqs, io: io, mem: mem}
}

// Attach implements device.Controller.
func (b *Bus) Attach(device.Device) error { return nil }

// Detach implements device.Controller.
func (b *Bus) Detach(device.Device) {}

// Of returns the ISA bus that d is plugged into: device.Plug lets no device of an
// ISA type be realized elsewhere.
func Of(d device.Device) *Bus { return d.Dev().Bus().Controller().(*Bus) }

// IRQ returns a line of d's that drives interrupt n (0 to 15). It is taken back
// when the device goes.
func (b *Bus) IRQ(d device.Device, n int) (*device.Line, error) {
	if n < 0 || n >= len(b.irqs) {
		return nil, fmt.Errorf("%s: interrupt %d is not an ISA interrupt (0 to 15)", d.Dev().Describe(), n)
	}
	return d.Dev().NewOutput(b.irqs[n], d.Dev().Describe()), nil
}

// MapIO maps a device's ports at a fixed address until the device goes.
func (b *Bus) MapIO(d device.Device, port uint16, r *memory.Region) error {
	return d.Dev().Map(b.io, uint64(port), r)
}

// MapMem maps a device's memory at a fixed address until the device goes.
func (b *Bus) MapMem(d device.Device, addr uint64, r *memory.Region) error {
	return d.Dev().Map(b.mem, addr, r)
}
