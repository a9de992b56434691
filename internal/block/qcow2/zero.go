package qcow2

import (
	"context"

	"govmd/internal/block"
)

// PwriteZeroes makes whole subclusters read as zeroes by their entries. The end of
// the range may be within one where the disk ends.
func (q *image) PwriteZeroes(off, n int64, f block.Flags) error {
	if q.hdr.version < 3 {
		return q.zeroV2(off, n)
	}
	if q.ext && q.hdr.autoclear&autoclearRawData != 0 {
		if err := q.data.PwriteZeroes(off, n, f&block.MayUnmap); err != nil {
			return err
		}
	}
	end := off + n
	return q.workThrough(off, end, func(off int64) (int64, error) { return q.zeroOne(off, end, f&block.MayUnmap != 0) })
}

// alone reports whether what is not allocated is zero, now and later: there is no
// backing file, and none that the image names and that was left closed. A mirror fills
// such an image, which is given its backing file in the end.
func (q *image) alone() bool { return q.node.BackingChild() == nil && q.hdr.backingFile == "" }

// zeroV2 is for version 2, which has no zero clusters: what is not allocated and has
// no backing file is zero already.
func (q *image) zeroV2(off, n int64) error {
	e := q.enter()
	defer q.exit(e)
	if !q.alone() {
		return block.ErrUnsupp
	}
	for n > 0 {
		r, err := q.find(off, n)
		if err != nil {
			return err
		}
		if r.kind != unallocated {
			return block.ErrUnsupp
		}
		off, n = off+r.n, n-r.n
	}
	return nil
}

// zeroOne zeroes within one cluster and returns how much.
func (q *image) zeroOne(off, end int64, unmap bool) (int64, error) {
	guest := off >> q.clusterBits
	in := off & (q.clusterSize - 1)
	n := min(end-off, q.clusterSize-in)
	whole := in == 0 && (n == q.clusterSize || end == q.sizeBytes.Load())
	q.mu.Lock()
	defer q.mu.Unlock()
	for {
		if q.conflict(guest, guest+1) != nil {
			q.wait()
			continue
		}
		if l1, _, _ := q.place(guest); q.alone() && l1 < len(q.l1) && q.l1[l1]&offsetMask == 0 {
			// Nothing there, nothing behind it: it is zero.
			return min(end-off, q.leftOfTable(off)), nil
		}
		if err := q.needDirty(); err != nil {
			return 0, err
		}
		t, i, err := q.table(guest)
		if err == errRetry {
			continue
		}
		if err != nil {
			return 0, err
		}
		old := q.entryAt(t, i)
		e, err := q.zeroed(old, in, n, whole, unmap)
		if err != nil {
			return 0, err
		}
		if e == old {
			return n, nil
		}
		q.setEntry(t, i, e)
		if old.l2&flagCompressed != 0 || e.offset() == 0 {
			q.freeEntry(old, freeRequest)
		}
		return n, nil
	}
}

// zeroed returns what an entry becomes.
func (q *image) zeroed(old entry, in, n int64, whole, unmap bool) (entry, error) {
	if whole {
		// Space that is shared, or not to be kept, goes.
		drop := old.l2&flagCompressed != 0 || unmap || old.l2&flagCopied == 0
		keep := old.l2
		if drop && !q.ext {
			keep = 0
		}
		keep &= offsetMask | flagCopied
		if !q.extL2 && q.alone() && keep == 0 && old.l2&(offsetMask|flagCompressed|flagZero) == 0 {
			return old, nil
		}
		return q.zeroEntry(keep), nil
	}
	if !q.extL2 || old.l2&flagCompressed != 0 {
		return old, block.ErrUnsupp
	}
	mask := q.subMask(in, in+n)
	return entry{l2: old.l2, sub: old.sub&^mask | mask<<32}, nil
}

// Pdiscard gives clusters up. In version 3 they read as zeroes afterwards, so that
// what the backing file has does not come back.
func (q *image) Pdiscard(off, n int64) error {
	end := off + n
	return q.workThrough(off, end, func(off int64) (int64, error) { return q.discardOne(off, end, false) })
}

// MakeEmpty implements block.Emptier: nothing is allocated any more, and what is
// read comes from the backing file.
func (q *image) MakeEmpty(ctx context.Context) error {
	if q.ext {
		return block.ErrUnsupp // where everything is in a data file is part of the image
	}
	end := q.sizeBytes.Load()
	err := q.workThrough(0, end, func(off int64) (int64, error) {
		if err := context.Cause(ctx); err != nil {
			return 0, err
		}
		return q.discardOne(off, end, true)
	})
	if err != nil {
		return err
	}
	return q.node.Flush()
}

// discardOne discards within one cluster and returns how much; with empty what is
// behind it shows afterwards.
func (q *image) discardOne(off, end int64, empty bool) (int64, error) {
	guest := off >> q.clusterBits
	n := min(end-off, q.clusterSize)
	q.mu.Lock()
	defer q.mu.Unlock()
	for {
		if q.conflict(guest, guest+1) != nil {
			q.wait()
			continue
		}
		l1, _, _ := q.place(guest)
		if l1 >= len(q.l1) {
			return n, nil
		}
		behind := !q.alone() && !empty
		if q.l1[l1]&offsetMask == 0 && !behind {
			return min(end-off, q.leftOfTable(off)), nil
		}
		if err := q.needDirty(); err != nil {
			return 0, err
		}
		t, i, err := q.table(guest)
		if err == errRetry {
			continue
		}
		if err != nil {
			return 0, err
		}
		old := q.entryAt(t, i)
		e := entry{}
		switch {
		case empty:
		case q.hdr.version < 3:
			if behind {
				return n, nil // giving it up would bring back what is behind it
			}
		case !behind && old == entry{}:
			return n, nil
		default:
			e = q.zeroEntry(0)
		}
		if q.ext {
			e.l2 |= old.l2 & (offsetMask | flagCopied)
		}
		if e == old {
			return n, nil
		}
		q.setEntry(t, i, e)
		if !q.ext {
			q.freeEntry(old, freeRequest)
		} else if q.dropRequest && old.l2&flagCopied != 0 {
			// In a raw data file everything is where it is on the disk.
			q.mu.Unlock()
			_ = q.data.Pdiscard(guest<<q.clusterBits, n) // only space is lost
			q.mu.Lock()
		}
		return n, nil
	}
}
