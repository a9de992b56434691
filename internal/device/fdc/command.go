package fdc

// Commands (section 5), without the bits MT, MFM and SK where there are any.
const (
	cmdReadTrack     = 0x02
	cmdSpecify       = 0x03
	cmdSenseDrive    = 0x04
	cmdWrite         = 0x05
	cmdRead          = 0x06
	cmdRecalibrate   = 0x07
	cmdSenseInt      = 0x08
	cmdWriteDeleted  = 0x09
	cmdReadID        = 0x0a
	cmdReadDeleted   = 0x0c
	cmdFormat        = 0x0d
	cmdDumpRegisters = 0x0e
	cmdSeek          = 0x0f
	cmdVersion       = 0x10
	cmdPerpendicular = 0x12
	cmdConfigure     = 0x13
	cmdUnlock        = 0x14
	cmdVerify        = 0x16
	cmdPartID        = 0x18
	cmdSeekOut       = 0x8f
	cmdLock          = 0x94
	cmdSeekIn        = 0xcf

	bitMT = 1 << 7

	versionEnhanced = 0x90
	partID          = 0x41
)

// Bits of the status registers in results (section 6).
const (
	st0Abnormal = 0x40
	st0Invalid  = 0x80
	st0Polled   = 0xc0
	st0SeekEnd  = 0x20
	st0Check    = 0x10 // no track 0, or no such drive

	st1MissingMark  = 0x01
	st1NotWritable  = 0x02
	st1NoData       = 0x04
	st1DataError    = 0x20
	st1EndOfTrack   = 0x80
	st2DataError    = 0x20
	st2WrongTrack   = 0x10
	st3Fixed        = 0x28 // ready, two sides
	st3Protected    = 0x40
	st3Track0       = 0x10
	perpendicularOW = 0x80
)

// commandLength is how many bytes a command has; 1 for what is none.
func commandLength(op uint8) int {
	switch op {
	case cmdSeekIn, cmdSeekOut, cmdSeek, cmdSpecify:
		return 3
	case cmdSenseDrive, cmdRecalibrate, cmdPerpendicular:
		return 2
	case cmdConfigure:
		return 4
	}
	switch op & 0x1f {
	case cmdRead, cmdWrite, cmdReadDeleted, cmdWriteDeleted, cmdReadTrack, cmdVerify:
		return 9
	case cmdFormat:
		return 6
	case cmdReadID:
		return 2
	}
	return 1
}

// mainStatus is the main status register (section 2.1.5).
func (c *Controller) mainStatus() uint8 {
	if c.r.DOR&dorReset == 0 {
		return 0
	}
	v := c.r.Seeked & 0x0f
	switch c.r.Phase {
	case phaseCommand:
		v |= mainRQM
		if c.r.Pos > 0 {
			v |= mainBusy
		}
	case phaseResult:
		v |= mainRQM | mainDIO | mainBusy
	case phaseExecute:
		v |= mainBusy
		if c.pio() {
			v |= mainPIO
			if c.x.Step == stepMove {
				v |= mainRQM
				if !c.x.Write {
					v |= mainDIO
				}
			}
		}
	}
	return v
}

// writeFIFO is a byte of a command, or of data.
func (c *Controller) writeFIFO(v uint8) {
	r := &c.r
	switch {
	case r.DOR&dorReset == 0:
	case r.Phase == phaseExecute:
		c.writeData(v)
	case r.Phase == phaseCommand:
		if r.Pos == 0 {
			r.Len = commandLength(v)
		}
		r.FIFO[r.Pos] = v
		if r.Pos++; r.Pos == r.Len {
			r.Pos = 0
			c.execute()
		}
	}
}

// readFIFO is a byte of a result, or of data.
func (c *Controller) readFIFO() uint8 {
	r := &c.r
	switch r.Phase {
	case phaseExecute:
		return c.readData()
	case phaseResult:
		c.setIRQ(false)
		v := r.FIFO[r.Pos]
		if r.Pos++; r.Pos == r.Len {
			r.Pos, r.Len, r.Phase = 0, 0, phaseCommand
		}
		return v
	}
	return 0
}

// result has the guest read bytes.
func (c *Controller) result(p ...uint8) {
	r := &c.r
	r.Phase, r.Pos, r.Len = phaseResult, 0, len(p)
	copy(r.FIFO[:], p)
}

// none ends a command that has no result.
func (c *Controller) none() { c.r.Phase, c.r.Pos, c.r.Len = phaseCommand, 0, 0 }

// execute carries out the command in the FIFO.
func (c *Controller) execute() {
	r := &c.r
	p := r.FIFO
	switch p[0] {
	case cmdSpecify:
		r.Specify = [2]uint8{p[1], p[2]}
		c.none()
	case cmdSenseDrive:
		c.result(c.status3(p[1]))
	case cmdRecalibrate:
		c.seek(p[1]&3, 0)
	case cmdSeek:
		c.seek(p[1]&3, int(p[2]))
	case cmdSeekIn, cmdSeekOut:
		at := 0
		if f := c.drive(p[1] & 3); f != nil {
			at = int(f.track)
		}
		if p[0] == cmdSeekOut {
			c.seek(p[1]&3, max(at-int(p[2]), 0))
		} else {
			c.seek(p[1]&3, min(at+int(p[2]), 255))
		}
	case cmdSenseInt:
		c.senseInterrupt()
	case cmdDumpRegisters:
		c.dump()
	case cmdVersion:
		c.result(versionEnhanced)
	case cmdPerpendicular:
		r.Perp = p[1]
		if p[1]&perpendicularOW == 0 {
			r.Perp = r.Perp & 3
		}
		c.none()
	case cmdConfigure:
		r.Config = [2]uint8{p[2], p[3]}
		c.none()
	case cmdLock, cmdUnlock:
		r.Locked = p[0] == cmdLock
		c.result(p[0] >> 3 & 0x10)
	case cmdPartID:
		c.result(partID)
	default:
		c.executeData(p[0], p[1:])
	}
}

// executeData carries out a command with data.
func (c *Controller) executeData(op uint8, p []uint8) {
	switch op & 0x1f {
	case cmdRead, cmdReadDeleted, cmdReadTrack, cmdVerify, cmdWrite, cmdWriteDeleted:
		c.begin(op, p)
	case cmdFormat:
		c.beginFormat(p)
	case cmdReadID:
		c.readID(p[0])
	default:
		c.result(st0Invalid)
	}
}

func (c *Controller) status3(unit uint8) uint8 {
	v := st3Fixed | unit&7
	if f := c.drive(unit & 3); f != nil {
		if f.readOnly {
			v |= st3Protected
		}
		if f.track == 0 {
			v |= st3Track0
		}
	}
	return v
}

// seek moves a drive's head, which takes no time.
func (c *Controller) seek(unit uint8, track int) {
	st0 := st0SeekEnd | unit
	f := c.drive(unit)
	if f == nil {
		st0 |= st0Abnormal | st0Check
	} else {
		f.seek(uint8(track))
	}
	c.none()
	c.r.Seeked |= 1 << unit
	c.r.Sense[0], c.r.SenseLen = st0, 1
	c.setIRQ(true)
}

func (c *Controller) senseInterrupt() {
	r := &c.r
	if r.SenseLen == 0 {
		c.result(st0Invalid)
		return
	}
	st0 := r.Sense[0]
	copy(r.Sense[:], r.Sense[1:])
	r.SenseLen--
	r.Seeked &^= 1 << (st0 & 3)
	var track uint8
	if f := c.drive(st0 & 3); f != nil {
		track = f.track
	}
	c.setIRQ(false)
	c.result(st0, track)
}

func (c *Controller) dump() {
	r := &c.r
	track := func(n uint8) uint8 {
		if f := c.drive(n); f != nil {
			return f.track
		}
		return 0
	}
	lock := uint8(0)
	if r.Locked {
		lock = 1 << 7
	}
	c.result(track(0), track(1), 0, 0, r.Specify[0], r.Specify[1], r.EOT, lock|r.Perp&0x7f, r.Config[0], r.Config[1])
}

// pio reports whether data go through the FIFO (SPECIFY's bit ND).
func (c *Controller) pio() bool { return c.r.Specify[1]&1 != 0 }
