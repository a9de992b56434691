// Package i8254 is the PC's interval timer (Intel 8254) in user space, and the
// port by which its third counter drives the speaker, for machines whose
// accelerator has none of its own.
package i8254

import (
	"math"
	"math/bits"
	"sync"

	"govmd/internal/clock"
	"govmd/internal/device"
	"govmd/internal/device/sysbus"
	"govmd/internal/memory"
	"govmd/internal/object"
)

// TypeName is the device's type.
const TypeName = "isa-pit"

const (
	// Hz is the frequency that the counters count at.
	Hz = 1193182

	second = 1_000_000_000

	basePort    = 0x40
	controlPort = 3 // from basePort

	// shortest is the fewest ticks between two looks at counter 0: a guest that
	// asks for more interrupts than these 9300 a second gets fewer.
	shortest = 128
)

// Device is the timer. The board sets the exported field before Plug.
type Device struct {
	device.Base
	// IRQ takes the output of counter 0; nil leaves it unconnected.
	IRQ *device.Pin

	line    *device.Line
	virtual *clock.Clock
	timer   *clock.Timer

	// mu guards what follows. The interrupt is driven with it held.
	mu       sync.Mutex
	counters [3]counter
	legacy   bool  // the HPET has the timer's interrupt
	seen     int64 // the tick at which the line was last driven
}

func init() {
	device.Register(object.Type{Name: TypeName, Description: "8254 interval timer",
		New: func() object.Object { return &Device{} }})
}

// Realize implements device.Device.
func (d *Device) Realize() error {
	d.virtual = d.Env().Clock.Virtual
	d.line = d.NewOutput(d.IRQ, d.Describe())
	d.timer = d.virtual.NewTimer("i8254", d.expired)
	d.Defer(d.timer.Close)
	d.ResetEnter()
	r := d.Env().Memory.NewIO("pit", 4, d, memory.Spec{ImplMax: 1})
	return sysbus.MapIO(d, basePort, r)
}

// Unrealize implements device.Device.
func (d *Device) Unrealize() {}

// now returns the current tick.
func (d *Device) now() int64 {
	ns := d.virtual.Now()
	if ns < 0 {
		return 0
	}
	hi, lo := bits.Mul64(uint64(ns), Hz)
	q, _ := bits.Div64(hi, lo, second) // hi is less than second: ns is below 2^63
	return int64(q)
}

// tickTime returns the first nanosecond of a tick.
func tickTime(tick int64) int64 {
	hi, lo := bits.Mul64(uint64(tick), second)
	lo, carry := bits.Add64(lo, Hz-1, 0)
	if hi += carry; hi >= Hz {
		return math.MaxInt64
	}
	q, _ := bits.Div64(hi, lo, Hz)
	return int64(min(q, math.MaxInt64))
}

func (d *Device) expired() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.update(d.now())
}

// update drives the interrupt as it is at tick t and arms the timer for when it
// changes. d.mu is held.
func (d *Device) update(t int64) {
	c := &d.counters[0]
	out := c.output(t)
	if d.legacy {
		d.line.SetLevel(false)
	} else {
		if c.periodic() && !c.held && c.loaded && t-max(d.seen, c.start) >= c.count {
			// It went low and high again since the last look.
			d.line.SetLevel(false)
			d.line.SetLevel(true)
		}
		d.line.SetLevel(out)
	}
	d.seen = t
	next := c.nextChange(t)
	if next == never {
		d.timer.Stop()
		return
	}
	if c.periodic() && c.count < shortest {
		next = max(next, t+shortest)
	}
	if at := tickTime(next); at < math.MaxInt64 {
		d.timer.Set(at)
	} else {
		d.timer.Stop()
	}
}

// SetHPETLegacy takes the interrupt away, for the HPET replaces it, or gives it back.
func (d *Device) SetHPETLegacy(on bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.legacy = on
	d.update(d.now())
}

// setGate drives the gate of counter 2.
func (d *Device) setGate(high bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.counters[2].setGate(d.now(), high)
}

// output2 returns the level of counter 2's output, and the current tick.
func (d *Device) output2() (high bool, tick int64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	t := d.now()
	return d.counters[2].output(t), t
}

// ResetEnter implements device.ResetEnterer. All counters count from 65536 in
// mode 3, as a BIOS would program counter 0: after power-on an 8254 is in no
// defined state.
func (d *Device) ResetEnter() {
	d.mu.Lock()
	defer d.mu.Unlock()
	t := d.now()
	for i := range d.counters {
		gate := i != 2
		d.counters[i] = counter{
			mode: 3, access: accessBoth, gate: gate, held: !gate,
			loaded: true, count: 1 << 16, reload: 1 << 16, start: t, high: true, loadAt: never,
		}
	}
	d.legacy = false
	d.seen = t
}

// ResetExit implements device.ResetExiter.
func (d *Device) ResetExit() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.update(d.now())
}

// ReadIO implements memory.Handler. The control word cannot be read.
func (d *Device) ReadIO(off uint64, _ int) uint64 {
	if off == controlPort {
		return 0
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	return uint64(d.counters[off].read(d.now()))
}

// WriteIO implements memory.Handler.
func (d *Device) WriteIO(off uint64, _ int, v uint64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	t := d.now()
	if off == controlPort {
		d.control(t, uint8(v))
	} else {
		d.counters[off].write(t, uint8(v))
	}
	d.update(t)
}

func (d *Device) control(t int64, v uint8) {
	n, access, mode := v>>6, v>>4&3, v>>1&7
	if n == 3 {
		d.readBack(t, v)
		return
	}
	c := &d.counters[n]
	if access == 0 {
		c.latch(t)
		return
	}
	if mode > 5 {
		mode &= 3 // bit 2 does not matter for modes 2 and 3
	}
	c.control(t, access, mode, v&controlBCD != 0)
}

func (d *Device) readBack(t int64, v uint8) {
	for i := range d.counters {
		if v>>(i+1)&1 == 0 {
			continue
		}
		if v&readBackNoCount == 0 {
			d.counters[i].latch(t)
		}
		if v&readBackNoStatus == 0 {
			d.counters[i].latchStatus(t)
		}
	}
}
