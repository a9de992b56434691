package serial

import (
	"errors"
	"fmt"

	"govmd/internal/device"
	"govmd/internal/device/isa"
	"govmd/internal/memory"
	"govmd/internal/object"
)

// ISAType is the type name of the PC's serial port.
const ISAType = "isa-serial"

// unset is the default of properties that follow from the index.
const unset = ^uint32(0)

// ports are the usual places of COM1 to COM4.
var ports = [4]struct{ iobase, irq uint32 }{{0x3f8, 4}, {0x2f8, 3}, {0x3e8, 4}, {0x2e8, 3}}

// ISA is a serial port of a PC.
type ISA struct {
	device.Base
	UART

	index, iobase, irq uint32
	baudBase           uint32
	chardev            string
	wakeup             bool
}

func init() {
	device.Register(object.Type{
		Name: ISAType, Bus: isa.BusKind, UserCreatable: true,
		Description: "16550A serial port",
		New:         func() object.Object { return &ISA{} },
		Props: []object.Property{
			object.Int("index", func(d *ISA) *uint32 { return &d.index }, unset, "which of COM1 (0) to COM4 (3); the next one by default"),
			object.Int("iobase", func(d *ISA) *uint32 { return &d.iobase }, unset, "first port"),
			object.Int("irq", func(d *ISA) *uint32 { return &d.irq }, unset, "ISA interrupt"),
			object.Link("chardev", "str", func(d *ISA) *string { return &d.chardev }, "ID of a chardev to use as a backend"),
			object.Int("baudbase", func(d *ISA) *uint32 { return &d.baudBase }, 115200, "bits a second at divisor 1"),
			object.Bool("wakeup", func(d *ISA) *bool { return &d.wakeup }, false, "input wakes the machine"),
		},
	})
}

// Index returns which of COM1 (0) to COM4 (3) this is.
func (d *ISA) Index() int { return int(d.index) }

// IOBase returns the first of the eight ports.
func (d *ISA) IOBase() uint16 { return uint16(d.iobase) }

// IRQ returns the ISA interrupt.
func (d *ISA) IRQ() int { return int(d.irq) }

// Realize implements device.Device.
func (d *ISA) Realize() error {
	if d.index == unset {
		d.index = 0
		for _, o := range d.Bus().Devices() {
			if s, ok := o.(*ISA); ok && s != d {
				d.index++
			}
		}
	}
	if int64(d.index) >= int64(len(ports)) {
		return fmt.Errorf("Max. supported number of ISA serial ports is %d.", len(ports))
	}
	if d.iobase == unset {
		d.iobase = ports[d.index].iobase
	}
	if d.irq == unset {
		d.irq = ports[d.index].irq
	}
	if d.iobase > 0x10000-NumRegs {
		return fmt.Errorf("%s: iobase %#x is not a port", d.Describe(), d.iobase)
	}
	if d.baudBase == 0 {
		return errors.New("isa-serial: baudbase must not be 0")
	}
	bus := isa.Of(d)
	line, err := bus.IRQ(d, int(d.irq))
	if err != nil {
		return err
	}
	err = d.Start(Config{
		Device: &d.Base, Line: line, Chardev: d.chardev, BaudBase: d.baudBase, Wakeup: d.wakeup,
	})
	if err != nil {
		return err
	}
	r := d.Env().Memory.NewIO("serial", NumRegs, d, memory.Spec{ImplMin: 1, ImplMax: 1})
	return bus.MapIO(d, uint16(d.iobase), r)
}

// Unrealize implements device.Device.
func (d *ISA) Unrealize() {}
