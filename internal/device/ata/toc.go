package ata

import "encoding/binary"

// leadOut is the number of the track after the last.
const leadOut = 0xaa

// address puts a block's address, as such or in minutes, seconds and frames.
func address(p []byte, lba int64, asMSF bool) {
	if asMSF {
		p[0] = 0
		p[1], p[2], p[3] = msf(lba)
		return
	}
	binary.BigEndian.PutUint32(p, uint32(lba))
}

// readTOC is READ TOC/PMA/ATIP (MMC-5, section 6.25): there is one session with one
// data track.
func (c *packetDevice) readTOC(p []byte) {
	asMSF, start, most := p[1]&2 != 0, p[6], be16(p[7:])
	format := p[2] & 15
	if format == 0 {
		format = p[9] >> 6
	}
	switch format {
	case 0:
		if start > 1 && start != leadOut {
			c.illegal()
			return
		}
		b := c.cleared(20)
		b[2], b[3] = 1, 1
		n := 4
		if start <= 1 {
			b[n+1], b[n+2] = 0x14, 1 // data, track 1
			address(b[n+4:], 0, asMSF)
			n += 8
		}
		b[n+1], b[n+2] = 0x16, leadOut
		address(b[n+4:], c.blocks(), asMSF)
		n += 8
		binary.BigEndian.PutUint16(b, uint16(n-2))
		c.reply(n, most)
	case 1: // sessions
		b := c.cleared(12)
		b[1], b[2], b[3] = 10, 1, 1
		b[5], b[6] = 0x14, 1
		address(b[8:], 0, asMSF)
		c.reply(12, most)
	case 2:
		c.fullTOC(start, most)
	default:
		c.illegal()
	}
}

// fullTOC is what is in the lead-in: first and last track, the lead-out, the track.
func (c *packetDevice) fullTOC(session byte, most int) {
	if session > 1 {
		c.illegal()
		return
	}
	b := c.cleared(4 + 4*11)
	b[2], b[3] = 1, 1
	n := 4
	entry := func(point byte, m, s, f byte) {
		e := b[n : n+11]
		e[0], e[1], e[3] = 1, 0x14, point
		e[8], e[9], e[10] = m, s, f
		n += 11
	}
	entry(0xa0, 1, 0, 0)
	entry(0xa1, 1, 0, 0)
	m, s, f := msf(c.blocks())
	entry(0xa2, m, s, f)
	m, s, f = msf(0)
	entry(1, m, s, f)
	binary.BigEndian.PutUint16(b, uint16(n-2))
	c.reply(n, most)
}

// readDiscInformation is READ DISC INFORMATION (section 6.21), of a disc that is complete.
func (c *packetDevice) readDiscInformation(p []byte) {
	if p[1]&7 != 0 {
		c.illegal()
		return
	}
	b := c.cleared(34)
	b[1] = 32
	b[2] = 0x0e // complete, last session too
	b[3], b[4], b[5], b[6] = 1, 1, 1, 1
	b[7] = 0x20 // may be used without restriction
	for i := 16; i < 24; i++ {
		b[i] = 0xff
	}
	c.reply(34, be16(p[7:]))
}

// readTrackInformation is READ TRACK INFORMATION (section 6.26).
func (c *packetDevice) readTrackInformation(p []byte) {
	n := be32(p[2:])
	switch p[1] & 3 {
	case 0:
		if n >= c.blocks() {
			c.fail(senseIllegalRequest, ascLBAOutOfRange)
			return
		}
	default:
		if n != 1 {
			c.illegal()
			return
		}
	}
	b := c.cleared(36)
	b[1] = 34
	b[2], b[3] = 1, 1
	b[5], b[6] = 4, 1 // data, mode 1
	binary.BigEndian.PutUint32(b[24:], uint32(c.blocks()))
	c.reply(36, be16(p[7:]))
}
