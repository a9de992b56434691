package qcow2

import (
	"sync"

	"govmd/internal/block"
)

// padded is a write with what comes before and after it in its clusters.
type padded struct {
	segs       [][]byte
	head, tail *block.Buffer
}

var paddings = sync.Pool{New: func() any { return new(padded) }}

func (p *padded) release() {
	if p.head != nil {
		p.head.Release()
	}
	if p.tail != nil {
		p.tail.Release()
	}
	clear(p.segs)
	p.segs, p.head, p.tail = p.segs[:0], nil, nil
	paddings.Put(p)
}

// fill writes v to the clusters of an allocation, and around it what they have to
// hold beside: what the guest has seen there so far.
func (q *image) fill(a *allocation, host, off int64, v block.Vec) error {
	n := int64(v.Len())
	// With extended entries only the subclusters that are touched become data.
	unit := int64(1) << q.subBits
	if a.whole {
		unit = q.clusterSize
	}
	from := off &^ (unit - 1)
	to := (off + n + unit - 1) &^ (unit - 1)
	if from == off && to == off+n {
		return q.writeData(host, off, v)
	}
	q.file.Debug(block.EventCOWRead)
	p := paddings.Get().(*padded)
	defer p.release()
	var headZero, tailZero bool
	var err error
	if from < off {
		p.head = block.GetBuffer(int(off - from))
		if headZero, err = q.before(from, p.head.B); err != nil {
			return err
		}
	}
	if off+n < to {
		p.tail = block.GetBuffer(int(to - off - n))
		if tailZero, err = q.before(off+n, p.tail.B); err != nil {
			return err
		}
	}
	// What reads as zeroes anyway need not be written.
	if p.head != nil && !(headZero && a.fresh && !q.encrypted()) {
		p.segs = append(p.segs, p.head.B)
		host -= off - from
		off = from
	}
	q.file.Debug(block.EventCOWWrite)
	p.segs = v.Segments(p.segs)
	if p.tail != nil && !(tailZero && a.fresh && !q.encrypted()) {
		p.segs = append(p.segs, p.tail.B)
	}
	return q.writeData(host, off, block.VecFrom(p.segs))
}

// before reads what the guest has seen at off so far; zero reports that this is
// known to be zeroes without p having been filled with data.
func (q *image) before(off int64, p []byte) (zero bool, err error) {
	zero = true
	clear(p)
	for len(p) > 0 {
		r, err := q.find(off, int64(len(p)))
		if err != nil {
			return false, err
		}
		if r.kind == zeroPlain || r.kind == zeroAlloc || r.kind == unallocated && q.backingZero(off, r.n) {
			off, p = off+r.n, p[r.n:]
			continue
		}
		zero = false
		if err := q.readRun(r, off, block.VecOf(p[:r.n])); err != nil {
			return false, err
		}
		off, p = off+r.n, p[r.n:]
	}
	return zero, nil
}

// backingZero reports whether the backing file has nothing in a range.
func (q *image) backingZero(off, n int64) bool {
	c := q.backing()
	return c == nil || off >= c.Length()
}

// link enters the clusters of an allocation, of which [off, off+n) was written, in
// the L2 table, and gives up what was there before. mu is held.
func (q *image) link(a *allocation, off, n int64) error {
	for c := a.first; c < a.end; {
		t, i, err := q.table(c)
		if err == errRetry {
			continue
		}
		if err != nil {
			return err
		}
		old := q.entryAt(t, i)
		e := entry{l2: uint64(a.host+c-a.first)<<q.clusterBits | flagCopied}
		if a.zero && !q.extL2 {
			e.l2 |= flagZero
		}
		if q.extL2 {
			e.sub = q.subAfter(a, old, off-c<<q.clusterBits, off+n-c<<q.clusterBits)
		}
		q.setEntry(t, i, e)
		if a.own {
			q.freeEntry(old, freeOther)
		}
		c++
	}
	return nil
}

// subAfter returns the subcluster bitmaps of an entry of which the bytes from up to
// to have been written.
func (q *image) subAfter(a *allocation, old entry, from, to int64) uint64 {
	if a.whole {
		return 0xffffffff
	}
	if from, to = max(from, 0), min(to, q.clusterSize); from >= to {
		return old.sub // there is space now, and nothing in it
	}
	mask := q.subMask(from, to)
	return (old.sub | mask) &^ (mask << 32)
}

// freeEntry gives up the clusters of an entry. mu is held.
func (q *image) freeEntry(e entry, k freeKind) {
	if e.l2&flagCompressed == 0 && !q.ext && e.offset()&(q.clusterSize-1) != 0 {
		_ = q.corruption(false, -1, -1, "Cannot free unaligned cluster")
		return
	}
	if first, n := q.clustersOf(e); n > 0 {
		q.free(first, n, k)
	}
}
