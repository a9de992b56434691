// Package ioapic is the PC's I/O APIC (Intel 82093AA) in user space, with the
// EOI register of version 0x20, for machines whose accelerator has none of its own.
package ioapic

import (
	"errors"
	"fmt"
	"sync"

	"govmd/internal/device"
	"govmd/internal/device/sysbus"
	"govmd/internal/memory"
	"govmd/internal/object"
)

// TypeName is the device's type.
const TypeName = "ioapic"

const (
	// Base is where the registers are.
	Base = 0xfec00000
	// Inputs is the number of interrupt inputs.
	Inputs = 24

	size    = 0x1000
	version = 0x20

	// timerInput is where a PC's interval timer arrives. ISA interrupt 0 is
	// known to drivers of the qtest protocol as input 0, and ACPI's interrupt
	// source override has guests look for it at 2: both serve the entry of 2, and
	// nothing serves the entry of 0.
	timerInput = 2
)

// Memory-mapped registers. Only the low byte of an address is decoded.
const (
	regSelect = 0x00
	regWindow = 0x10
	regEOI    = 0x40
)

// Registers behind the window.
const (
	indexID          = 0x00
	indexVersion     = 0x01
	indexArbitration = 0x02
	indexTable       = 0x10 // two for each entry, the low half first

	idMask = 0x0f000000
)

// Bits of a redirection entry.
const (
	entryVector    = 0xff
	entryModeShift = 8
	entryMode      = 7 << entryModeShift
	entryLogical   = 1 << 11
	entryPolarity  = 1 << 13
	entryRemoteIRR = 1 << 14
	entryLevel     = 1 << 15
	entryMasked    = 1 << 16
	entryDestShift = 56

	entryWritable = uint64(0xff)<<entryDestShift | entryMasked | entryLevel | entryPolarity |
		entryLogical | entryMode | entryVector
	entryState = entryWritable | entryRemoteIRR
)

// Messages to the local APICs.
const (
	msiBase         = 0xfee00000
	msiDestShift    = 12
	msiLogical      = 1 << 2
	msiRedirectHint = 1 << 3
	msiModeShift    = 8
	msiAssert       = 1 << 14
	msiLevel        = 1 << 15

	modeLowestPriority = 1
)

// Device is the I/O APIC. It delivers to Env.MSI.
type Device struct {
	device.Base

	pins [Inputs]*device.Pin

	// mu guards what follows. It is taken with a pin's lock held, and messages
	// are sent with it held.
	mu    sync.Mutex
	level uint32 // inputs that are high
	regs  registers
}

// registers are what a reset clears.
type registers struct {
	sel   uint8
	id    uint32
	table [Inputs]uint64
}

func init() {
	device.Register(object.Type{Name: TypeName, Description: "I/O APIC",
		New: func() object.Object {
			d := &Device{}
			d.regs.reset()
			return d
		}})
}

func (r *registers) reset() {
	*r = registers{}
	for i := range r.table {
		r.table[i] = entryMasked
	}
}

// Realize implements device.Device.
func (d *Device) Realize() error {
	if d.Env().MSI == nil {
		return errors.New("the I/O APIC needs a machine that takes message-signalled interrupts")
	}
	for i := range d.pins {
		d.pins[i] = device.NewPin(fmt.Sprintf("ioapic %d", i), func(high bool) { d.set(i, high) })
	}
	d.AddInputs("", d.pins[:])
	r := d.Env().Memory.NewIO("ioapic", size, d, memory.Spec{ImplMax: 4})
	return sysbus.MapMem(d, Base, r)
}

// Unrealize implements device.Device.
func (d *Device) Unrealize() {}

// Input returns pin n (0 to Inputs-1). It is there once the device is realized.
func (d *Device) Input(n int) *device.Pin { return d.pins[n] }

// high reports whether the input that serves an entry is high. d.mu is held.
func (d *Device) high(entry int) bool {
	switch entry {
	case 0:
		return false
	case timerInput:
		return d.level&(1|1<<timerInput) != 0
	}
	return d.level>>entry&1 != 0
}

func (d *Device) set(input int, high bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	entry := input
	if entry == 0 {
		entry = timerInput
	}
	was := d.high(entry)
	d.level &^= 1 << input
	if high {
		d.level |= 1 << input
	}
	if d.high(entry) && !was {
		d.request(entry)
	}
}

// request delivers what an input that has become high asks for. An edge at a
// masked entry is lost (82093AA, 3.2.4, bit 16). d.mu is held.
func (d *Device) request(entry int) {
	if d.regs.table[entry]&entryLevel != 0 {
		d.service(entry)
	} else if d.regs.table[entry]&entryMasked == 0 {
		d.deliver(entry)
	}
}

// service delivers a level-triggered interrupt that is due. d.mu is held.
func (d *Device) service(entry int) {
	e := d.regs.table[entry]
	if e&entryLevel == 0 || e&(entryMasked|entryRemoteIRR) != 0 || !d.high(entry) {
		return
	}
	d.regs.table[entry] |= entryRemoteIRR
	d.deliver(entry)
}

func (d *Device) deliver(entry int) {
	e := d.regs.table[entry]
	mode := e & entryMode >> entryModeShift
	m := device.MSIMessage{
		Addr: msiBase | e>>entryDestShift<<msiDestShift,
		Data: uint32(e&entryVector | mode<<msiModeShift),
	}
	if e&entryLogical != 0 {
		m.Addr |= msiLogical
	}
	if mode == modeLowestPriority {
		m.Addr |= msiRedirectHint
	}
	if e&entryLevel != 0 {
		m.Data |= msiLevel | msiAssert
	}
	d.Env().MSI.Send(m)
}

// EOI tells the I/O APIC that a processor has served a level-triggered interrupt
// with that vector: inputs that are still high are delivered again.
func (d *Device) EOI(vector uint8) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.end(vector)
}

func (d *Device) end(vector uint8) {
	for i, e := range d.regs.table {
		if e&entryRemoteIRR != 0 && uint8(e&entryVector) == vector {
			d.regs.table[i] &^= entryRemoteIRR
			d.service(i)
		}
	}
}

// ReadIO implements memory.Handler.
func (d *Device) ReadIO(off uint64, size int) uint64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch off & 0xff {
	case regSelect:
		return uint64(d.regs.sel)
	case regWindow:
		if size == 4 {
			return uint64(d.read())
		}
	}
	return 0
}

// read returns the selected register.
func (d *Device) read() uint32 {
	switch i := d.regs.sel; {
	case i == indexID, i == indexArbitration:
		return d.regs.id
	case i == indexVersion:
		return version | (Inputs-1)<<16
	case i >= indexTable && i < indexTable+2*Inputs:
		i -= indexTable
		return uint32(d.regs.table[i/2] >> (32 * (i & 1)))
	}
	return 0
}

// WriteIO implements memory.Handler.
func (d *Device) WriteIO(off uint64, size int, v uint64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch reg := off & 0xff; {
	case reg == regSelect:
		d.regs.sel = uint8(v)
	case size != 4: // the others are words
	case reg == regWindow:
		d.write(uint32(v))
	case reg == regEOI:
		d.end(uint8(v))
	}
}

// write changes the selected register.
func (d *Device) write(v uint32) {
	i := d.regs.sel
	if i == indexID {
		d.regs.id = v & idMask
		return
	}
	if i < indexTable || i >= indexTable+2*Inputs {
		return
	}
	entry := int(i-indexTable) / 2
	shift := 32 * (i & 1)
	mask := entryWritable & (0xffffffff << shift)
	e := d.regs.table[entry]&^mask | uint64(v)<<shift&mask
	if e&entryLevel == 0 {
		// Nothing will end an interrupt that has become edge-triggered, and
		// guests use this to end one where there is no EOI register.
		e &^= entryRemoteIRR
	}
	d.regs.table[entry] = e
	d.service(entry)
}

// ResetHold implements device.ResetHolder.
func (d *Device) ResetHold() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.regs.reset()
}
