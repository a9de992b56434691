package virtq

import (
	"encoding/binary"
	"math"

	"govmd/internal/memory"
)

// desc is a copy of a descriptor: the driver may change its own at any time.
type desc struct {
	addr  uint64
	len   uint32
	flags uint16
	next  uint16
}

// Flags of descriptors.
const (
	descNext     = 1
	descWrite    = 2
	descIndirect = 4
)

func decode(p []byte) desc {
	return desc{
		addr:  binary.LittleEndian.Uint64(p),
		len:   binary.LittleEndian.Uint32(p[8:]),
		flags: binary.LittleEndian.Uint16(p[12:]),
		next:  binary.LittleEndian.Uint16(p[14:]),
	}
}

// indirect reads a table of descriptors a piece at a time. It must be RAM: I/O
// regions could lead back into the device.
type indirect struct {
	mem   Memory
	addr  uint64
	count uint32
	first uint32 // number of the first descriptor in buf
	have  uint32 // number of descriptors in buf
	buf   [32 * descSize]byte
}

func (t *indirect) start(mem Memory, addr uint64, count uint32) {
	t.mem, t.addr, t.count, t.first, t.have = mem, addr, count, 0, 0
}

func (t *indirect) read(i uint32) (desc, error) {
	if i < t.first || i >= t.first+t.have {
		n := min(t.count-i, uint32(len(t.buf)/descSize))
		b, err := t.mem.Borrow(t.addr+uint64(i)*descSize, uint64(n)*descSize, false)
		if err != nil {
			return desc{}, err
		}
		_, err = b.CopyTo(t.buf[:n*descSize], 0)
		b.Release(0)
		if err != nil {
			return desc{}, err
		}
		t.first, t.have = i, n
	}
	return decode(t.buf[(i-t.first)*descSize:]), nil
}

// Pop implements Queue.
func (q *Split) Pop() (*Element, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if !q.ready || q.dead {
		return nil, nil
	}
	if q.outstanding >= maxOutstanding || q.segments >= maxOutstandingSegments {
		q.stalled = true
		return nil, nil
	}
	if err := q.open(); err != nil {
		return nil, q.die(err)
	}
	var head uint16
	var seq uint64
	if len(q.again) > 0 {
		head, seq = q.again[0].head, q.again[0].seq
		q.again = append(q.again[:0], q.again[1:]...)
	} else {
		ok, err := q.look()
		if !ok {
			return nil, err
		}
		head, err = q.avail.LoadU16(4 + 2*uint64(q.lastAvail&q.mask))
		if err != nil {
			return nil, q.ringError(-1, err, "available ring is not readable")
		}
		q.lastAvail++
		q.seq++
		seq = q.seq
	}
	if head > q.mask {
		return nil, q.ringError(int(head), nil, "it is out of range, the queue has %d", q.cfg.Size)
	}
	if q.inflight[head] != nil {
		return nil, q.ringError(int(head), nil, "it has been made available while it was in use")
	}
	e := q.element()
	e.head, e.gen, e.seq = head, q.gen, seq
	if err := q.walk(e); err != nil {
		e.release(0)
		q.free = append(q.free, e)
		return nil, err
	}
	q.inflight[head] = e
	q.inuse++
	q.outstanding++
	q.segments += len(e.Readable) + len(e.Writable)
	return e, nil
}

// look reports whether the driver has made elements available that were not taken.
func (q *Split) look() (bool, error) {
	if q.availIdx != q.lastAvail {
		return true, nil
	}
	idx, err := q.avail.LoadU16(2) // acquires what was written before it
	if err != nil {
		return false, q.ringError(-1, err, "available ring is not readable")
	}
	if idx-q.lastAvail > q.cfg.Size {
		return false, q.ringError(-1, nil, "available index went from %d to %d in a queue of %d", q.lastAvail, idx, q.cfg.Size)
	}
	q.availIdx = idx
	return idx != q.lastAvail, nil
}

func (q *Split) element() *Element {
	if n := len(q.free); n > 0 {
		e := q.free[n-1]
		q.free[n-1] = nil
		q.free = q.free[:n-1]
		return e
	}
	return &Element{}
}

// walk collects the segments of the chain that begins at e.head. On an error
// some may have been collected.
func (q *Split) walk(e *Element) error {
	head, i := int(e.head), uint32(e.head)
	inTable := false
	limit := uint32(q.cfg.Size)
	for steps := uint32(1); ; steps++ {
		var d desc
		var err error
		if inTable {
			d, err = q.table.read(i)
		} else if err = q.desc.Read(uint64(i)*descSize, q.raw[:]); err == nil {
			d = decode(q.raw[:])
		}
		if err != nil {
			return q.ringError(head, err, "descriptor %d is not readable", i)
		}
		if d.flags&descIndirect != 0 {
			switch {
			case !q.cfg.Features.Indirect:
				return q.ringError(head, nil, "indirect descriptor, which was not negotiated")
			case inTable:
				return q.ringError(head, nil, "indirect descriptor within an indirect table")
			case d.flags&descNext != 0:
				return q.ringError(head, nil, "indirect descriptor with a next one")
			case d.len == 0 || d.len%descSize != 0:
				return q.ringError(head, nil, "indirect table of %d bytes", d.len)
			}
			q.table.start(q.mem, d.addr, d.len/descSize)
			inTable, i, limit, steps = true, 0, d.len/descSize, 0
			continue
		}
		if err := q.segment(e, d); err != nil {
			return err
		}
		if d.flags&descNext == 0 {
			return nil
		}
		i = uint32(d.next)
		if i >= limit {
			return q.ringError(head, nil, "next descriptor %d is out of range, there are %d", i, limit)
		}
		if steps >= limit {
			return q.ringError(head, nil, "descriptors are chained in a loop")
		}
	}
}

// segment adds one descriptor's memory to e.
func (q *Split) segment(e *Element, d desc) error {
	if d.len == 0 {
		return q.ringError(int(e.head), nil, "descriptor of no length")
	}
	if len(e.Readable)+len(e.Writable) >= MaxSegments {
		return q.ringError(int(e.head), nil, "more than %d segments", MaxSegments)
	}
	if e.readLen+e.writeLen+uint64(d.len) > math.MaxUint32 {
		return q.ringError(int(e.head), nil, "it is longer than 4 GiB")
	}
	var err error
	if d.flags&descWrite != 0 {
		e.Writable, err = q.borrow(d, true, e.Writable)
		e.writeLen += uint64(d.len)
	} else {
		if len(e.Writable) > 0 {
			return q.ringError(int(e.head), nil, "readable descriptor after a writable one")
		}
		e.Readable, err = q.borrow(d, false, e.Readable)
		e.readLen += uint64(d.len)
	}
	if err != nil {
		return q.ringError(int(e.head), err, "descriptor for %d bytes at %#x", d.len, d.addr)
	}
	return nil
}

func (q *Split) borrow(d desc, write bool, dst []memory.Borrow) ([]memory.Borrow, error) {
	if d.addr+uint64(d.len)-1 < d.addr {
		return dst, errWraps
	}
	return q.mem.BorrowVec(d.addr, uint64(d.len), write, dst)
}
