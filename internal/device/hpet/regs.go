// Package hpet is the high precision event timer of a PC: a 64-bit counter of
// 100 MHz and comparators that interrupt when it reaches them, once or
// periodically. Section numbers are those of the IA-PC HPET Specification 1.0a.
package hpet

// Registers, of 8 bytes each (section 2.3).
const (
	regCapabilities = 0x000
	regConfig       = 0x010
	regStatus       = 0x020
	regCounter      = 0x0f0
	regTimers       = 0x100 // of each timer from there: timerSize bytes

	timerSize     = 0x20
	regTimer      = 0x00
	regComparator = 0x08
	regFSB        = 0x10

	regsSize = 0x400
)

// Capabilities (2.3.4): vendor Intel, revision 1, a counter of 64 bits that
// counts every 10 ns, legacy replacement. The number of the last timer is added.
const (
	capabilities    = periodFS<<32 | 0x8086<<16 | capLegacy | capCounter64 | 1
	capLegacy       = 1 << 15
	capCounter64    = 1 << 13
	capTimersShift  = 8
	periodFS        = tickNS * 1_000_000
	tickNS          = 10
	ticksPerSecond  = 1_000_000_000 / tickNS
	counter32Period = 1 << 32
)

// Configuration (2.3.5).
const (
	configEnable = 1 << 0
	configLegacy = 1 << 1
	configBits   = configEnable | configLegacy
)

// A timer's configuration (2.3.8).
const (
	timerLevel       = 1 << 1 // level-triggered
	timerInterrupts  = 1 << 2
	timerPeriodic    = 1 << 3
	timerCanRepeat   = 1 << 4
	timerCan64       = 1 << 5
	timerSetValue    = 1 << 6 // the next write of the comparator also sets it when periodic; reads as 0
	timer32          = 1 << 8
	timerRouteShift  = 9
	timerRoute       = 0x1f << timerRouteShift
	timerFSB         = 1 << 14 // deliver as a message
	timerCanFSB      = 1 << 15
	timerRoutesShift = 32 // the I/O APIC inputs that it can be routed to

	timerPlain = timerLevel | timerInterrupts | timerPeriodic | timer32 // bits that are simply kept
)

// ReadIO implements memory.Handler.
func (d *Device) ReadIO(off uint64, _ int) uint64 { return d.read(off&^7) >> (off & 7 * 8) }

func (d *Device) read(reg uint64) uint64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch reg {
	case regCapabilities:
		return d.capabilities()
	case regConfig:
		return d.config
	case regStatus:
		d.sync()
		return d.status
	case regCounter:
		return d.count()
	}
	t := d.timerAt(reg)
	if t == nil {
		return 0
	}
	switch reg % timerSize {
	case regTimer:
		return t.config
	case regComparator:
		d.sync()
		return t.comparator
	case regFSB:
		return t.fsb
	}
	return 0
}

// timerAt returns the timer that a register belongs to, or nil.
func (d *Device) timerAt(reg uint64) *timer {
	if reg < regTimers {
		return nil
	}
	if n := (reg - regTimers) / timerSize; n < uint64(len(d.timers)) {
		return &d.timers[n]
	}
	return nil
}

// WriteIO implements memory.Handler.
func (d *Device) WriteIO(off uint64, size int, v uint64) {
	w := write{v, ^uint64(0)}
	if size == 4 {
		shift := off & 4 * 8
		w = write{v << shift, 0xffffffff << shift}
	}
	if reg := off &^ 7; reg == regConfig {
		d.writeConfig(w)
	} else {
		d.write(reg, w)
	}
}

// write is what the guest puts into a register, or into half of one.
type write struct{ value, mask uint64 }

// into returns what a register that held old holds after the write.
func (w write) into(old uint64) uint64 { return old&^w.mask | w.value&w.mask }

// only returns the part of w that changes the given bits.
func (w write) only(mask uint64) write { return write{w.value, w.mask & mask} }

// writeConfig starts and stops the counter and switches legacy replacement.
func (d *Device) writeConfig(w write) {
	d.legacyMu.Lock()
	defer d.legacyMu.Unlock()
	d.mu.Lock()
	d.sync()
	d.setConfig(w.only(configBits).into(d.config))
	legacy := d.legacy()
	d.mu.Unlock()
	if legacy != d.announced {
		d.announceLocked(legacy)
	}
}

func (d *Device) write(reg uint64, w write) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.sync()
	switch reg {
	case regStatus:
		d.status &^= w.value & w.mask
		for i := range d.timers {
			d.update(&d.timers[i])
		}
		return
	case regCounter:
		if d.running() {
			d.GuestErrorf("the counter was written while it ran: ignored")
			return
		}
		d.start = w.into(d.start)
		for i := range d.timers {
			d.aim(&d.timers[i], false)
		}
		return
	}
	t := d.timerAt(reg)
	if t == nil {
		return
	}
	switch reg % timerSize {
	case regTimer:
		d.writeTimer(t, w)
	case regComparator:
		d.writeComparator(t, w)
	case regFSB:
		if t.config&timerCanFSB != 0 {
			t.fsb = w.into(t.fsb)
		}
	}
}

// writeTimer changes a timer's configuration. A route that it cannot take is
// not taken (2.3.8, Tn_INT_ROUTE_CNF).
func (d *Device) writeTimer(t *timer, w write) {
	if w.mask&timerPlain == 0 { // the upper half is read-only
		return
	}
	old := t.config
	bits := uint64(timerPlain)
	if t.config&timerCanFSB != 0 {
		bits |= timerFSB
	}
	if route := w.value & timerRoute >> timerRouteShift; d.routes>>route&1 != 0 {
		bits |= timerRoute
	}
	t.config = w.only(bits).into(old)
	t.setValue = w.value&timerSetValue != 0 && t.periodic()
	t.truncate()
	if (old^t.config)&(timerPeriodic|timer32) != 0 {
		d.aim(t, false)
	}
	d.update(t)
}

// writeComparator sets when the timer interrupts next, and when it is periodic
// how often (2.3.9.2.2): each write is the period, and what follows a set
// timerSetValue is the next time, too.
func (d *Device) writeComparator(t *timer, w write) {
	w = w.only(t.mask())
	if w.mask == 0 {
		return
	}
	if t.periodic() {
		t.period = w.into(t.period)
	}
	if !t.periodic() || t.setValue {
		t.setValue = false
		t.comparator = w.into(t.comparator)
		d.aim(t, true)
	}
	d.update(t)
}
