package mmc

import (
	"encoding/binary"

	"govmd/internal/device/scsi/sense"
)

// Profiles of drives and media (section 5.3.1).
const (
	profileNone = 0
	profileCD   = 0x08
	profileDVD  = 0x10

	maxCDBlocks = 80 * 60 * 75
)

func (d *Drive) profile() uint16 {
	switch {
	case !d.Inserted || d.Blocks == 0:
		return profileNone
	case d.Blocks <= maxCDBlocks:
		return profileCD
	}
	return profileDVD
}

// MediumType is the type of the medium, as the header of mode parameters had it in
// MMC-1.
func (d *Drive) MediumType() byte {
	switch {
	case d.Open:
		return 0x71
	case d.profile() == profileNone:
		return 0x70
	}
	return 0x01
}

// GetConfiguration is GET CONFIGURATION (section 6.6).
func GetConfiguration(d *Drive, b, cdb []byte) (int, sense.Code) {
	kind, start, most := cdb[1]&3, be16(cdb[2:]), be16(cdb[7:])
	if kind == 3 {
		return 0, sense.InvalidField
	}
	now := d.profile()
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
		{0x0001, 3 | 2<<2, []byte{0, 0, 0, d.Interface, 1, 0, 0, 0}}, // core: INQUIRY as in MMC
		{0x0002, 3 | 1<<2, []byte{2, 0, 0, 0}},                       // morphing: operational changes are told
		{0x0003, 3 | 1<<2, []byte{0x29, 0, 0, 0}},                    // removable: tray, lock, eject
		{0x0010, current(now != profileNone, 0), []byte{0, 0, 8, 0, 0, 1, 0, 0}},
		{0x001e, current(now == profileCD, 2<<2), []byte{0, 0, 0, 0}}, // CD read
		{0x001f, current(now == profileDVD, 0), []byte{}},             // DVD read
	}
	b = zero(b, 8+128)
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
	return min(n, most), sense.None
}

// DiscStructure is READ DISC STRUCTURE (section 6.22) for DVDs.
func DiscStructure(d *Drive, b, cdb []byte) (int, sense.Code) {
	layer, format, most := cdb[6], cdb[7], be16(cdb[8:])
	media := cdb[1] & 15
	if format == 0xff { // the list of formats needs no medium
		b = zero(b, 4+3*4)
		for i, f := range [...][2]byte{{0x00, 20}, {0x01, 4}, {0x04, 0}} {
			e := b[4+4*i:]
			e[0], e[1] = f[0], 0x40
			binary.BigEndian.PutUint16(e[2:], uint16(f[1])+4)
		}
		binary.BigEndian.PutUint16(b, uint16(len(b)-2))
		return min(len(b), most), sense.None
	}
	switch {
	case media != 0:
		return 0, sense.InvalidField
	case d.profile() == profileNone:
		return 0, sense.NoMedium
	case d.profile() == profileCD:
		return 0, sense.IncompatibleFormat
	}
	switch format {
	case 0: // physical
		if layer != 0 {
			return 0, sense.InvalidField
		}
		b = zero(b, 4+2048)
		b[4] = 1    // DVD-ROM, version 1
		b[5] = 0x0f // 12 cm, no least rate
		b[6] = 1    // one layer, read-only
		const first = 0x30000
		b[9] = first >> 16
		put24(b[13:], uint32(first+d.Blocks-1))
		put24(b[17:], uint32(first+d.Blocks-1))
	case 1: // copyright: none
		b = zero(b, 8)
	case 4: // manufacturer
		b = zero(b, 4+2048)
	default:
		return 0, sense.InvalidField
	}
	binary.BigEndian.PutUint16(b, uint16(len(b)-2))
	return min(len(b), most), sense.None
}
