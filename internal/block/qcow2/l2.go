package qcow2

import (
	"govmd/internal/block"
)

// kind is what a cluster, or a subcluster, holds.
type clusterKind uint8

const (
	unallocated clusterKind = iota // the backing file says
	zeroPlain                      // zeroes, without space
	zeroAlloc                      // zeroes, with space
	normal
	compressed
	invalid // the entry contradicts itself
)

// entry is an L2 entry.
type entry struct {
	l2  uint64
	sub uint64 // the second half of an extended one
}

func (e entry) offset() int64 { return int64(e.l2 & offsetMask) }

// kind returns what subcluster i holds; i is 0 without extended entries.
func (q *image) kind(e entry, i int) clusterKind {
	if e.l2&flagCompressed != 0 {
		if q.extL2 && e.sub != 0 {
			return invalid
		}
		return compressed
	}
	off := e.l2 & offsetMask
	if !q.extL2 {
		switch {
		case e.l2&flagZero != 0 && q.hdr.version >= 3:
			if off != 0 {
				return zeroAlloc
			}
			return zeroPlain
		case off == 0 && !(q.ext && e.l2&flagCopied != 0):
			return unallocated
		}
		return normal
	}
	alloc, zero := e.sub>>i&1 != 0, e.sub>>(32+i)&1 != 0
	has := off != 0 || q.ext && e.l2&flagCopied != 0
	switch {
	case alloc && (zero || !has):
		return invalid
	case alloc:
		return normal
	case zero && has:
		return zeroAlloc
	case zero:
		return zeroPlain
	}
	return unallocated // with space, perhaps: hasSpace says
}

// place returns where in the tables a guest cluster is.
func (q *image) place(guest int64) (l1 int, slice, index int64) {
	i := guest & (1<<q.l2Bits - 1)
	per := q.sliceSize / q.l2EntrySize
	return int(guest >> q.l2Bits), i / per * q.sliceSize, i % per
}

// l2Span is how much of the disk an L2 table describes.
func (q *image) l2Span() int64 { return 1 << (q.l2Bits + q.clusterBits) }

// leftOfTable returns how far it is from off to the end of what its L2 table describes.
func (q *image) leftOfTable(off int64) int64 { return q.l2Span() - off&(q.l2Span()-1) }

// slice returns the cached L2 slice with a guest cluster's entry; nil, without an
// error, when there is no L2 table, errRetry when it had to let go of mu to read it.
func (q *image) slice(guest int64) (*table, int64, error) {
	l1, at, i := q.place(guest)
	if l1 >= len(q.l1) {
		return nil, 0, nil
	}
	off := int64(q.l1[l1] & offsetMask)
	if off == 0 {
		return nil, 0, nil
	}
	if off&(q.clusterSize-1) != 0 {
		return nil, 0, q.corruption(true, -1, -1, "L2 table offset unaligned")
	}
	if t := q.l2.lookup(off + at); t != nil && !t.loading {
		return t, i, nil
	}
	if err := q.fetch(off + at); err != nil {
		return nil, 0, err
	}
	return nil, 0, errRetry
}

// errRetry says that mu was let go in the meantime: look again.
var errRetry = block.Errorf(block.KindOther, "retry")

func (q *image) entryAt(t *table, i int64) entry {
	p := t.data[i*q.l2EntrySize:]
	e := entry{l2: be.Uint64(p)}
	if q.extL2 {
		e.sub = be.Uint64(p[8:])
	}
	return e
}

func (q *image) setEntry(t *table, i int64, e entry) {
	q.putEntry(t.data[i*q.l2EntrySize:], e)
	q.l2.mark(t)
}

func (q *image) putEntry(p []byte, e entry) {
	be.PutUint64(p, e.l2)
	if q.extL2 {
		be.PutUint64(p[8:], e.sub)
	}
}

// zeroEntry returns the entry of a cluster of zeroes that keeps the offset, with its
// flag, of keep.
func (q *image) zeroEntry(keep uint64) entry {
	if q.extL2 {
		return entry{l2: keep, sub: 0xffffffff << 32}
	}
	return entry{l2: keep | flagZero}
}

// subMask returns the bits of the subclusters from the byte from of a cluster on, up
// to to.
func (q *image) subMask(from, to int64) uint64 {
	first, last := from>>q.subBits, (to-1)>>q.subBits
	return uint64(1)<<(last+1) - uint64(1)<<first
}

// run is a stretch of the disk whose subclusters are alike and, if they have data,
// lie in a row in the file.
type run struct {
	kind clusterKind
	n    int64 // bytes
	host int64 // where off is in the data file; of a compressed cluster: its entry's
	ent  entry // of a compressed cluster
}

// maxRunClusters bounds how far a lookup goes.
const maxRunClusters = 4096

// find describes what begins at off, at most n bytes of it. It takes mu.
func (q *image) find(off, n int64) (run, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for {
		r, err := q.findLocked(off, n)
		if err != errRetry {
			return r, err
		}
	}
}

func (q *image) findLocked(off, n int64) (run, error) {
	guest := off >> q.clusterBits
	in := off & (q.clusterSize - 1)
	t, i, err := q.slice(guest)
	if err != nil {
		return run{}, err
	}
	per := q.sliceSize / q.l2EntrySize
	if t == nil {
		// No table: as far as the table would go.
		return run{kind: unallocated, n: min(n, q.leftOfTable(off))}, nil
	}
	e := q.entryAt(t, i)
	sub := 0
	if q.extL2 {
		sub = int(in >> q.subBits)
	}
	r := run{kind: q.kind(e, sub)}
	switch r.kind {
	case invalid:
		return r, q.corruption(true, -1, -1, "Invalid extended L2 entry")
	case compressed:
		r.ent = e
		r.n = min(n, q.clusterSize-in)
		return r, nil
	case normal, zeroAlloc:
		if err := q.checkOffset(e.offset()); err != nil {
			return r, err
		}
		r.host = e.offset() + in
	}
	// Then as far as it goes on alike.
	subSize := int64(1) << q.subBits
	r.n = subSize - in&(subSize-1)
	subs := int(q.clusterSize >> q.subBits)
	next := e.offset()
	for k := 0; r.n < n; {
		if sub++; sub == subs {
			sub = 0
			k++
			if i++; i == per || k == maxRunClusters {
				break
			}
			e = q.entryAt(t, i)
			if next += q.clusterSize; r.kind == normal && (e.offset() != next || e.l2&flagCompressed != 0) {
				break
			}
		}
		if q.kind(e, sub) != r.kind {
			break
		}
		r.n += subSize
	}
	r.n = min(r.n, n)
	return r, nil
}

func (q *image) checkOffset(off int64) error {
	if off&(q.clusterSize-1) != 0 {
		return q.corruption(true, -1, -1, "Cluster allocation offset unaligned")
	}
	return nil
}

// table returns the L2 slice of a guest cluster for changing it: the table is made
// if there is none, and copied if a snapshot has it, too. mu is held, and let go of
// only with errRetry; errGrow as in alloc.
func (q *image) table(guest int64) (*table, int64, error) {
	l1, _, _ := q.place(guest)
	if l1 >= len(q.l1) {
		return nil, 0, block.ErrIO
	}
	if q.twice >= 0 && q.overlap {
		return nil, 0, q.corruption(true, q.twice<<q.clusterBits, q.clusterSize, "Preventing invalid write: metadata overlap with each other")
	}
	if e := q.l1[l1]; e&flagCopied == 0 || e&offsetMask == 0 {
		if err := q.newL2(l1); err != nil {
			return nil, 0, err
		}
	}
	t, i, err := q.slice(guest)
	if err == nil && t == nil {
		err = block.ErrIO
	}
	return t, i, err
}

// newL2 gives an L1 entry a table of its own. mu is held, and kept over the
// reading and writing of a table: it is rare.
func (q *image) newL2(l1 int) error {
	old := int64(q.l1[l1] & offsetMask)
	c, _, fresh, err := q.alloc(1)
	if err != nil {
		return err
	}
	off := c << q.clusterBits
	if old != 0 {
		if old&(q.clusterSize-1) != 0 {
			return q.corruption(true, -1, -1, "L2 table offset unaligned")
		}
		err = q.copyL2(old, off)
	} else if !fresh {
		err = q.file.PwriteZeroes(off, q.clusterSize, 0)
	}
	if err != nil {
		q.unalloc(c, 1)
		return err
	}
	q.l2.forget(off, q.clusterSize) // it may have been a table before
	q.meta.add(c)
	q.l1[l1] = uint64(off) | flagCopied
	q.l1Dirty[l1] = struct{}{}
	if old != 0 {
		q.meta.remove(old >> q.clusterBits) // it is a snapshot's alone now
		q.free(old>>q.clusterBits, 1, freeOther)
	}
	return nil
}

// copyL2 copies a table, with what is cached of it.
func (q *image) copyL2(from, to int64) error {
	b := block.GetBuffer(int(q.clusterSize))
	defer b.Release()
	if err := q.readL2(from, b.B); err != nil {
		return err
	}
	return q.file.Pwrite(to, b.B)
}

// readL2 reads a whole table as it is now. mu is held, and kept.
func (q *image) readL2(off int64, p []byte) error {
	if err := q.file.Pread(off, p); err != nil {
		return err
	}
	for at := int64(0); at < q.clusterSize; at += q.sliceSize {
		// What somebody is just reading is what the file has.
		if t := q.l2.tables[off+at]; t != nil && !t.loading {
			copy(p[at:], t.data)
		}
	}
	return nil
}
