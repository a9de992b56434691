package rtc

// ReadIO implements memory.Handler: the index port cannot be read.
func (d *Device) ReadIO(off uint64, _ int) uint64 {
	if off == 0 {
		return 0xff
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	r := &d.regs
	traceRead.Emit(r.index)
	switch r.index {
	case regA:
		v := r.cmos[regA]
		if d.updating() {
			v |= aUIP
		}
		return uint64(v)
	case regC:
		d.sync()
		v := r.cmos[regC]
		r.cmos[regC] = 0
		d.update()
		d.reinject()
		d.arm()
		return uint64(v)
	}
	if isTime(r.index) && !r.halted() {
		r.show(d.second())
	}
	return uint64(r.cmos[r.index])
}

// WriteIO implements memory.Handler.
func (d *Device) WriteIO(off uint64, _ int, val uint64) {
	v := uint8(val)
	d.mu.Lock()
	defer d.mu.Unlock()
	r := &d.regs
	if off == 0 {
		r.index = v & indexMask
		if r.index == regCentury2 {
			r.index = regCentury
		}
		return
	}
	traceWrite.Emit(r.index, v)
	d.sync()
	switch r.index {
	case regA:
		d.writeControl(v&^aUIP, r.cmos[regB])
	case regB:
		d.writeControl(r.cmos[regA], v)
	case regC, regD: // read-only
	default:
		if !isTime(r.index) || r.halted() {
			r.cmos[r.index] = v
			break
		}
		// Setting the time while it runs is bad style, but works.
		r.show(d.second())
		r.cmos[r.index] = v
		d.setTime(r.shown(), d.fraction())
	}
	d.arm()
	d.update()
}

// writeControl gives A and B new values. Time stands still while SET is on or
// the divider is off.
func (d *Device) writeControl(a, b uint8) {
	r := &d.regs
	wasHalted, wasOff := r.halted(), r.dividerOff()
	if !wasHalted {
		r.show(d.second()) // what the registers hold if they are to hold still
	}
	if b&bSet != 0 {
		b &^= bUIE
	}
	fraction := d.fraction()
	rateChange := (a^r.cmos[regA])&(aRate|aDivider) != 0 || (b^r.cmos[regB])&bPIE != 0
	r.cmos[regA], r.cmos[regB] = a, b
	if rateChange {
		r.lastPF = d.tick()
		r.missed, r.inARow = 0, 0
	}
	if wasOff && !r.dividerOff() {
		// The first update comes half a second after the divider starts.
		fraction = second / 2
		r.offset += fraction - d.fraction()
	}
	if wasHalted && !r.halted() {
		d.setTime(r.shown(), fraction)
	}
}
