package i8259

import "math/bits"

// chip is one 8259A (Intel 231468), with the edge/level control register that
// chip sets add. It knows nothing of ports, lines or locks.
type chip struct {
	level uint8 // inputs that are high
	edge  uint8 // edges that were latched: requests of edge-triggered inputs
	isr   uint8
	imr   uint8
	elcr  uint8 // inputs that are level-triggered
	base  uint8 // ICW2: the vector of input 0

	lowest     uint8 // the input of lowest priority
	init       uint8 // which ICW is expected at the odd port; 0 for none
	needICW4   bool
	single     bool // ICW1: no cascade, so no ICW3
	autoEOI    bool
	rotateAEOI bool
	fullyNest  bool // ICW4: special fully nested mode
	special    bool // OCW3: special mask mode
	poll       bool // the next read is a poll
	readISR    bool

	wired   uint8 // inputs that are always level-triggered: the master's cascade
	elcrMay uint8 // inputs that may be made level-triggered
}

// Bits of the command words.
const (
	icw1       = 0x10 // tells ICW1 from OCW2 and OCW3
	icw1ICW4   = 0x01
	icw1Single = 0x02

	icw4AutoEOI   = 0x02
	icw4FullyNest = 0x10

	ocw3        = 0x08 // tells OCW3 from OCW2
	ocw3ReadISR = 0x01
	ocw3Read    = 0x02
	ocw3Poll    = 0x04
	ocw3Special = 0x20
	ocw3SetMask = 0x40

	pollRequest = 0x80 // in the answer to a poll: there was one
)

// reset is the state after power-on; inputs and what they are wired to stay.
func (c *chip) reset() {
	*c = chip{level: c.level, wired: c.wired, elcrMay: c.elcrMay, lowest: 7}
}

// set drives an input.
func (c *chip) set(input uint8, high bool) {
	bit := uint8(1) << input
	if !high {
		c.level &^= bit
		return
	}
	// The latch holds an edge until it is acknowledged, even if the input falls:
	// devices may send pulses.
	c.edge |= bit &^ c.level &^ (c.elcr | c.wired)
	c.level |= bit
}

func (c *chip) setELCR(v uint8) {
	c.elcr = v & c.elcrMay
	c.edge &^= c.elcr
}

// irr returns the interrupt requests.
func (c *chip) irr() uint8 { return c.edge | c.level&(c.elcr|c.wired) }

// rank returns how urgent the most urgent of the given inputs is, 0 being most
// so and 8 meaning none.
func (c *chip) rank(inputs uint8) int {
	return bits.TrailingZeros16(uint16(bits.RotateLeft8(inputs, -int(c.lowest+1)&7)) | 1<<8)
}

// pending returns the input to be served next.
func (c *chip) pending() (input uint8, ok bool) {
	serving := c.isr
	if c.special {
		serving &^= c.imr
	}
	r, now := c.rank(c.irr()&^c.imr), c.rank(serving)
	input = c.input(r)
	if r < now || r == now && r < 8 && c.fullyNest && c.wired>>input&1 != 0 {
		return input, true // fully nested, a slave is served again for its more urgent inputs
	}
	return 0, false
}

// input returns the input of that rank.
func (c *chip) input(rank int) uint8 { return uint8(rank+int(c.lowest)+1) & 7 }

// acknowledge takes a pending input into service.
func (c *chip) acknowledge(input uint8) {
	bit := uint8(1) << input
	c.edge &^= bit
	if !c.autoEOI {
		c.isr |= bit
	} else if c.rotateAEOI {
		c.lowest = input
	}
}

// read answers a read of the even (0) or odd (1) port.
func (c *chip) read(port uint64) uint8 {
	switch {
	case c.poll:
		c.poll = false
		input, ok := c.pending()
		if !ok {
			return 0
		}
		c.acknowledge(input)
		return pollRequest | input
	case port == 1:
		return c.imr
	case c.readISR:
		return c.isr
	}
	return c.irr()
}

// write takes a command word. It reports whether the chip knows it.
func (c *chip) write(port uint64, v uint8) bool {
	switch {
	case port == 1:
		c.writeOdd(v)
	case v&icw1 != 0:
		c.initialize(v)
	case v&ocw3 != 0:
		c.writeOCW3(v)
	default:
		return c.writeOCW2(v)
	}
	return true
}

func (c *chip) initialize(v uint8) {
	level, elcr := c.level, c.elcr
	c.reset()
	// What was latched is forgotten: an edge-triggered input must fall first.
	c.level, c.elcr = level, elcr
	c.init = 2
	c.needICW4, c.single = v&icw1ICW4 != 0, v&icw1Single != 0
}

func (c *chip) writeOdd(v uint8) {
	switch c.init {
	case 0:
		c.imr = v
	case 2:
		c.base = v &^ 7
		switch {
		case !c.single:
			c.init = 3
		case c.needICW4:
			c.init = 4
		default:
			c.init = 0
		}
	case 3: // which input the slave is on: that is wired
		c.init = 0
		if c.needICW4 {
			c.init = 4
		}
	case 4:
		c.init = 0
		c.autoEOI, c.fullyNest = v&icw4AutoEOI != 0, v&icw4FullyNest != 0
	}
}

func (c *chip) writeOCW3(v uint8) {
	if v&ocw3Poll != 0 {
		c.poll = true
	}
	if v&ocw3Read != 0 {
		c.readISR = v&ocw3ReadISR != 0
	}
	if v&ocw3SetMask != 0 {
		c.special = v&ocw3Special != 0
	}
}

// The commands of OCW2, its bits 5 to 7.
const (
	rotateAEOIOff = iota
	endNonSpecific
	noOperation
	endSpecific
	rotateAEOIOn
	endRotate
	setPriority
	endSpecificRotate
)

func (c *chip) writeOCW2(v uint8) bool {
	input := v & 7
	switch cmd := v >> 5; cmd {
	case rotateAEOIOff, rotateAEOIOn:
		c.rotateAEOI = cmd == rotateAEOIOn
	case endNonSpecific, endRotate:
		serving := c.isr
		if c.special {
			serving &^= c.imr // 231468, "special mask mode": masked bits are not cleared
		}
		r := c.rank(serving)
		if r == 8 {
			break
		}
		input = c.input(r)
		c.isr &^= 1 << input
		if cmd == endRotate {
			c.lowest = input
		}
	case endSpecific:
		c.isr &^= 1 << input
	case endSpecificRotate:
		c.isr &^= 1 << input
		c.lowest = input
	case setPriority:
		c.lowest = input
	case noOperation:
		return false
	}
	return true
}
