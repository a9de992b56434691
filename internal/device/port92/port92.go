// Package port92 is the PS/2's system control port A ("port92"): a fast reset
// and the A20 gate.
package port92

import (
	"sync"

	"govmd/internal/device"
	"govmd/internal/device/isa"
	"govmd/internal/memory"
	"govmd/internal/object"
	"govmd/internal/runstate"
	"govmd/internal/state"
)

// TypeName is the device's type.
const TypeName = "port92"

const (
	port = 0x92

	fastReset = 1 << 0 // a rising edge resets the machine
	gateA20   = 1 << 1
)

// Device is the port. A20 is always open: its bit is only remembered.
type Device struct {
	device.Base

	mu  sync.Mutex
	out uint8 // guarded by mu: what was written last
}

func init() {
	device.Register(object.Type{
		Name: TypeName, Bus: isa.BusKind, Description: "fast reset and A20 gate",
		New: func() object.Object { return &Device{} },
	})
}

// Realize implements device.Device.
func (d *Device) Realize() error {
	r := d.Env().Memory.NewIO("port92", 1, d, memory.Spec{ImplMin: 1, ImplMax: 1})
	return isa.Of(d).MapIO(d, port, r)
}

// Unrealize implements device.Device.
func (d *Device) Unrealize() {}

// ResetEnter implements device.ResetEnterer.
func (d *Device) ResetEnter() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.out = 0
}

// ReadIO implements memory.Handler.
func (d *Device) ReadIO(uint64, int) uint64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	return uint64(d.out)
}

// WriteIO implements memory.Handler.
func (d *Device) WriteIO(_ uint64, _ int, v uint64) {
	d.mu.Lock()
	old := d.out
	d.out = uint8(v)
	d.mu.Unlock()
	if v&fastReset != 0 && old&fastReset == 0 {
		d.Env().Run.RequestReset(runstate.CauseGuestReset)
	}
}

type saved struct {
	Out uint8 `cbor:"out"`
}

// States implements device.Stater.
func (d *Device) States() []state.Entry {
	return []state.Entry{state.Of("", 1,
		func() saved {
			d.mu.Lock()
			defer d.mu.Unlock()
			return saved{d.out}
		},
		func(s *saved) error {
			d.mu.Lock()
			defer d.mu.Unlock()
			d.out = s.Out
			return nil
		})}
}
