package scsi

import (
	"encoding/binary"

	"govmd/internal/device/scsi/sense"
)

// absent answers for a unit that its target does not have (SPC-4, section 4.6.4):
// LUN 0 tells which others there are.
func (b *Bus) absent(a Address, r *Request) {
	b.mu.Lock()
	defer b.mu.Unlock()
	cdb := r.CDB[:]
	switch {
	case cdb[0] == 0x12:
		b.absentInquiry(a, r)
	case cdb[0] == 0x03:
		code := sense.LUNNotSupported
		if a.LUN == 0 {
			code = sense.None
		}
		n := code.PutFixed(b.reply[:])
		r.reply(b.reply[:min(n, int(cdb[4]))])
	case cdb[0] == 0xa0 && a.LUN == 0:
		b.reportLUNs(a, r)
	case cdb[0] == 0x00 && a.LUN == 0:
	case a.LUN == 0:
		r.fail(sense.InvalidOpcode)
	default:
		r.fail(sense.LUNNotSupported)
	}
}

// absentInquiry is INQUIRY: there is nothing here, or (LUN 0) nothing yet.
func (b *Bus) absentInquiry(a Address, r *Request) {
	p := b.reply[:]
	clear(p[:36])
	p[0] = 0x7f
	if a.LUN == 0 {
		p[0] = 0x3f
	}
	most := int(be16(r.CDB[3:]))
	switch {
	case r.CDB[1]&1 != 0 && r.CDB[2] == 0:
		p[0] &= 0x1f
		if a.LUN != 0 {
			p[0] = 0x7f
		}
		p[3] = 1 // this page alone
		r.reply(p[:min(5, most)])
		return
	case r.CDB[1]&1 != 0 || r.CDB[2] != 0:
		r.fail(sense.InvalidField)
		return
	}
	if a.LUN == 0 {
		p[2], p[3], p[4], p[7] = 5, 0x12, 31, 0x12
		pad(p[8:16], "QEMU")
		pad(p[16:32], "QEMU TARGET")
		pad(p[32:36], revision)
	}
	r.reply(p[:min(36, most)])
}

// reportLUNs is REPORT LUNS (SPC-4, section 6.33): of the target's units, LUN 0 always.
func (b *Bus) reportLUNs(a Address, r *Request) Result {
	most := int64(be32(r.CDB[6:]))
	switch {
	case most < 16 || r.CDB[2] > 2:
		return r.fail(sense.InvalidField)
	}
	list := b.Target(a.Channel, a.Target)
	n := len(list)
	if n == 0 || list[0].at.LUN != 0 {
		n++
	}
	var e [8]byte
	put := func(i int) bool {
		off := i * len(e)
		left := min(most, int64(r.In.Len())) - int64(off)
		if left <= 0 {
			return true
		}
		m := int(min(left, int64(len(e))))
		if r.In.Slice(off, off+m).Write(e[:m]) != nil {
			return false
		}
		r.Moved += m
		return true
	}
	binary.BigEndian.PutUint32(e[:], uint32(8*n))
	ok := put(0)
	e = [8]byte{}
	i := 1
	if n > len(list) {
		ok = ok && put(i)
		i++
	}
	for _, u := range list {
		e = [8]byte{1: byte(u.at.LUN)}
		if u.at.LUN > 0xff {
			e[0] = 0x40 | byte(u.at.LUN>>8)
		}
		ok = ok && put(i)
		i++
	}
	if !ok {
		return r.fail(sense.InternalFailure)
	}
	return Ended
}

func (u *Unit) reportLUNs(r *Request) Result { return u.bus.reportLUNs(u.at, r) }
