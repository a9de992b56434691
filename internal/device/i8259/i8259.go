// Package i8259 is the PC's pair of 8259A interrupt controllers in user space,
// for machines whose accelerator has none of its own.
package i8259

import (
	"fmt"
	"sync"

	"govmd/internal/device"
	"govmd/internal/device/sysbus"
	"govmd/internal/memory"
	"govmd/internal/object"
)

// TypeName is the device's type.
const TypeName = "isa-i8259"

// Where the chips' ports are, two each.
const (
	masterPort = 0x20
	slavePort  = 0xa0
	elcrPort   = 0x4d0

	cascade  = 2 // the master's input that the slave drives
	spurious = 7 // the input that is reported when a request has gone
)

// Device is the pair: 16 inputs, of which 2 is taken by the cascade, and one
// output. The board sets the exported field before Plug.
type Device struct {
	device.Base
	// INTR takes the processor's interrupt request; nil leaves it unconnected.
	INTR *device.Pin

	pins [16]*device.Pin
	intr *device.Line

	// mu guards chips. It is taken with a pin's lock held, and INTR is driven
	// with it held.
	mu    sync.Mutex
	chips [2]chip // master, slave
}

func init() {
	device.Register(object.Type{Name: TypeName, Description: "8259A interrupt controllers",
		New: func() object.Object { return newDevice() }})
}

func newDevice() *Device {
	d := &Device{chips: [2]chip{
		{wired: 1 << cascade, elcrMay: 0xf8}, // 0, 1 and 2 are the timer, the keyboard and the slave
		{elcrMay: 0xde},                      // 8 and 13 are the clock and the coprocessor
	}}
	for i := range d.chips {
		d.chips[i].reset()
	}
	return d
}

// Realize implements device.Device.
func (d *Device) Realize() error {
	for i := range d.pins {
		d.pins[i] = device.NewPin(fmt.Sprintf("i8259 %d", i), func(high bool) { d.set(i, high) })
	}
	d.AddInputs("", d.pins[:])
	d.intr = d.NewOutput(d.INTR, d.Describe())
	sys := d.Env().Memory
	bytes := memory.Spec{ImplMax: 1}
	for i, port := range []uint16{masterPort, slavePort} {
		r := sys.NewIO([]string{"pic-master", "pic-slave"}[i], 2, ports{d, i}, bytes)
		if err := sysbus.MapIO(d, port, r); err != nil {
			return err
		}
	}
	return sysbus.MapIO(d, elcrPort, sys.NewIO("elcr", 2, elcr{d}, bytes))
}

// Unrealize implements device.Device.
func (d *Device) Unrealize() {}

// Input returns the pin of ISA interrupt n (0 to 15). It is there once the
// device is realized.
func (d *Device) Input(n int) *device.Pin { return d.pins[n] }

func (d *Device) set(input int, high bool) {
	if input == cascade {
		return // the slave's
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.chips[input>>3].set(uint8(input&7), high)
	d.update()
}

// update carries the slave's output to the master and the master's to the
// processor. d.mu is held.
func (d *Device) update() {
	_, request := d.chips[1].pending()
	d.chips[0].set(cascade, request)
	_, request = d.chips[0].pending()
	d.intr.SetLevel(request)
}

// Acknowledge is the processor's answer to INTR: it takes the most urgent
// request into service and returns its vector.
func (d *Device) Acknowledge() (vector uint8) {
	d.mu.Lock()
	defer d.mu.Unlock()
	defer d.update()
	master, slave := &d.chips[0], &d.chips[1]
	input, ok := master.pending()
	if !ok {
		return master.base | spurious
	}
	master.acknowledge(input)
	if input != cascade {
		return master.base | input
	}
	if input, ok = slave.pending(); !ok {
		return slave.base | spurious
	}
	slave.acknowledge(input)
	return slave.base | input
}

// SetELCR sets which interrupts are level-triggered (bit n for interrupt n), as
// far as they can be.
func (d *Device) SetELCR(levels uint16) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.chips[0].setELCR(uint8(levels))
	d.chips[1].setELCR(uint8(levels >> 8))
	d.update()
}

// ResetHold implements device.ResetHolder. Lines that are still high are so
// after the reset too.
func (d *Device) ResetHold() {
	d.mu.Lock()
	defer d.mu.Unlock()
	for i := range d.chips {
		d.chips[i].reset()
	}
	d.update()
}

// ports are the two ports of one chip.
type ports struct {
	d *Device
	n int
}

// ReadIO implements memory.Handler.
func (p ports) ReadIO(off uint64, _ int) uint64 {
	p.d.mu.Lock()
	defer p.d.mu.Unlock()
	v := p.d.chips[p.n].read(off)
	p.d.update() // a poll acknowledges
	return uint64(v)
}

// WriteIO implements memory.Handler.
func (p ports) WriteIO(off uint64, _ int, v uint64) {
	p.d.mu.Lock()
	defer p.d.mu.Unlock()
	if !p.d.chips[p.n].write(off, uint8(v)) {
		p.d.GuestErrorf("command %#x is none", v)
	}
	p.d.update()
}

// elcr is the pair of edge/level control registers.
type elcr struct{ d *Device }

// ReadIO implements memory.Handler.
func (e elcr) ReadIO(off uint64, _ int) uint64 {
	e.d.mu.Lock()
	defer e.d.mu.Unlock()
	return uint64(e.d.chips[off].elcr)
}

// WriteIO implements memory.Handler.
func (e elcr) WriteIO(off uint64, _ int, v uint64) {
	e.d.mu.Lock()
	defer e.d.mu.Unlock()
	e.d.chips[off].setELCR(uint8(v))
	e.d.update()
}
