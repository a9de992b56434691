package scsi

import (
	"bytes"
	"encoding/binary"

	"govmd/internal/block"
	"govmd/internal/device/scsi/mmc"
	"govmd/internal/device/scsi/sense"
)

// Mode pages, in the order in which all of them are told.
const (
	pageErrors   = 0x01
	pageRigid    = 0x04
	pageFlexible = 0x05
	pageCaching  = 0x08
	pageAudio    = 0x0e
	pageDrive    = 0x2a
	allPages     = 0x3f
)

const (
	cachingSize = 20
	cachingWCE  = 4
	blockSize   = 8 // of a block descriptor
)

var (
	diskPages = []byte{pageErrors, pageRigid, pageFlexible, pageCaching}
	discPages = []byte{pageErrors, pageCaching, pageAudio, pageDrive}
)

// modePage puts a page, or with mask which of its bits can be changed, and returns
// its size; 0 when there is no such page. mu is held.
func (u *Unit) modePage(b []byte, page byte, mask bool) int {
	size := 0
	switch {
	case page == pageCaching:
		size = cachingSize
	case u.cd:
		d := u.discDrive()
		return mmc.ModePage(&d, b, page, mask)
	case page == pageErrors:
		size = 12
	case page == pageRigid:
		size = 24
	case page == pageFlexible:
		size = 32
	default:
		return 0
	}
	b = b[:size]
	clear(b)
	b[0], b[1] = page, byte(size-2)
	if page == pageCaching && (mask || u.backend.WriteCache()) {
		b[2] = cachingWCE
	}
	if !mask {
		u.geometryPage(b, page)
	}
	return size
}

const (
	rpm  = 5400
	kbps = 5000
)

// geometryPage fills in the pages that go back to disks with moving parts (SBC-1 and
// SCSI-2).
func (u *Unit) geometryPage(b []byte, page byte) {
	be := binary.BigEndian
	cylinders := u.geometry.Cylinders
	put24 := func(p []byte, v uint32) { p[0], p[1], p[2] = byte(v>>16), byte(v>>8), byte(v) }
	switch page {
	case pageErrors:
		b[2] = 0x80 // bad blocks are replaced
	case pageRigid:
		put24(b[2:], cylinders)
		b[5] = byte(u.geometry.Heads)
		put24(b[6:], cylinders)
		put24(b[9:], cylinders)
		be.PutUint16(b[12:], 200) // step rate
		put24(b[14:], 0xffffff)   // landing zone
		be.PutUint16(b[20:], rpm)
	case pageFlexible:
		be.PutUint16(b[2:], kbps)
		b[4], b[5] = byte(u.geometry.Heads), byte(u.geometry.Sectors)
		be.PutUint16(b[6:], uint16(min(u.block, 0xffff)))
		for off := 8; off <= 12; off += 2 {
			be.PutUint16(b[off:], uint16(cylinders))
		}
		be.PutUint16(b[14:], 1) // step rate
		b[16] = 1               // step pulse width
		b[18], b[19], b[20] = 1, 1, 1
		be.PutUint16(b[28:], rpm)
	}
}

// modeSense is MODE SENSE (6) and (10) (SPC-4, section 6.11).
func (u *Unit) modeSense(r *Request) Result {
	control, page, most, header := r.CDB[2]>>6, r.CDB[2]&0x3f, int(r.CDB[4]), 4
	long := r.CDB[0] == 0x5a
	if long {
		most, header = int(be16(r.CDB[7:])), 8
	}
	switch {
	case control == 3:
		return r.fail(sense.SavingUnsupported)
	case r.CDB[3] != 0 && r.CDB[3] != 0xff: // subpages
		return r.fail(sense.InvalidField)
	}
	b := u.buffer[:]
	clear(b[:header])
	n := header
	var specific, medium byte
	if u.cd {
		if long {
			d := u.discDrive()
			medium = d.MediumType()
		}
	} else {
		if u.readOnly() {
			specific |= 0x80
		}
		if u.dpofua {
			specific |= 0x10
		}
		if r.CDB[1]&8 == 0 {
			n += u.blockDescriptor(b[n:])
		}
	}
	start := n
	pages := diskPages
	if u.cd {
		pages = discPages
	}
	for _, p := range pages {
		if page == p || page == allPages {
			n += u.modePage(b[n:], p, control == 1)
		}
	}
	if n == start {
		return r.fail(sense.InvalidField)
	}
	if long {
		binary.BigEndian.PutUint16(b, uint16(n-2))
		b[2], b[3], b[7] = medium, specific, byte(start-header)
	} else {
		b[0], b[1], b[2], b[3] = byte(n-1), medium, specific, byte(start-header)
	}
	return r.reply(b[:min(n, most)])
}

func (u *Unit) blockDescriptor(b []byte) int {
	clear(b[:blockSize])
	if n := u.blocks(); n < 1<<24 {
		binary.BigEndian.PutUint32(b, uint32(n))
	}
	binary.BigEndian.PutUint32(b[4:], uint32(u.block))
	return blockSize
}

// modeSelect is MODE SELECT (6) and (10) (SPC-4, section 6.9). All that can be changed
// is whether writes are cached. Nothing is changed when anything is wrong.
func (u *Unit) modeSelect(r *Request) Result {
	n, header := int(r.CDB[4]), 4
	if r.CDB[0] == 0x55 {
		n, header = int(be16(r.CDB[7:])), 8
	}
	if r.CDB[1]&0x11 != 0x10 { // pages as the standard has them, not to be saved
		return r.fail(sense.InvalidField)
	}
	switch {
	case n == 0:
		return Ended
	case n < header || n > len(u.buffer)/2:
		return r.fail(sense.ParameterListLength)
	}
	p, own := u.buffer[:n], u.buffer[n:]
	if err := r.Out.To(n).Read(p); err != nil {
		return r.fail(sense.InternalFailure)
	}
	r.Moved = n
	descriptor := int(p[3])
	if header == 8 {
		descriptor = int(be16(p[6:]))
	}
	p = p[header:]
	if descriptor > len(p) {
		return r.fail(sense.ParameterListLength)
	}
	if descriptor != 0 && (descriptor != blockSize || be32(p[4:])&0xffffff != 0 && be32(p[4:])&0xffffff != u.block) {
		return r.fail(sense.InvalidParameter)
	}
	cache := u.backend.WriteCache()
	for p = p[descriptor:]; len(p) > 0; {
		code := p[0] & 0x7f // but for the bit that is told only
		size := u.modePage(own, code, false)
		if size == 0 || len(p) < size || p[1] != own[1] {
			return r.fail(sense.InvalidParameter)
		}
		if code == pageCaching {
			cache = p[2]&cachingWCE != 0
			own[2] = own[2]&^cachingWCE | p[2]&cachingWCE
		}
		if !bytes.Equal(p[2:size], own[2:size]) {
			return r.fail(sense.InvalidParameter)
		}
		p = p[size:]
	}
	u.backend.SetWriteCache(cache)
	if cache || u.readOnly() || !u.ready() {
		return Ended
	}
	r.want, r.io.Op = n, block.OpFlush // what the cache holds
	return Begun
}
