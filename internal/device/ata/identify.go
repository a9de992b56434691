package ata

import (
	"encoding/binary"
	"math/bits"
)

// words builds identify data: 256 words.
type words []byte

func (w words) set(n int, v uint16)   { binary.LittleEndian.PutUint16(w[2*n:], v) }
func (w words) get(n int) uint16      { return binary.LittleEndian.Uint16(w[2*n:]) }
func (w words) set32(n int, v uint32) { binary.LittleEndian.PutUint32(w[2*n:], v) }
func (w words) set64(n int, v uint64) { binary.LittleEndian.PutUint64(w[2*n:], v) }
func (w words) or(n int, v uint16)    { w.set(n, w.get(n)|v) }
func (w words) setWWN(n int, v uint64) {
	for i := range 4 {
		w.set(n+i, uint16(v>>(48-16*i)))
	}
}

// text puts characters into count words, the first of each in its upper byte.
func (w words) text(n, count int, s string) {
	for i := range 2 * count {
		c := byte(' ')
		if i < len(s) {
			c = s[i]
		}
		w[2*n+(i^1)] = c
	}
}

const (
	always14 = 1 << 14 // words that are valid have it set, and bit 15 clear

	featureSMART     = 1 << 0
	featureSecurity  = 1 << 1
	featureCache     = 1 << 5
	featureNOP       = 1 << 14
	featureLBA48     = 1 << 10
	featureFlush     = 1 << 12
	featureFlushExt  = 1 << 13
	featureWWN       = 1 << 8
	featureWriteFUA  = 1 << 6
	featureGPL       = 1 << 5
	securityOK       = 1 << 0
	securityFrozen   = 1 << 3
	transfersSingle  = 0x07
	transfersMulti   = 0x07
	transfersUDMA    = 0x3f // modes 0 to 5
	queueDepth       = 32
	majorVersions    = 0xf0 // ATA-4 to ATA-7
	minorVersion     = 0x16 // ATA/ATAPI-6
	blockPIOCycle    = 120  // ns
	cable80          = 0x6001
	capabilityDMA    = 1 << 8
	capabilityLBA    = 1 << 9
	capabilityIORDY  = 1 << 11
	deterministicTrm = 1 << 14
)

// identifyDisk fills IDENTIFY DEVICE data (section 7.12).
func (d *Drive) identifyDisk(p []byte) {
	clear(p)
	w := words(p)
	sectors := d.Sectors()
	w.set(0, 0x0040) // fixed
	w.set(1, uint16(d.geo.Cylinders))
	w.set(3, uint16(d.geo.Heads))
	w.set(4, uint16(SectorSize*d.geo.Sectors))
	w.set(5, SectorSize)
	w.set(6, uint16(d.geo.Sectors))
	d.identifyNames(w)
	w.set(20, 3)
	w.set(21, 512)
	w.set(22, 4)
	w.set(47, 0x8000|maxMultiple)
	w.set(48, 1)
	w.set(49, capabilityIORDY|capabilityLBA|capabilityDMA)
	w.set(50, always14)
	w.set(51, 0x200)
	w.set(52, 0x200)
	w.set(53, 7)
	cyls := uint32(0)
	if per := d.heads * d.secs; per > 0 {
		cyls = uint32(min(int64(d.geo.Cylinders)*int64(d.geo.Heads)*int64(d.geo.Sectors)/int64(per), 65535))
	}
	w.set(54, uint16(cyls))
	w.set(55, uint16(d.heads))
	w.set(56, uint16(d.secs))
	w.set32(57, cyls*uint32(d.heads)*uint32(d.secs))
	if d.multiple > 0 {
		w.set(59, 0x100|uint16(d.multiple))
	}
	w.set32(60, uint32(min(sectors, lba28Sectors)))
	w.set(62, transfersSingle)
	w.set(63, transfersMulti)
	w.set(64, 3)
	for n := 65; n <= 68; n++ {
		w.set(n, blockPIOCycle)
	}
	if d.canDiscard() {
		w.set(69, deterministicTrm)
		w.set(105, 1) // blocks of a DATA SET MANAGEMENT
		w.set(169, 1)
	}
	if d.ncq {
		w.set(75, queueDepth-1)
		w.set(76, 1<<8|1<<1|1<<2) // NCQ, 1.5 and 3 Gb/s
	}
	w.set(80, majorVersions)
	w.set(81, minorVersion)
	w.set(82, featureNOP|featureCache|featureSecurity|featureSMART)
	w.set(83, always14|featureFlushExt|featureFlush|featureLBA48)
	w.set(84, always14|featureWriteFUA|featureGPL)
	w.set(85, featureNOP|featureSecurityOff)
	if d.drive.WriteCache() {
		w.or(85, featureCache)
	}
	if d.smart.enabled {
		w.or(85, featureSMART)
	}
	w.set(86, featureFlushExt|featureFlush|featureLBA48)
	w.set(87, always14|featureWriteFUA|featureGPL)
	d.identifyTransfer(w)
	w.set64(100, uint64(sectors))
	if exp := bits.TrailingZeros64(d.conf.PhysicalBlock / SectorSize); exp > 0 && exp < 16 {
		w.set(106, 0x6000|uint16(exp))
	}
	d.identifyWWN(w)
	w.set(128, securityOK|securityFrozen)
	w.set(217, d.id.rotation)
	p[510] = 0xa5 // the integrity word, 255
	setSum(p)
}

const featureSecurityOff = 0 // supported, and no password set

// identifyPacketDevice fills IDENTIFY PACKET DEVICE data (section 7.13).
func (d *Drive) identifyPacketDevice(p []byte) {
	clear(p)
	w := words(p)
	w.set(0, 0x85c0) // packets of 12 bytes, CD-ROM, removable, DRQ within 50 us
	d.identifyNames(w)
	w.set(20, 3)
	w.set(21, 512)
	w.set(22, 4)
	w.set(48, 1)
	w.set(49, capabilityLBA|capabilityDMA)
	w.set(53, 7)
	w.set(62, transfersSingle)
	w.set(63, transfersMulti)
	w.set(64, 1)
	w.set(65, 0xb4)
	w.set(66, 0xb4)
	w.set(67, 0x12c)
	w.set(68, 0xb4)
	w.set(71, 30)
	w.set(72, 30)
	w.set(80, 0x1e)
	d.identifyTransfer(w)
	d.identifyWWN(w)
	if d.sata {
		w.set(76, 1<<1|1<<2)
	}
}

func (d *Drive) identifyNames(w words) {
	w.text(10, 10, d.id.serial)
	w.text(23, 4, d.id.version)
	w.text(27, 20, d.id.model)
}

// identifyTransfer shows which transfer mode is in use.
func (d *Drive) identifyTransfer(w words) {
	w.set(88, transfersUDMA)
	w.set(93, cable80)
	switch mode := d.xfer & 7; d.xfer >> 3 {
	case 2:
		w.or(62, 0x100<<mode)
	case 4:
		w.or(63, 0x100<<mode)
	case 8:
		w.or(88, 0x100<<mode)
	}
}

func (d *Drive) identifyWWN(w words) {
	if d.id.wwn == 0 {
		return
	}
	w.or(84, always14|featureWWN)
	w.or(87, always14|featureWWN)
	w.setWWN(108, d.id.wwn)
}
