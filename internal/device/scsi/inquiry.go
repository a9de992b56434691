package scsi

import (
	"encoding/binary"

	"govmd/internal/device/scsi/sense"
)

// Peripheral device types (SPC-4, section 6.4.2).
const (
	typeDisk = 0x00
	typeCD   = 0x05
)

func (u *Unit) kind() byte {
	if u.cd {
		return typeCD
	}
	return typeDisk
}

func pad(p []byte, s string) {
	for i := range p {
		p[i] = ' '
	}
	copy(p, s)
}

// inquiryMost is how long standard INQUIRY data are.
const inquiryMost = 96

func (u *Unit) inquiry(r *Request) Result {
	most := int(be16(r.CDB[3:]))
	if r.CDB[1]&1 != 0 {
		n := u.vitalData(r.CDB[2])
		if n == 0 {
			return r.fail(sense.InvalidField)
		}
		return r.reply(u.buffer[:min(n, most)])
	}
	if r.CDB[2] != 0 {
		return r.fail(sense.InvalidField)
	}
	b := u.buffer[:inquiryMost]
	clear(b)
	b[0] = u.kind()
	if u.cd || u.removable {
		b[1] = 0x80
	}
	b[2] = byte(u.level)
	b[3] = 0x12 // hierarchical addresses, this format
	b[4] = 31   // drivers of old want no more than they have asked for
	if most > 36 {
		b[4] = byte(min(most, inquiryMost) - 5)
	}
	b[7] = 0x12 // command queueing
	pad(b[8:16], u.vendor)
	pad(b[16:32], u.product)
	pad(b[32:36], u.version)
	return r.reply(b[:min(len(b), most)])
}

// vitalData makes a page of vital product data, and returns its length; 0: there is
// no such page.
func (u *Unit) vitalData(page byte) int {
	b := u.buffer[:256]
	clear(b)
	b[0], b[1] = u.kind(), page
	n := 4
	switch {
	case page == 0x00:
		b[n] = 0x00
		n++
		if u.conf.Serial != "" {
			b[n] = 0x80
			n++
		}
		n += copy(b[n:], []byte{0x83})
		if !u.cd {
			n += copy(b[n:], []byte{0xb0, 0xb1, 0xb2})
		}
	case page == 0x80 && u.conf.Serial != "":
		n += copy(b[n:n+36], u.conf.Serial)
	case page == 0x83:
		n += u.designators(b[n:])
	case page == 0xb0 && !u.cd:
		u.limits(b)
		n = 64
	case page == 0xb1 && !u.cd:
		binary.BigEndian.PutUint16(b[4:], u.rotation)
		n = 64
	case page == 0xb2 && !u.cd:
		b[6] = 1 // blocks keep their place
		if u.discard() > 0 {
			b[5] = 0xe0 // UNMAP, WRITE SAME (16) and (10)
			b[6] = 2    // thin
		}
		n = 8
	default:
		return 0
	}
	binary.BigEndian.PutUint16(b[2:], uint16(n-4))
	return n
}

// designators is page 0x83, device identification (SPC-4, section 7.8.6).
func (u *Unit) designators(b []byte) (n int) {
	add := func(code, kind byte, data []byte) {
		b[n], b[n+1], b[n+3] = code, kind, byte(len(data))
		n += 4 + copy(b[n+4:], data)
	}
	if id := u.deviceID; id != "" {
		add(2, 0, []byte(id)[:min(len(id), 200)])
	}
	var v [8]byte
	if u.wwn != 0 {
		binary.BigEndian.PutUint64(v[:], u.wwn)
		add(1, 3, v[:])
	}
	const sas, port = 0x60, 0x90 // of the target's port, on SAS
	if u.portWWN != 0 {
		binary.BigEndian.PutUint64(v[:], u.portWWN)
		add(sas|1, port|3, v[:])
	}
	if u.portIndex != 0 {
		binary.BigEndian.PutUint32(v[:], uint32(u.portIndex))
		add(sas|1, port|4, v[:4])
	}
	return n
}

// maxDescriptors is how many ranges an UNMAP may have.
const maxDescriptors = 255

// limits is page 0xb0, block limits (SBC-3, section 6.5.3).
func (u *Unit) limits(b []byte) {
	be := binary.BigEndian
	b[4] = 1 // WRITE SAME of no blocks is refused
	be.PutUint16(b[6:], uint16(u.conf.MinIO/u.block))
	most := uint32(min(u.maxIO/u.block, 1<<32-1))
	be.PutUint32(b[8:], most)
	be.PutUint32(b[12:], uint32(u.conf.OptIO/u.block))
	if d := u.discard(); d > 0 {
		be.PutUint32(b[20:], uint32(min(u.maxUnmap/u.block, 1<<32-1)))
		be.PutUint32(b[24:], maxDescriptors)
		be.PutUint32(b[28:], uint32(d/u.block))
	}
	be.PutUint64(b[36:], uint64(most))
}
