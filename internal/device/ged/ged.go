// Package ged is the generic event device of machines without the PC's power
// management (ACPI 6.5, section 5.6.9) with the sleep control, sleep status and
// reset registers of hardware-reduced ACPI (sections 4.8.3.6 and 4.8.3.7).
package ged

import (
	"errors"
	"sync"

	"govmd/internal/device"
	"govmd/internal/device/sysbus"
	"govmd/internal/memory"
	"govmd/internal/object"
	"govmd/internal/runstate"
	"govmd/internal/state"
)

// TypeName is the device's type.
const TypeName = "acpi-ged-x86"

// Bits of the event register.
const EventPowerButton = 1 << 1

// The power registers, a byte each.
const (
	sleepControl = 0
	sleepStatus  = 1
	resetControl = 2

	sleepEnable  = 1 << 5
	sleepTypeLow = 2
	sleepTypeS5  = 5
	resetValue   = 0x42
)

// Device is the generic event device. The board sets the exported fields before
// Plug.
type Device struct {
	device.Base
	Events    uint64      // guest-physical address of the event register, 4 bytes
	Registers uint64      // of the power registers, 3 bytes
	Pin       *device.Pin // the interrupt, edge-triggered

	line *device.Line

	mu     sync.Mutex
	events uint32 // guarded by mu: what happened since the register was read
}

func init() {
	device.Register(object.Type{Name: TypeName, Description: "generic event device",
		New: func() object.Object { return &Device{} }})
}

// Realize implements device.Device.
func (d *Device) Realize() error {
	if d.Pin == nil {
		return errors.New("the generic event device belongs to a board that wires it")
	}
	d.line = d.NewOutput(d.Pin, d.Describe())
	sys := d.Env().Memory
	events := sys.NewIO("ged-events", 4, eventRegister{d}, memory.Spec{Min: 4, Max: 4})
	if err := sysbus.MapMem(d, d.Events, events); err != nil {
		return err
	}
	regs := sys.NewIO("ged-regs", 3, powerRegisters{d}, memory.Spec{Min: 1, Max: 1})
	return sysbus.MapMem(d, d.Registers, regs)
}

// Unrealize implements device.Device.
func (d *Device) Unrealize() {}

// PressPowerButton tells the guest that it shall shut down.
func (d *Device) PressPowerButton() { d.raise(EventPowerButton) }

func (d *Device) raise(event uint32) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.events |= event
	d.line.Pulse()
}

// ResetEnter implements device.ResetEnterer.
func (d *Device) ResetEnter() {
	d.mu.Lock()
	d.events = 0
	d.mu.Unlock()
}

// eventRegister says what happened, and forgets it as it is read.
type eventRegister struct{ d *Device }

func (r eventRegister) ReadIO(uint64, int) uint64 {
	r.d.mu.Lock()
	defer r.d.mu.Unlock()
	v := r.d.events
	r.d.events = 0
	return uint64(v)
}

func (r eventRegister) WriteIO(uint64, int, uint64) {}

type powerRegisters struct{ d *Device }

// ReadIO returns 0: both sleep registers are write-only in effect, for the
// machine never wakes from S5.
func (r powerRegisters) ReadIO(uint64, int) uint64 { return 0 }

func (r powerRegisters) WriteIO(off uint64, _ int, v uint64) {
	run := r.d.Env().Run
	switch {
	case off == sleepControl && v&sleepEnable != 0:
		if t := v >> sleepTypeLow & 7; t != sleepTypeS5 {
			r.d.GuestErrorf("sleep type %d is none of this machine's", t)
			return
		}
		run.RequestShutdown(runstate.CauseGuestShutdown)
	case off == resetControl && v == resetValue:
		run.RequestReset(runstate.CauseGuestReset)
	}
}

type gedState struct {
	Events uint32 `cbor:"events"`
}

// States implements device.Stater.
func (d *Device) States() []state.Entry {
	return []state.Entry{state.Of("", 1,
		func() gedState {
			d.mu.Lock()
			defer d.mu.Unlock()
			return gedState{d.events}
		},
		func(s *gedState) error {
			d.mu.Lock()
			defer d.mu.Unlock()
			d.events = s.Events
			return nil
		})}
}
