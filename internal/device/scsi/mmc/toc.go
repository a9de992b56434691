package mmc

import (
	"encoding/binary"

	"govmd/internal/device/scsi/sense"
)

const (
	leadOut = 0xaa // number of the track after the last
	pregap  = 150  // frames before block 0
)

// MSF returns a block's address in minutes, seconds and frames.
func MSF(lba int64) (m, s, f byte) {
	lba += pregap
	return byte(lba / 75 / 60), byte(lba / 75 % 60), byte(lba % 75)
}

// LBA is the block at an address of three bytes: minutes, seconds and frames.
func LBA(msf []byte) int64 { return (int64(msf[0])*60+int64(msf[1]))*75 + int64(msf[2]) - pregap }

// address puts a block's address, as such or in minutes, seconds and frames.
func address(p []byte, lba int64, asMSF bool) {
	if asMSF {
		p[0] = 0
		p[1], p[2], p[3] = MSF(lba)
		return
	}
	binary.BigEndian.PutUint32(p, uint32(lba))
}

// ReadTOC is READ TOC/PMA/ATIP (section 6.25): there is one session with one data
// track.
func ReadTOC(d *Drive, b, cdb []byte) (int, sense.Code) {
	asMSF, start, most := cdb[1]&2 != 0, cdb[6], be16(cdb[7:])
	format := cdb[2] & 15
	if format == 0 {
		format = cdb[9] >> 6
	}
	switch format {
	case 0:
		if start > 1 && start != leadOut {
			return 0, sense.InvalidField
		}
		b = zero(b, 20)
		b[2], b[3] = 1, 1
		n := 4
		if start <= 1 {
			b[n+1], b[n+2] = 0x14, 1 // data, track 1
			address(b[n+4:], 0, asMSF)
			n += 8
		}
		b[n+1], b[n+2] = 0x16, leadOut
		address(b[n+4:], d.Blocks, asMSF)
		n += 8
		binary.BigEndian.PutUint16(b, uint16(n-2))
		return min(n, most), sense.None
	case 1: // sessions
		b = zero(b, 12)
		b[1], b[2], b[3] = 10, 1, 1
		b[5], b[6] = 0x14, 1
		address(b[8:], 0, asMSF)
		return min(12, most), sense.None
	case 2:
		if start > 1 {
			return 0, sense.InvalidField
		}
		return min(fullTOC(d, b), most), sense.None
	}
	return 0, sense.InvalidField
}

// fullTOC is what is in the lead-in: first and last track, the lead-out, the track.
func fullTOC(d *Drive, b []byte) int {
	b = zero(b, 4+4*11)
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
	m, s, f := MSF(d.Blocks)
	entry(0xa2, m, s, f)
	m, s, f = MSF(0)
	entry(1, m, s, f)
	binary.BigEndian.PutUint16(b, uint16(n-2))
	return n
}

// DiscInformation is READ DISC INFORMATION (section 6.21), of a disc that is complete.
func DiscInformation(_ *Drive, b, cdb []byte) (int, sense.Code) {
	if cdb[1]&7 != 0 {
		return 0, sense.InvalidField
	}
	b = zero(b, 34)
	b[1] = 32
	b[2] = 0x0e // complete, last session too
	b[3], b[4], b[5], b[6] = 1, 1, 1, 1
	b[7] = 0x20 // may be used without restriction
	for i := 16; i < 24; i++ {
		b[i] = 0xff
	}
	return min(34, be16(cdb[7:])), sense.None
}

// TrackInformation is READ TRACK INFORMATION (section 6.26).
func TrackInformation(d *Drive, b, cdb []byte) (int, sense.Code) {
	n := be32(cdb[2:])
	switch cdb[1] & 3 {
	case 0:
		if n >= d.Blocks {
			return 0, sense.LBAOutOfRange
		}
	default:
		if n != 1 {
			return 0, sense.InvalidField
		}
	}
	b = zero(b, 36)
	b[1] = 34
	b[2], b[3] = 1, 1
	b[5], b[6] = 4, 1 // data, mode 1
	binary.BigEndian.PutUint32(b[24:], uint32(d.Blocks))
	return min(36, be16(cdb[7:])), sense.None
}
