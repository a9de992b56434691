package i8254

// counter is one counter of an 8254 (Intel 231164). It knows no clock: its
// methods take the current time in ticks of its input clock, which never goes
// back. What is asked for during a tick happens at the next, as in hardware;
// catchUp makes it so.
type counter struct {
	mode   uint8 // 0 to 5
	access uint8 // which bytes reads and writes transfer: accessLow...
	bcd    bool
	gate   bool

	// The counting element. While it counts it was loaded with count at tick
	// start; while it is held it has counted elapsed ticks since then.
	loaded  bool
	count   int64 // 1 to 65536, or 10000 in BCD
	start   int64
	held    bool
	elapsed int64
	high    bool   // mode 3: the half that begins at start has a high output
	frozen  uint16 // what it holds while it was never loaded

	// The count register.
	reload    int64 // as count; 0 while none was written
	null      bool  // the counting element has not taken it yet
	loadAt    int64 // when it takes it, or never
	lowByte   uint8 // of a count whose high byte is to come
	halfWrite bool  // it is to come; in mode 0 nothing counts until then

	// The read side.
	halfRead   bool // the next read is of the high byte
	latched    uint16
	latchBytes uint8 // bytes of latched that are to be read
	status     uint8
	hasStatus  bool // the next read is of the status
}

const never = int64(-1)

// Access modes, as the control word has them.
const (
	accessLow  = 1
	accessHigh = 2
	accessBoth = 3
)

// modulus is the number of values that the counting element has.
func (c *counter) modulus() int64 {
	if c.bcd {
		return 10000
	}
	return 1 << 16
}

// control programs the counter: it stops until a count is written, and what was
// latched is gone.
func (c *counter) control(t int64, access, mode uint8, bcd bool) {
	c.catchUp(t)
	*c = counter{mode: mode, access: access, bcd: bcd, gate: c.gate,
		frozen: c.value(t), null: true, loadAt: never}
}

func bytesOf(access uint8) uint8 {
	if access == accessBoth {
		return 2
	}
	return 1
}

// catchUp does what was to happen until tick t.
func (c *counter) catchUp(t int64) {
	if c.loadAt == never || c.loadAt > t {
		return
	}
	if c.mode == 3 {
		// At the end of a half the output changes; a trigger begins with high.
		c.high = !(c.loaded && !c.held && c.loadAt > c.start && c.outputAt(c.loadAt-1))
	}
	c.loaded, c.count, c.start, c.null = true, c.reload, c.loadAt, false
	c.elapsed = 0
	c.held = !c.gate && c.gated()
	c.loadAt = never
}

// gated reports whether a low gate stops the counting: in the other modes it
// only triggers.
func (c *counter) gated() bool { return c.mode != 1 && c.mode != 5 }

// passed returns the ticks since the counting element was loaded.
func (c *counter) passed(t int64) int64 {
	if c.held {
		return c.elapsed
	}
	return t - c.start
}

// value returns what the counting element holds at tick t, as a guest reads it.
func (c *counter) value(t int64) uint16 {
	if !c.loaded {
		return c.frozen
	}
	e := c.passed(t)
	var v int64
	switch c.mode {
	case 2:
		v = c.count - e%c.count
	case 3:
		_, into, _ := c.half(e)
		v = c.count&^1 - 2*into
	default:
		m := c.modulus()
		v = (c.count - e%m + m) % m
	}
	if c.bcd {
		v %= 10000
		v = v%10 | v/10%10<<4 | v/100%10<<8 | v/1000<<12
	}
	return uint16(v)
}

// half returns where mode 3 is after e ticks: whether the output is high, the
// ticks since it has become so and those until it changes.
func (c *counter) half(e int64) (high bool, into, left int64) {
	first := (c.count + 1) / 2 // an odd count is high for a tick more than low
	if !c.high {
		first = c.count / 2
	}
	p := e % c.count
	if p < first {
		return c.high, p, first - p
	}
	return !c.high, p - first, c.count - p
}

// output returns the level of OUT at tick t.
func (c *counter) output(t int64) bool {
	c.catchUp(t)
	return c.outputAt(t)
}

func (c *counter) outputAt(t int64) bool {
	if !c.loaded {
		return c.mode != 0
	}
	e := c.passed(t)
	switch c.mode {
	case 0:
		return !c.halfWrite && c.loadAt == never && e >= c.count
	case 1:
		return e >= c.count
	case 2:
		return c.held || c.count == 1 || e%c.count != c.count-1
	case 3:
		high, _, _ := c.half(e)
		return c.held || c.count == 1 || high
	}
	return e != c.count
}

// periodic reports whether the counter counts over and over. A count of 1 is
// illegal there: its output stays high.
func (c *counter) periodic() bool { return (c.mode == 2 || c.mode == 3) && c.count > 1 }

// nextChange returns the first tick after t at which OUT may change by itself,
// or never.
func (c *counter) nextChange(t int64) int64 {
	c.catchUp(t)
	next := c.runChange(t)
	if c.loadAt != never && (next == never || c.loadAt < next) {
		return c.loadAt
	}
	return next
}

func (c *counter) runChange(t int64) int64 {
	if !c.loaded || c.held {
		return never
	}
	e := c.passed(t)
	switch {
	case c.mode == 2 && c.periodic():
		if p := e % c.count; p < c.count-1 {
			return t + c.count - 1 - p
		}
		return t + 1
	case c.mode == 3 && c.periodic():
		_, _, left := c.half(e)
		return t + left
	case c.mode == 2 || c.mode == 3:
		return never
	case e < c.count:
		return t + c.count - e
	case e == c.count && c.mode >= 4:
		return t + 1
	}
	return never
}

// write takes a byte of a count.
func (c *counter) write(t int64, v uint8) {
	c.catchUp(t)
	switch {
	case c.access == accessLow:
		c.setReload(t, int64(v))
	case c.access == accessHigh:
		c.setReload(t, int64(v)<<8)
	case !c.halfWrite:
		c.lowByte, c.halfWrite = v, true
		if c.mode == 0 {
			c.stop(t)
		}
	default:
		c.halfWrite = false
		c.setReload(t, int64(v)<<8|int64(c.lowByte))
	}
}

// stop keeps mode 0 from counting between the two bytes of a count.
func (c *counter) stop(t int64) {
	c.loadAt = never
	if c.loaded && !c.held {
		c.elapsed, c.held = t-c.start, true
	}
}

func (c *counter) setReload(t int64, v int64) {
	if c.bcd {
		v = v&15 + v>>4&15*10 + v>>8&15*100 + v>>12&15*1000
		v = min(v, 9999) // digits beyond 9 are none
	}
	if v == 0 {
		v = c.modulus()
	}
	c.reload, c.null = v, true
	switch c.mode {
	case 0, 4:
		c.loadAt = t + 1
	case 1, 5: // at the next trigger
	case 2, 3:
		switch {
		case !c.loaded:
			c.loadAt = t + 1
		case c.held: // at the next trigger
		case c.loadAt == never:
			c.loadAt = c.cycleEnd(t)
		}
	}
}

// cycleEnd returns the first tick after t at which modes 2 and 3 take a new count.
func (c *counter) cycleEnd(t int64) int64 {
	if c.count == 1 {
		return t + 1
	}
	e := c.passed(t)
	if c.mode == 3 {
		_, _, left := c.half(e)
		return t + left
	}
	return t + c.count - e%c.count
}

// setGate drives the gate.
func (c *counter) setGate(t int64, high bool) {
	c.catchUp(t)
	if c.gate == high {
		return
	}
	c.gate = high
	switch {
	case !c.gated():
		if high && c.reload != 0 {
			c.loadAt = t + 1
		}
	case !high:
		if c.loaded && !c.held {
			c.elapsed, c.held = t-c.start, true
		}
		if c.loaded && (c.mode == 2 || c.mode == 3) {
			c.loadAt = never // the trigger that ends this loads
		}
	case c.mode == 2 || c.mode == 3:
		if c.reload != 0 {
			c.loadAt = t + 1
		}
	case c.loaded && !c.halfWriteStops():
		c.start, c.held = t-c.elapsed, false
	}
}

// halfWriteStops reports whether mode 0 waits for the second byte of a count.
func (c *counter) halfWriteStops() bool { return c.mode == 0 && c.halfWrite }
