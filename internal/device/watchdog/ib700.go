// Package watchdog has the watchdog timers that guests have drivers for: that of the
// iBASE IB700 board and that of the Intel 6300ESB I/O controller hub. What follows
// when the guest does not feed them in time is the machine's policy (option -action).
package watchdog

import (
	"sync"
	"time"

	"govmd/internal/clock"
	"govmd/internal/device"
	"govmd/internal/device/isa"
	"govmd/internal/memory"
	"govmd/internal/object"
	"govmd/internal/state"
)

// TypeIB700 is the IB700's watchdog: a write to port 0x443 starts it, and a write to
// port 0x441 stops it. Each register answers at two ports.
const TypeIB700 = "ib700"

const (
	ib700Port  = 0x441
	ib700Start = 2 // from ib700Port

	ib700Max = 30 // seconds; the low four bits that are written count down from it in twos
)

type ib700 struct {
	device.Base
	virtual *clock.Clock
	timer   *clock.Timer

	mu      sync.Mutex
	running bool // guarded by mu
}

func init() {
	device.Register(object.Type{
		Name: TypeIB700, Bus: isa.BusKind, UserCreatable: true, Description: "iBASE 700 watchdog timer",
		New: func() object.Object { return &ib700{} },
	})
}

// Realize implements device.Device.
func (d *ib700) Realize() error {
	d.virtual = d.Env().Clock.Virtual
	d.timer = d.virtual.NewTimer("ib700", d.expired)
	d.Defer(d.timer.Close)
	return isa.Of(d).MapIO(d, ib700Port, d.Env().Memory.NewIO("ib700", 2*ib700Start, d, memory.Spec{ImplMax: 1}))
}

// Unrealize implements device.Device.
func (d *ib700) Unrealize() {}

// ResetEnter implements device.ResetEnterer.
func (d *ib700) ResetEnter() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.stop()
}

// ReadIO implements memory.Handler: the registers can only be written.
func (d *ib700) ReadIO(_ uint64, size int) uint64 { return 1<<(8*size) - 1 }

// WriteIO implements memory.Handler.
func (d *ib700) WriteIO(off uint64, _ int, v uint64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if off < ib700Start {
		d.stop()
		return
	}
	wait := (ib700Max - 2*time.Duration(v&15)) * time.Second
	traceStart.Emit(TypeIB700, wait)
	d.running = true
	d.timer.Set(d.virtual.Now() + int64(wait))
}

// stop is called with d.mu held.
func (d *ib700) stop() {
	d.running = false
	d.timer.Stop()
}

func (d *ib700) expired() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if _, again := d.timer.Deadline(); again || !d.running {
		return // it has been fed or stopped since
	}
	d.running = false
	traceExpired.Emit(TypeIB700)
	d.Env().Run.RequestWatchdog()
}

// deadlineOf returns when the timer expires, in ns; 0 while it is not armed.
func deadlineOf(t *clock.Timer) int64 {
	if ns, armed := t.Deadline(); armed {
		return ns
	}
	return 0
}

type savedIB700 struct {
	Running  bool  `cbor:"running"`
	Deadline int64 `cbor:"deadline"` // ns of the virtual clock
}

// States implements device.Stater.
func (d *ib700) States() []state.Entry {
	return []state.Entry{state.Of("", 1,
		func() savedIB700 {
			d.mu.Lock()
			defer d.mu.Unlock()
			return savedIB700{d.running, deadlineOf(d.timer)}
		},
		func(s *savedIB700) error {
			d.mu.Lock()
			defer d.mu.Unlock()
			d.stop()
			if s.Running {
				d.running = true
				d.timer.Set(min(s.Deadline, d.virtual.Now()+int64(ib700Max*time.Second)))
			}
			return nil
		})}
}
