// Package pvpanic is the paravirtual panic device (QEMU's docs/specs/pvpanic):
// a port by which a guest says that it has crashed.
package pvpanic

import (
	"errors"

	"govmd/internal/device"
	"govmd/internal/device/isa"
	"govmd/internal/memory"
	"govmd/internal/object"
	"govmd/internal/runstate"
)

// TypeName is the device's type.
const TypeName = "pvpanic"

// Bits of the port.
const (
	Panicked    = 1 << 0
	CrashLoaded = 1 << 1
)

// Device is the panic device. It has no state of its own.
type Device struct {
	device.Base
	ioport uint16
	events uint8
}

func init() {
	device.Register(object.Type{
		Name: TypeName, Bus: isa.BusKind, UserCreatable: true, Description: "tells when the guest has panicked",
		New: func() object.Object { return &Device{} },
		Props: []object.Property{
			object.Int("ioport", func(d *Device) *uint16 { return &d.ioport }, 0x505, "the port"),
			object.Int("events", func(d *Device) *uint8 { return &d.events }, Panicked|CrashLoaded, "what the guest may tell"),
		},
	})
}

// Port returns the device's port.
func (d *Device) Port() uint16 { return d.ioport }

// Realize implements device.Device.
func (d *Device) Realize() error {
	if d.events&^(Panicked|CrashLoaded) != 0 {
		return errors.New("events has bits that mean nothing: 1 is panicked, 2 crash loaded")
	}
	return isa.Of(d).MapIO(d, d.ioport, d.Env().Memory.NewIO("pvpanic", 1, d, memory.Spec{Max: 1}))
}

// Unrealize implements device.Device.
func (d *Device) Unrealize() {}

// ReadIO implements memory.Handler.
func (d *Device) ReadIO(uint64, int) uint64 { return uint64(d.events) }

// WriteIO implements memory.Handler.
func (d *Device) WriteIO(_ uint64, _ int, v uint64) {
	traceEvent.Emit(v)
	switch e := uint8(v) & d.events; {
	case e&Panicked != 0:
		d.Env().Run.RequestPanicked()
	case e&CrashLoaded != 0:
		d.Env().Events.Publish(runstate.GuestCrashloadedEvent{Action: "run"})
	default:
		d.GuestErrorf("unexpected panic event %#x", v)
	}
}
