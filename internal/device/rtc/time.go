package rtc

const (
	second = int64(1e9)
	// updateTime is how long before an update UIP says that it is near.
	updateTime = int64(244e3)
	// The registers hold more years than 64 bits do nanoseconds: these are
	// about 1748 and 2255.
	firstSecond = int64(-7e9)
	lastSecond  = int64(9e9)
	upTime      = int64(1e8) // how much later it may be when the guest has set it to the last
	// crystal is the frequency, in Hz, of which the periodic rate is a fraction.
	crystal = 32768
)

// halted reports whether the time registers hold still.
func (r *registers) halted() bool { return r.cmos[regB]&bSet != 0 || r.dividerOff() }

func (r *registers) dividerOff() bool { return r.cmos[regA]&aDividerOff == aDividerOff }

// now returns guest time in nanoseconds since 1970.
func (d *Device) now() int64 { return d.follows.Now() + d.regs.offset }

// second returns guest time in seconds since 1970.
func (d *Device) second() int64 { return floorDiv(d.now(), second) }

// fraction returns the nanoseconds of guest time in the current second.
func (d *Device) fraction() int64 {
	n := d.now()
	return n - floorDiv(n, second)*second
}

func floorDiv(a, b int64) int64 {
	q := a / b
	if a%b < 0 {
		q--
	}
	return q
}

func (d *Device) updating() bool { return !d.regs.halted() && d.fraction() >= second-updateTime }

// setTime sets the clock, and tells the world how far it is from its base.
func (d *Device) setTime(sec, fraction int64) {
	r := &d.regs
	sec = min(max(sec, firstSecond), lastSecond)
	r.offset = sec*second + fraction - d.follows.Now()
	r.lastUp = sec
	traceSet.Emit(sec, r.offset)
	d.Env().Events.Publish(Change{Offset: floorDiv(r.offset-d.base+second/2, second), QOMPath: d.Path()})
}

// sync brings UF, AF and PF up to date.
func (d *Device) sync() {
	r := &d.regs
	if !r.halted() {
		now := d.second()
		if now < r.lastUp { // the host's clock was set back
			r.lastUp = now
		}
		if now > r.lastUp {
			r.cmos[regC] |= cUF
			if at := r.nextAlarm(r.lastUp); at != never && at <= now {
				if r.cmos[regB]&bAIE != 0 && r.cmos[regC]&cAF == 0 && d.OnAlarm != nil {
					d.OnAlarm()
				}
				r.cmos[regC] |= cAF
			}
			r.lastUp = now
		}
	}
	if tick := d.tick(); tick > r.lastPF {
		n := tick - r.lastPF
		if r.cmos[regB]&bPIE != 0 && d.policy == Slew {
			if r.cmos[regC]&cPF == 0 {
				n--
			}
			r.missed = int(min(int64(r.missed)+n, maxMissed))
		}
		r.cmos[regC] |= cPF
		r.inARow = 0
		r.lastPF = tick
	} else if tick < r.lastPF {
		r.lastPF = tick
	}
}

// Ticks that were missed come back at most that many at once, so that a guest
// which reads register C in a loop comes to an end.
const (
	maxInARow = 20
	maxMissed = 1 << 16
)

// ForgetMissed has the ticks that the guest was too slow to take not come back: it
// has set its clock by other means.
func (d *Device) ForgetMissed() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.sync()
	d.regs.missed = 0
}

// reinject delivers a periodic interrupt that was missed, once the one before
// it is acknowledged.
func (d *Device) reinject() {
	r := &d.regs
	if r.missed == 0 || r.inARow >= maxInARow || r.cmos[regB]&bPIE == 0 {
		return
	}
	r.missed--
	r.inARow++
	r.cmos[regC] |= cPF
	d.update()
}

// update drives the interrupt.
func (d *Device) update() {
	r := &d.regs
	irq := r.cmos[regC]&r.cmos[regB]&cFlags != 0
	r.cmos[regC] &^= cIRQF
	if irq {
		r.cmos[regC] |= cIRQF
	}
	d.line.SetLevel(irq)
}

// period returns the crystal's cycles in a periodic tick, 0 for none.
func (r *registers) period() int64 {
	rate := r.cmos[regA] & aRate
	if rate == 0 || r.dividerOff() {
		return 0
	}
	if rate <= 2 { // faster ones are for faster crystals
		rate += 7
	}
	return 1 << (rate - 1)
}

// tick returns how many periodic ticks there have been.
func (d *Device) tick() int64 {
	p := d.regs.period()
	if p == 0 {
		return d.regs.lastPF
	}
	now := d.ticks.Now()
	return (now/second*crystal + now%second*crystal/second) / p
}

// tickTime returns when tick n comes.
func (d *Device) tickTime(n int64) int64 {
	cycles := n * d.regs.period()
	return cycles/crystal*second + (cycles%crystal*second+crystal-1)/crystal
}

// arm sets the timers for what interrupts next. A flag that is up already
// needs no timer.
func (d *Device) arm() {
	r := &d.regs
	d.timer.Stop()
	if !r.halted() {
		next := never
		switch due := r.cmos[regB] &^ r.cmos[regC]; {
		case due&bUIE != 0:
			next = r.lastUp + 1
		case due&bAIE != 0:
			next = r.nextAlarm(r.lastUp)
		}
		if next != never {
			d.timer.Set(next*second - r.offset)
		}
	}
	if r.cmos[regB]&bPIE != 0 && r.period() != 0 && (r.cmos[regC]&cPF == 0 || d.policy == Slew) {
		d.periodic.Set(d.tickTime(r.lastPF + 1))
	} else {
		d.periodic.Stop()
	}
}

func (d *Device) onTimer() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.sync()
	d.arm()
	d.update()
}

func (d *Device) onPeriodic() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.sync()
	d.arm()
	d.update()
}
