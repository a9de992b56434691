package i8042

import "govmd/internal/runstate"

// Status register.
const (
	statOBF      = 0x01 // there is a byte to read
	statSystem   = 0x04 // the self-test has passed
	statCommand  = 0x08 // the last byte written was a command
	statUnlocked = 0x10 // the keyboard lock is open
	statAuxOBF   = 0x20 // the byte is from the mouse
)

// Mode, which IBM calls the command byte.
const (
	modeKbdInt   = 0x01
	modeAuxInt   = 0x02
	modeSystem   = 0x04
	modeKbdOff   = 0x10
	modeAuxOff   = 0x20
	modeTransl   = 0x40
	modeAtReset  = modeKbdInt | modeAuxInt
	ramSize      = 32 // the mode is its first byte
	ramIndexMask = ramSize - 1
)

// Commands to the controller.
const (
	cmdReadRAM     = 0x20 // to 0x3f
	cmdWriteRAM    = 0x60 // to 0x7f
	cmdPassword    = 0xa4 // is there one?
	cmdAuxOff      = 0xa7
	cmdAuxOn       = 0xa8
	cmdAuxTest     = 0xa9
	cmdSelfTest    = 0xaa
	cmdKbdTest     = 0xab
	cmdKbdOff      = 0xad
	cmdKbdOn       = 0xae
	cmdReadInput   = 0xc0
	cmdReadOutput  = 0xd0
	cmdWriteOutput = 0xd1
	cmdWriteKbdBuf = 0xd2
	cmdWriteAuxBuf = 0xd3
	cmdWriteAux    = 0xd4
	cmdA20Off      = 0xdd
	cmdA20On       = 0xdf
	cmdTestInputs  = 0xe0
	cmdPulse       = 0xf0 // to 0xff: pulls low the output port's bits that are 0
	selfTestPassed = 0x55
	noPassword     = 0xf1
	inputPort      = 0x80 // the lock is open
	outReset       = 0x01 // low resets the machine
	outA20         = 0x02
	outOBF         = 0x10
	outAuxOBF      = 0x20
	outAtReset     = 0xcf
	outKept        = 0xff &^ (outOBF | outAuxOBF)
)

// controller is the volatile state of the 8042 itself.
type controller struct {
	ram     [ramSize]uint8
	pending uint8 // command that waits for its argument, or 0
	command bool  // the last byte written was a command
	system  bool  // the self-test has passed
	out     uint8 // output port, without the bits that follow from the buffer

	buf    uint8 // the byte to read
	full   bool  // it has not been read
	aux    bool  // it is from the mouse
	broken bool  // translation: 0xf0 was seen, and the code that follows is a release

	answer    uint8 // the controller's own byte, which goes before the devices'
	answering bool
	answerAux bool
}

func (c *controller) reset() {
	*c = controller{out: outAtReset, command: true}
	c.ram[0] = modeAtReset
}

func (c *controller) mode() uint8 { return c.ram[0] }

func (c *controller) status() uint8 {
	s := uint8(statUnlocked)
	if c.full {
		s |= statOBF
		if c.aux {
			s |= statAuxOBF
		}
	}
	if c.command {
		s |= statCommand
	}
	if c.system || c.mode()&modeSystem != 0 {
		s |= statSystem
	}
	return s
}

func (c *controller) outputPort() uint8 {
	v := c.out
	if c.full && !c.aux {
		v |= outOBF
	}
	if c.full && c.aux {
		v |= outAuxOBF
	}
	return v
}

func (c *controller) say(b uint8, aux bool) { c.answer, c.answerAux, c.answering = b, aux, true }

// dataPort is port 0x60.
type dataPort struct{ d *Device }

// ReadIO implements memory.Handler.
func (p dataPort) ReadIO(uint64, int) uint64 {
	d := p.d
	d.mu.Lock()
	defer d.mu.Unlock()
	c := &d.ctl
	b := c.buf
	if c.full {
		c.full = false
		if !c.aux && d.throttle {
			d.delay.Set(d.Env().Clock.Virtual.Now() + throttleTime)
			d.delayed = true
		}
		d.drive() // low, so that the next byte makes an edge
		d.fill()
		d.drive()
	}
	return uint64(b)
}

// WriteIO implements memory.Handler.
func (p dataPort) WriteIO(_ uint64, _ int, v uint64) {
	d, b := p.d, uint8(v)
	d.mu.Lock()
	defer d.mu.Unlock()
	c := &d.ctl
	cmd := c.pending
	c.pending, c.command = 0, false
	switch {
	case cmd == 0:
		c.ram[0] &^= modeKbdOff // talking to a device enables it
		d.kbd.write(b)
		d.tellLEDs()
	case cmd == cmdWriteOutput:
		d.writeOutput(b)
	case cmd == cmdWriteKbdBuf:
		c.say(b, false)
	case cmd == cmdWriteAuxBuf:
		c.say(b, true)
	case cmd == cmdWriteAux:
		c.ram[0] &^= modeAuxOff
		d.aux.write(b)
	default: // cmdWriteRAM
		c.ram[cmd&ramIndexMask] = b
	}
	d.fill()
	d.drive()
}

// commandPort is port 0x64.
type commandPort struct{ d *Device }

// ReadIO implements memory.Handler.
func (p commandPort) ReadIO(uint64, int) uint64 {
	p.d.mu.Lock()
	defer p.d.mu.Unlock()
	return uint64(p.d.ctl.status())
}

// WriteIO implements memory.Handler.
func (p commandPort) WriteIO(_ uint64, _ int, v uint64) {
	p.d.mu.Lock()
	defer p.d.mu.Unlock()
	p.d.ctl.pending, p.d.ctl.command = 0, true
	p.d.runCommand(uint8(v))
	p.d.fill()
	p.d.drive()
}

func (d *Device) runCommand(b uint8) {
	traceCommand.Emit(b)
	c := &d.ctl
	switch b {
	case cmdPassword:
		c.say(noPassword, false)
	case cmdAuxOff:
		c.ram[0] |= modeAuxOff
	case cmdAuxOn:
		c.ram[0] &^= modeAuxOff
	case cmdAuxTest, cmdKbdTest, cmdTestInputs:
		c.say(0, false)
	case cmdSelfTest:
		c.system = true
		c.say(selfTestPassed, false)
	case cmdKbdOff:
		c.ram[0] |= modeKbdOff
	case cmdKbdOn:
		c.ram[0] &^= modeKbdOff
	case cmdReadInput:
		c.say(inputPort, false)
	case cmdReadOutput:
		c.say(c.outputPort(), false)
	case cmdWriteOutput, cmdWriteKbdBuf, cmdWriteAuxBuf, cmdWriteAux:
		c.pending = b
	case cmdA20Off:
		c.out &^= outA20
	case cmdA20On:
		c.out |= outA20
	default:
		switch {
		case b&^ramIndexMask == cmdReadRAM:
			c.say(c.ram[b&ramIndexMask], false)
		case b&^ramIndexMask == cmdWriteRAM:
			c.pending = b
		case b >= cmdPulse:
			if b&outReset == 0 {
				d.Env().Run.RequestReset(runstate.CauseGuestReset)
			}
		default:
			d.GuestErrorf("unknown command %#x", b)
		}
	}
}

// writeOutput writes the output port. A20 is always open, whatever its bit says.
func (d *Device) writeOutput(b uint8) {
	d.ctl.out = b & outKept
	if b&outReset == 0 {
		d.Env().Run.RequestReset(runstate.CauseGuestReset)
	}
}

// fill moves the next byte into the output buffer.
func (d *Device) fill() {
	c := &d.ctl
	for !c.full {
		switch {
		case c.answering:
			c.answering = false
			c.buf, c.aux, c.full = c.answer, c.answerAux, true
		case !d.kbd.empty() && c.mode()&modeKbdOff == 0 && !d.delayed:
			b := d.kbd.pop()
			if c.mode()&modeTransl != 0 {
				if b == prefixBreak {
					c.broken = true
					continue
				}
				b = translate(b)
				if c.broken {
					b |= 0x80
				}
			}
			c.broken = false
			c.buf, c.aux, c.full = b, false, true
		case !d.aux.empty() && c.mode()&modeAuxOff == 0:
			c.buf, c.aux, c.full = d.aux.pop(), true, true
			d.aux.stream() // motion may have waited for room
		default:
			return
		}
	}
}

// drive sets both interrupts.
func (d *Device) drive() {
	c := &d.ctl
	d.kbdLine.SetLevel(c.full && !c.aux && c.mode()&(modeKbdInt|modeKbdOff) == modeKbdInt)
	d.auxLine.SetLevel(c.full && c.aux && c.mode()&modeAuxInt != 0)
}
