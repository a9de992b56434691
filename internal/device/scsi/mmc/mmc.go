// Package mmc is what CD-ROM and DVD drives answer to the commands of MMC-5, on
// whatever bus they are. Its functions make the reply to a command in a buffer; how
// that gets to the host is the drive's.
package mmc

import (
	"encoding/binary"

	"govmd/internal/device/scsi/sense"
)

// SectorSize is that of the data on a medium, in bytes.
const SectorSize = 2048

// BufferSize is how large the buffer for a reply has to be.
const BufferSize = 4 + 2048

// Drive is the state of a drive when it is asked.
type Drive struct {
	Blocks   int64 // the size of the medium; 0 without one, or with the tray open
	Inserted bool
	Open     bool // the tray
	Locked   bool
	// What GET EVENT STATUS NOTIFICATION tells, once.
	NewMedium    bool
	EjectRequest bool
	// Interface is the drive's physical interface, as GET CONFIGURATION names it.
	Interface byte
}

// The physical interfaces of drives (MMC-5, section 5.3.2).
const (
	InterfaceSCSI  = 1
	InterfaceATAPI = 2
)

// Reply makes the reply to a command in b and returns how many bytes the host is to
// get of it: what there is, or what it has asked for. b has at least BufferSize
// bytes. Otherwise the command is refused.
type Reply func(d *Drive, b, cdb []byte) (n int, refused sense.Code)

func be16(p []byte) int   { return int(binary.BigEndian.Uint16(p)) }
func be32(p []byte) int64 { return int64(binary.BigEndian.Uint32(p)) }

func put24(p []byte, v uint32) { p[0], p[1], p[2] = byte(v>>16), byte(v>>8), byte(v) }

// zero returns the buffer's first n bytes, zero.
func zero(b []byte, n int) []byte {
	clear(b[:n])
	return b[:n]
}

// MechanismStatus is MECHANISM STATUS (section 6.9).
func MechanismStatus(d *Drive, b, cdb []byte) (int, sense.Code) {
	b = zero(b, 8)
	if d.Open {
		b[1] = 1 << 4
	}
	b[5] = 1 // slots
	return min(8, be16(cdb[8:])), sense.None
}

// GetEvent is GET EVENT STATUS NOTIFICATION (section 6.7): of media, by asking.
func GetEvent(d *Drive, b, cdb []byte) (int, sense.Code) {
	const media = 4
	wanted, most := cdb[4], be16(cdb[7:])
	if cdb[1]&1 == 0 { // tell when something happens: not here
		return 0, sense.InvalidField
	}
	b = zero(b, 8)
	b[3] = 1 << media
	if wanted&(1<<media) == 0 {
		b[1], b[2] = 2, 0x80 // none of those
		return min(4, most), sense.None
	}
	b[1], b[2] = 6, media
	switch {
	case d.EjectRequest:
		b[4] = 1
		d.EjectRequest = false
	case d.NewMedium:
		b[4] = 2
		d.NewMedium = false
	}
	if d.Open {
		b[5] |= 1
	}
	if d.Inserted && !d.Open {
		b[5] |= 2
	}
	return min(8, most), sense.None
}

// ModePage puts a page of the drive's mode parameters, or with mask which of its bits
// can be changed (none), and returns its size; 0 when there is no such page.
func ModePage(d *Drive, b []byte, page byte, mask bool) int {
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
		if d.Locked {
			p[4] |= 2
		}
		const kBs = 706 // 4x
		binary.BigEndian.PutUint16(p[6:], kBs)
		binary.BigEndian.PutUint16(p[8:], 2)    // volume levels
		binary.BigEndian.PutUint16(p[10:], 512) // KiB of buffer
		binary.BigEndian.PutUint16(p[12:], kBs)
	default:
		return 0
	}
	b = zero(b, 2+len(p))
	b[0], b[1] = page, byte(len(p))
	if !mask {
		copy(b[2:], p)
	}
	return len(b)
}
