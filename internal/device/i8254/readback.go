package i8254

// Bits of the control word and of the status byte.
const (
	controlBCD = 1

	// In a read-back command (counter 3 of the control word):
	readBackNoStatus = 1 << 4
	readBackNoCount  = 1 << 5

	statusNull = 1 << 6
	statusOut  = 1 << 7
)

// latch keeps the count for the reads to come; it is not replaced before it has
// been read.
func (c *counter) latch(t int64) {
	c.catchUp(t)
	if c.latchBytes == 0 {
		c.latched, c.latchBytes = c.value(t), bytesOf(c.access)
		c.halfRead = false
	}
}

// latchStatus keeps the status for the next read.
func (c *counter) latchStatus(t int64) {
	c.catchUp(t)
	if !c.hasStatus {
		c.status, c.hasStatus = c.statusByte(t), true
	}
}

func (c *counter) statusByte(t int64) uint8 {
	s := c.access<<4 | c.mode<<1
	if c.bcd {
		s |= controlBCD
	}
	if c.null {
		s |= statusNull
	}
	if c.outputAt(t) {
		s |= statusOut
	}
	return s
}

// read returns the next byte: of the status or count that is latched, or of the
// count as it is.
func (c *counter) read(t int64) uint8 {
	c.catchUp(t)
	if c.hasStatus {
		c.hasStatus = false
		return c.status
	}
	if c.latchBytes > 0 {
		v := c.latched
		if c.access == accessHigh || c.access == accessBoth && c.latchBytes == 1 {
			v >>= 8
		}
		c.latchBytes--
		return uint8(v)
	}
	v := c.value(t)
	switch c.access {
	case accessHigh:
		v >>= 8
	case accessBoth:
		if c.halfRead {
			v >>= 8
		}
		c.halfRead = !c.halfRead
	}
	return uint8(v)
}
