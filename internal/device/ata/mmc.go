package ata

import (
	"encoding/binary"

	"govmd/internal/device/scsi/mmc"
	"govmd/internal/device/scsi/sense"
)

// packetCommand is a command of SPC-3 or MMC-5.
type packetCommand struct {
	run     func(c *packetDevice, p []byte)
	anyTime bool // is not failed by a unit attention
	medium  bool // needs a medium
}

var packetCommands = [256]packetCommand{
	0x00: {run: (*packetDevice).testUnitReady, medium: true},
	0x03: {run: (*packetDevice).requestSense, anyTime: true},
	0x12: {run: (*packetDevice).inquiry, anyTime: true},
	0x1b: {run: (*packetDevice).startStop},
	0x1e: {run: (*packetDevice).preventRemoval},
	0x25: {run: (*packetDevice).readCapacity, medium: true},
	0x28: {run: (*packetDevice).read10, medium: true},
	0x2b: {run: (*packetDevice).seek, medium: true},
	0x43: {run: answer(mmc.ReadTOC), medium: true},
	0x46: {run: answer(mmc.GetConfiguration), anyTime: true},
	0x4a: {run: answer(mmc.GetEvent), anyTime: true},
	0x51: {run: answer(mmc.DiscInformation), medium: true},
	0x52: {run: answer(mmc.TrackInformation), medium: true},
	0x5a: {run: (*packetDevice).modeSense},
	0xa8: {run: (*packetDevice).read12, medium: true},
	0xad: {run: answer(mmc.DiscStructure)},
	0xbb: {run: (*packetDevice).setSpeed},
	0xbd: {run: answer(mmc.MechanismStatus)},
	0xb9: {run: (*packetDevice).readCDMSF, medium: true},
	0xbe: {run: (*packetDevice).readCD, medium: true},
}

// answer is a command of which mmc makes the reply.
func answer(reply mmc.Reply) func(*packetDevice, []byte) {
	return func(c *packetDevice, p []byte) {
		s := c.state()
		n, refused := reply(&s, c.d.buffer(), p)
		c.newMedium, c.ejectRequest = s.NewMedium, s.EjectRequest
		if refused != sense.None {
			c.fail(refused)
			return
		}
		c.reply(n)
	}
}

// state is what mmc needs to know.
func (c *packetDevice) state() mmc.Drive {
	return mmc.Drive{
		Blocks: c.blocks(), Inserted: c.inserted(), Open: c.open, Locked: c.locked,
		NewMedium: c.newMedium, EjectRequest: c.ejectRequest, Interface: mmc.InterfaceATAPI,
	}
}

func (c *packetDevice) illegal() { c.fail(sense.InvalidField) }

// cleared returns the buffer's first n bytes, zero.
func (c *packetDevice) cleared(n int) []byte {
	p := c.d.buffer()[:n]
	clear(p)
	return p
}

func (c *packetDevice) testUnitReady([]byte) { c.ok() }

func (c *packetDevice) requestSense(p []byte) {
	n := c.sense.PutFixed(c.d.buffer())
	c.reply(min(n, int(p[4])))
}

func (c *packetDevice) inquiry(p []byte) {
	most := be16(p[3:])
	if p[1]&1 != 0 {
		c.vitalData(p[2], most)
		return
	}
	if p[2] != 0 {
		c.illegal()
		return
	}
	b := c.cleared(36)
	b[0] = 5    // CD-ROM
	b[1] = 0x80 // removable
	b[3] = 0x21 // ATAPI-2, format of MMC
	b[4] = 31
	pad(b[8:16], "QEMU")
	pad(b[16:32], c.d.id.model)
	pad(b[32:36], c.d.id.version)
	c.reply(min(36, most))
}

func pad(p []byte, s string) {
	for i := range p {
		p[i] = ' '
	}
	copy(p, s)
}

// vitalData is INQUIRY with EVPD: the list of pages, and the device's identification.
func (c *packetDevice) vitalData(page byte, most int) {
	b := c.cleared(256)
	b[0], b[1] = 5, page
	n := 4
	switch page {
	case 0x00:
		b[4], b[5] = 0x00, 0x83
		n = 6
	case 0x83:
		n += designator(b[n:], 2, 0, []byte(c.d.id.serial))
		t10 := append([]byte("ATA     "), make([]byte, 60)...)
		pad(t10[8:48], c.d.id.model)
		pad(t10[48:68], c.d.id.serial)
		n += designator(b[n:], 2, 1, t10)
		if c.d.id.wwn != 0 {
			n += designator(b[n:], 1, 3, binary.BigEndian.AppendUint64(nil, c.d.id.wwn))
		}
	default:
		c.illegal()
		return
	}
	b[3] = byte(n - 4)
	c.reply(min(n, most))
}

func designator(p []byte, code, kind byte, data []byte) int {
	p[0], p[1], p[3] = code, kind, byte(len(data))
	return 4 + copy(p[4:], data)
}

// startStop moves the tray, if it is asked to.
func (c *packetDevice) startStop(p []byte) {
	start, load := p[4]&1 != 0, p[4]&2 != 0
	if p[4]>>4 != 0 || !load { // power conditions, and the motor
		c.ok()
		return
	}
	if !start && !c.open && c.locked {
		why := sense.RemovalPrevented
		if c.inserted() {
			why = sense.NotReadyLocked
		}
		c.fail(why)
		return
	}
	if open := !start; c.open != open {
		c.open = open
		c.ejectRequest = false
		if start {
			c.newMedium = c.inserted()
		}
		c.d.drive.PublishTray(open)
	}
	c.ok()
}

func (c *packetDevice) preventRemoval(p []byte) {
	c.locked = p[4]&1 != 0
	c.ok()
}

func (c *packetDevice) readCapacity([]byte) {
	b := c.cleared(8)
	binary.BigEndian.PutUint32(b, uint32(c.blocks()-1))
	binary.BigEndian.PutUint32(b[4:], mmc.SectorSize)
	c.reply(8)
}

func (c *packetDevice) read10(p []byte) { c.read(be32(p[2:]), int64(be16(p[7:])), 0) }
func (c *packetDevice) read12(p []byte) { c.read(be32(p[2:]), be32(p[6:]), 0) }

func (c *packetDevice) seek(p []byte) {
	if be32(p[2:]) >= c.blocks() {
		c.fail(sense.LBAOutOfRange)
		return
	}
	c.ok()
}

func (c *packetDevice) setSpeed([]byte) { c.ok() }

// readCD is READ CD (MMC-5, section 6.19): p[9] says which parts of a frame are wanted.
func (c *packetDevice) readCD(p []byte) {
	n := int64(p[6])<<16 | int64(p[7])<<8 | int64(p[8])
	c.readFrames(be32(p[2:]), n, p[9]&0xf8)
}

// readCDMSF is the same with minutes, seconds and frames.
func (c *packetDevice) readCDMSF(p []byte) {
	from, to := mmc.LBA(p[3:]), mmc.LBA(p[6:])
	if from < 0 || to < from {
		c.illegal()
		return
	}
	c.readFrames(from, to-from, p[9]&0xf8)
}

func (c *packetDevice) readFrames(lba, n int64, parts byte) {
	switch parts {
	case 0x00: // nothing
		c.ok()
	case 0x10: // user data
		c.read(lba, n, 0)
	case 0xf8, 0x78, 0xb8, 0xa0, 0xb0, 0xe0, 0xf0: // the whole frame, or as good as that
		c.read(lba, n, 0xf8)
	default:
		c.fail(sense.IllegalMode)
	}
}

const frameSize = 2352

// frames makes n raw frames of mode 1 (ECMA-130, section 14) at the buffer's start of
// the sectors at its end, and returns their size. The error correction is left
// zero: nobody has a use for it.
func (c *packetDevice) frames(n int) int {
	p := c.d.buffer()
	data := c.d.cdData(n)
	for i := range n {
		f := p[i*frameSize : (i+1)*frameSize]
		sector := data[i*mmc.SectorSize : (i+1)*mmc.SectorSize]
		copy(f[16:], sector)
		clear(f[16+mmc.SectorSize:])
		f[0], f[11] = 0, 0
		for j := 1; j <= 10; j++ {
			f[j] = 0xff
		}
		m, s, fr := mmc.MSF(c.d.task.lba + int64(i))
		f[12], f[13], f[14], f[15] = bcd(m), bcd(s), bcd(fr), 1
	}
	return n * frameSize
}

func bcd(v byte) byte { return v/10%10<<4 | v%10 }

// modeSense is MODE SENSE (10) (SPC-3, section 6.10).
func (c *packetDevice) modeSense(p []byte) {
	control, page, most := p[2]>>6, p[2]&0x3f, be16(p[7:])
	if control == 3 {
		c.fail(sense.SavingUnsupported)
		return
	}
	s := c.state()
	b := c.cleared(128)
	n := 8
	for _, want := range [...]byte{0x01, 0x0e, 0x2a} {
		if page == want || page == 0x3f {
			n += mmc.ModePage(&s, b[n:], want, control == 1)
		}
	}
	if n == 8 {
		c.illegal()
		return
	}
	binary.BigEndian.PutUint16(b, uint16(n-2))
	b[2] = s.MediumType()
	c.reply(min(n, most))
}
