package ata

import "encoding/binary"

// Profiles of drives and media (MMC-5, section 5.3.1).
const (
	profileNone = 0
	profileCD   = 0x08
	profileDVD  = 0x10

	maxCDBlocks = 80 * 60 * 75
)

func (c *packetDevice) profile() uint16 {
	switch n := c.blocks(); {
	case !c.inserted() || n == 0:
		return profileNone
	case n <= maxCDBlocks:
		return profileCD
	}
	return profileDVD
}

// getConfiguration is GET CONFIGURATION (section 6.6).
func (c *packetDevice) getConfiguration(p []byte) {
	kind, start, most := p[1]&3, be16(p[2:]), be16(p[7:])
	if kind == 3 {
		c.illegal()
		return
	}
	now := c.profile()
	current := func(on bool, flags byte) byte {
		if on {
			return flags | 1
		}
		return flags
	}
	features := [...]struct {
		code  int
		flags byte
		data  []byte
	}{
		{0x0000, 3, []byte{0, profileDVD, current(now == profileDVD, 0), 0, 0, profileCD, current(now == profileCD, 0), 0}},
		{0x0001, 3 | 2<<2, []byte{0, 0, 0, 2, 1, 0, 0, 0}}, // core: ATAPI, INQUIRY as in MMC
		{0x0002, 3 | 1<<2, []byte{2, 0, 0, 0}},             // morphing: operational changes are told
		{0x0003, 3 | 1<<2, []byte{0x29, 0, 0, 0}},          // removable: tray, lock, eject
		{0x0010, current(now != profileNone, 0), []byte{0, 0, 8, 0, 0, 1, 0, 0}},
		{0x001e, current(now == profileCD, 2<<2), []byte{0, 0, 0, 0}}, // CD read
		{0x001f, current(now == profileDVD, 0), []byte{}},             // DVD read
	}
	b := c.cleared(8 + 128)
	n := 8
	for _, f := range features {
		switch kind {
		case 0:
			if f.code < start {
				continue
			}
		case 1:
			if f.code < start || f.flags&1 == 0 {
				continue
			}
		case 2:
			if f.code != start {
				continue
			}
		}
		binary.BigEndian.PutUint16(b[n:], uint16(f.code))
		b[n+2], b[n+3] = f.flags, byte(len(f.data))
		n += 4 + copy(b[n+4:], f.data)
	}
	binary.BigEndian.PutUint32(b, uint32(n-4))
	binary.BigEndian.PutUint16(b[6:], now)
	c.reply(n, most)
}

// getEvent is GET EVENT STATUS NOTIFICATION (section 6.7): of media, by asking.
func (c *packetDevice) getEvent(p []byte) {
	const media = 4
	wanted, most := p[4], be16(p[7:])
	if p[1]&1 == 0 { // tell when something happens: not here
		c.illegal()
		return
	}
	b := c.cleared(8)
	b[3] = 1 << media
	if wanted&(1<<media) == 0 {
		b[1], b[2] = 2, 0x80 // none of those
		c.reply(4, most)
		return
	}
	b[1], b[2] = 6, media
	switch {
	case c.ejectRequest:
		b[4] = 1
		c.ejectRequest = false
	case c.newMedium:
		b[4] = 2
		c.newMedium = false
	}
	if c.open {
		b[5] |= 1
	}
	if c.inserted() && !c.open {
		b[5] |= 2
	}
	c.reply(8, most)
}

// readDVDStructure is READ DISC STRUCTURE (section 6.22) for DVDs.
func (c *packetDevice) readDVDStructure(p []byte) {
	layer, format, most := p[6], p[7], be16(p[8:])
	media := p[1] & 15
	if format == 0xff { // the list of formats needs no medium
		b := c.cleared(4 + 3*4)
		for i, f := range [...][2]byte{{0x00, 20}, {0x01, 4}, {0x04, 0}} {
			e := b[4+4*i:]
			e[0], e[1] = f[0], 0x40
			binary.BigEndian.PutUint16(e[2:], uint16(f[1])+4)
		}
		binary.BigEndian.PutUint16(b, uint16(len(b)-2))
		c.reply(len(b), most)
		return
	}
	switch {
	case media != 0:
		c.illegal()
		return
	case c.profile() == profileNone:
		c.fail(senseNotReady, ascNoMedium)
		return
	case c.profile() == profileCD:
		c.fail(senseIllegalRequest, ascIncompatibleFormat)
		return
	}
	switch format {
	case 0: // physical
		if layer != 0 {
			c.illegal()
			return
		}
		b := c.cleared(2052)
		b[4] = 1    // DVD-ROM, version 1
		b[5] = 0x0f // 12 cm, no least rate
		b[6] = 1    // one layer, read-only
		n := c.blocks()
		const first = 0x30000
		b[9] = first >> 16
		put24(b[13:], uint32(first+n-1))
		put24(b[17:], uint32(first+n-1))
		binary.BigEndian.PutUint16(b, uint16(2048+2))
		c.reply(len(b), most)
	case 1: // copyright: none
		b := c.cleared(8)
		b[1] = 6
		c.reply(8, most)
	case 4: // manufacturer
		b := c.cleared(2052)
		binary.BigEndian.PutUint16(b, uint16(2048+2))
		c.reply(len(b), most)
	default:
		c.illegal()
	}
}

func put24(p []byte, v uint32) { p[0], p[1], p[2] = byte(v>>16), byte(v>>8), byte(v) }

// modeSense is MODE SENSE (10) (SPC-3, section 6.10).
func (c *packetDevice) modeSense(p []byte) {
	control, page, most := p[2]>>6, p[2]&0x3f, be16(p[7:])
	if control == 3 {
		c.fail(senseIllegalRequest, ascSavingUnsupported)
		return
	}
	b := c.cleared(128)
	n := 8
	for _, want := range [...]byte{0x01, 0x0e, 0x2a} {
		if page == want || page == 0x3f {
			n += c.modePage(b[n:], want, control == 1)
		}
	}
	if n == 8 {
		c.illegal()
		return
	}
	binary.BigEndian.PutUint16(b, uint16(n-2))
	switch { // the medium type of old
	case c.open:
		b[2] = 0x71
	case c.profile() == profileNone:
		b[2] = 0x70
	default:
		b[2] = 0x01
	}
	c.reply(n, most)
}

// modePage puts a page, or with mask which of its bits can be changed (none), and
// returns its size.
func (c *packetDevice) modePage(b []byte, page byte, mask bool) int {
	var p []byte
	switch page {
	case 0x01: // error recovery
		p = []byte{0, 5, 0, 0, 0, 0}
	case 0x0e: // audio
		p = []byte{4, 0, 0, 0, 0, 0, 1, 0xff, 2, 0xff, 0, 0, 0, 0}
	case 0x2a: // capabilities
		p = make([]byte, 18)
		p[0] = 0x3b // reads CD-R, CD-RW, DVD-ROM, DVD-R
		p[2] = 0x70 // mode 2 form 1 and 2, sessions
		p[3] = 0x03 // raw frames
		p[4] = 0x29 // lock, eject, a tray
		if c.locked {
			p[4] |= 2
		}
		const kBs = 706 // 4x
		binary.BigEndian.PutUint16(p[6:], kBs)
		binary.BigEndian.PutUint16(p[8:], 2)    // volume levels
		binary.BigEndian.PutUint16(p[10:], 512) // KiB of buffer
		binary.BigEndian.PutUint16(p[12:], kBs)
	}
	b[0], b[1] = page, byte(len(p))
	if !mask {
		copy(b[2:], p)
	}
	return 2 + len(p)
}
