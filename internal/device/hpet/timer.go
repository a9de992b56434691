package hpet

import (
	"math"

	"govmd/internal/clock"
	"govmd/internal/device"
)

// timer is a comparator and what happens when the counter reaches it.
type timer struct {
	index  int
	expiry *clock.Timer

	legacy *device.Line         // where legacy replacement sends it; nil from timer 2 on
	lines  [inputs]*device.Line // by route; nil where it cannot go
	line   *device.Line         // of these, the one that was driven last

	config     uint64
	comparator uint64 // of a periodic timer: the next time
	period     uint64
	fsb        uint64 // address (upper half) and data of the message
	setValue   bool   // timerSetValue is on

	// Whether the counter will ever reach the comparator, and the value that it
	// has then. It differs from the comparator in 32-bit mode, in which the
	// counter's lower half is compared.
	aimed bool
	at    uint64

	last int64 // when it interrupted last, in ns; longAgo after a reset
}

const (
	// never is how many ticks ahead need no timer: some 1400 years.
	never = 1 << 62
	// late is by how many ticks a guest may miss the time that it sets: it was
	// not the guest but its host that was slow.
	late = ticksPerSecond
	// quickest is how often periodic interrupts come at most, in ns: those that a
	// guest asks for beyond that could keep the host busy with nothing else.
	quickest = 100_000
	longAgo  = math.MinInt64 / 2
)

func (t *timer) periodic() bool { return t.config&timerPeriodic != 0 }

// mask is the bits of the counter that are compared.
func (t *timer) mask() uint64 {
	if t.config&timer32 != 0 {
		return counter32Period - 1
	}
	return math.MaxUint64
}

// truncate keeps what a timer of its width has.
func (t *timer) truncate() {
	t.comparator &= t.mask()
	t.period &= t.mask()
}

func (d *Device) running() bool { return d.config&configEnable != 0 }

func (d *Device) legacy() bool { return d.config&configLegacy != 0 }

// count returns the counter.
func (d *Device) count() uint64 {
	if !d.running() {
		return d.start
	}
	return d.start + uint64(max(d.clock.Now()-d.since, 0))/tickNS
}

// setConfig starts or stops the counter. Halted, it causes no interrupts, but
// the status of level-triggered ones stays (2.3.5, ENABLE_CNF).
func (d *Device) setConfig(config uint64) {
	count, was := d.count(), d.running()
	d.config = config
	if d.running() != was {
		d.start, d.since = count, 0
		if d.running() {
			d.since = d.clock.Now()
		}
	}
	for i := range d.timers {
		d.update(&d.timers[i])
	}
}

// aim finds out when the counter reaches the comparator. written says that the
// guest has just set it, perhaps too late.
func (d *Device) aim(t *timer, written bool) {
	count := d.count()
	ahead := (t.comparator - count) & t.mask()
	behind := (count - t.comparator) & t.mask()
	if written && d.running() && behind <= late {
		t.at, t.aimed = count-behind, true
		return
	}
	t.at, t.aimed = count+ahead, ahead < never
}

// sync does what the counter has reached.
func (d *Device) sync() {
	if !d.running() {
		return
	}
	count := d.count()
	for i := range d.timers {
		t := &d.timers[i]
		if t.aimed && count-t.at <= math.MaxInt64 {
			d.match(t, count)
		}
	}
}

// match is the moment at which the counter is found to have reached the
// comparator, and perhaps to have gone on from there: what should have happened
// several times by then happens once.
func (d *Device) match(t *timer, count uint64) {
	step := t.period
	if !t.periodic() || step == 0 {
		step = t.mask() + 1 // 0 for 64 bits: once is all
	}
	if step == 0 {
		t.aimed = false
	} else {
		steps := (count-t.at)/step + 1
		t.at += steps * step
		t.aimed = t.at-count < never
		if t.periodic() {
			t.comparator = t.at & t.mask()
		}
	}
	if d.levelTriggered(t) {
		d.status |= 1 << t.index
	} else if t.config&timerInterrupts != 0 {
		d.deliver(t)
	}
	t.last = d.clock.Now()
	d.update(t)
}

// replaced says that the timer's interrupt is one of those that the interval
// timer and the real-time clock have otherwise. Then its own routing, messages
// among it, does not count.
func (d *Device) replaced(t *timer) bool { return t.legacy != nil && d.legacy() }

func (d *Device) levelTriggered(t *timer) bool {
	return t.config&timerLevel != 0 && (t.config&timerFSB == 0 || d.replaced(t))
}

// route returns the line that the timer drives, or nil.
func (d *Device) route(t *timer) *device.Line {
	if d.replaced(t) {
		return t.legacy
	}
	if n := t.config & timerRoute >> timerRouteShift; n < uint64(len(t.lines)) {
		return t.lines[n]
	}
	return nil
}

// deliver interrupts by an edge or a message.
func (d *Device) deliver(t *timer) {
	if t.config&timerFSB != 0 && !d.replaced(t) {
		d.Env().MSI.Send(device.MSIMessage{Addr: t.fsb >> 32, Data: uint32(t.fsb)})
		return
	}
	d.route(t).Pulse()
}

// update drives the timer's line and sets the clock for its next interrupt.
func (d *Device) update(t *timer) {
	line := d.route(t)
	if t.line != line {
		t.line.SetLevel(false)
		t.line = line
	}
	level := d.levelTriggered(t)
	if !level {
		d.status &^= 1 << t.index
	}
	pending := d.status>>t.index&1 != 0
	line.SetLevel(pending && d.running() && t.config&timerInterrupts != 0)

	if !d.running() || !t.aimed || pending || t.config&timerInterrupts == 0 {
		t.expiry.Stop() // whatever happens, it interrupts nobody: sync sees to it when it matters
		return
	}
	ticks := int64(t.at - d.start) // negative when the guest was late
	if ticks > (math.MaxInt64-d.since)/tickNS {
		t.expiry.Stop()
		return
	}
	deadline := d.since + max(ticks, 0)*tickNS
	if t.periodic() {
		deadline = max(deadline, t.last+quickest)
	}
	t.expiry.Set(deadline)
}

func (d *Device) expired() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.sync()
}
