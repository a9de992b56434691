package qcow2

import (
	"govmd/internal/block"
)

// allocation is a write to new clusters that is under way: what else touches the
// guest clusters waits for it.
type allocation struct {
	next, prev *allocation
	first, end int64 // guest clusters
	host       int64 // the first of the file's clusters
	fresh      bool  // they read as zeroes
	own        bool  // they were taken for this, rather than there already
	zero       bool  // they are entered as reading as zeroes
	whole      bool  // subclusters that are not written to have data to be copied
}

// conflict returns the first allocation under way that overlaps guest clusters
// [first, end), or nil. mu is held.
func (q *image) conflict(first, end int64) *allocation {
	for a := q.allocs.next; a != &q.allocs; a = a.next {
		if a.first < end && first < a.end {
			return a
		}
	}
	return nil
}

func (q *image) begin(first, end int64) *allocation {
	a := q.freeAlloc
	if a != nil {
		q.freeAlloc = a.next
	} else {
		a = new(allocation)
	}
	*a = allocation{first: first, end: end, prev: q.allocs.prev, next: &q.allocs}
	a.prev.next, q.allocs.prev = a, a
	return a
}

func (q *image) end(a *allocation) {
	a.prev.next, a.next.prev = a.next, a.prev
	a.next, q.freeAlloc = q.freeAlloc, a
	q.wakeAll()
}

// Pwritev writes in place what can be, and takes new clusters for the rest.
func (q *image) Pwritev(off int64, v block.Vec, f block.Flags) error {
	if f&block.Compressed != 0 {
		return q.writeCompressed(off, v)
	}
	return q.work(func() error {
		for v.Len() > 0 {
			n, err := q.writeSome(off, v)
			if err != nil {
				return err
			}
			off, v = off+n, v.From(int(n))
		}
		return nil
	})
}

// work runs a request's function, and again when it has returned errGrow: the
// refcount table has to grow first, for which the request leaves.
func (q *image) work(fn func() error) error {
	for {
		e := q.enter()
		if q.corrupt || q.locked() {
			q.exit(e)
			return block.ErrIO
		}
		err := fn()
		q.exit(e)
		if err == errGrow {
			if err = q.growRefTable(); err == nil {
				continue
			}
		}
		if err == nil {
			err = q.relieve()
		}
		return toErrno(err)
	}
}

// workThrough is work for what is done piece by piece from off up to end: fn does a
// piece and returns how long it is.
func (q *image) workThrough(off, end int64, fn func(off int64) (int64, error)) error {
	return q.work(func() error {
		for off < end {
			n, err := fn(off)
			if err != nil {
				return err
			}
			off += n
		}
		return nil
	})
}

// toErrno makes an error number of an error, since requests have no other.
func toErrno(err error) error {
	if err == nil {
		return nil
	}
	return block.Errno(err)
}

// writeSome writes the first part of v that is of one kind.
func (q *image) writeSome(off int64, v block.Vec) (int64, error) {
	q.mu.Lock()
	host, n, a, err := q.plan(off, int64(v.Len()))
	q.mu.Unlock()
	if err != nil {
		return 0, err
	}
	part := v.To(int(n))
	if a == nil {
		return n, q.writeData(host, off, part)
	}
	err = q.fill(a, host, off, part)
	q.mu.Lock()
	defer q.mu.Unlock()
	if err == nil {
		err = q.link(a, off, n)
	} else if a.own {
		q.giveBack(a)
	}
	q.end(a)
	return n, err
}

// giveBack takes back the clusters of a write that failed.
func (q *image) giveBack(a *allocation) {
	if !q.ext {
		q.unalloc(a.host, a.end-a.first)
	}
}

// plan decides where the first bytes of [off, off+n) are written: in place, with a
// nil allocation, or into clusters that have to be entered afterwards. It returns
// with mu held, as it was called.
func (q *image) plan(off, n int64) (host, count int64, a *allocation, err error) {
	for {
		host, count, a, err = q.tryPlan(off, n)
		if err == errRetry {
			continue
		}
		return host, count, a, err
	}
}

func (q *image) tryPlan(off, n int64) (host, count int64, a *allocation, err error) {
	first, last := off>>q.clusterBits, (off+n-1)>>q.clusterBits
	in := off & (q.clusterSize - 1)
	if q.conflict(first, first+1) != nil {
		q.wait()
		return 0, 0, nil, errRetry
	}
	t, i, err := q.table(first)
	if err != nil {
		return 0, 0, nil, err
	}
	// As far as this slice goes, and others do not interfere.
	per := q.sliceSize / q.l2EntrySize
	clusters := min(last-first+1, per-i)
	for a := q.allocs.next; a != &q.allocs; a = a.next {
		if a.first > first && a.first < first+clusters {
			clusters = a.first - first
		}
	}
	e := q.entryAt(t, i)
	end := min(in+n, clusters<<q.clusterBits) // relative to the first cluster
	w := planning{t: t, i: i, first: first, clusters: clusters, in: in, end: end}
	if have := q.present(e, in, min(end, q.clusterSize)); have > 0 {
		host, count, err = q.planInPlace(&w, e, have)
		return host, count, nil, err
	}
	return q.planNew(&w, e)
}

// planning is what tryPlan has found out.
type planning struct {
	t        *table
	i        int64 // of the first cluster's entry
	first    int64 // guest cluster
	clusters int64 // that can be looked at
	in, end  int64 // the range, relative to the first cluster
}

// stretch returns how much of [in, end) lies in the first k clusters.
func (q *image) stretch(w *planning, k int64) int64 { return min(w.end, k<<q.clusterBits) - w.in }

// planInPlace is for data whose first have bytes are there.
func (q *image) planInPlace(w *planning, e entry, have int64) (host, count int64, err error) {
	host = e.offset()
	if err := q.checkOffset(host); err != nil {
		return 0, 0, err
	}
	k := int64(1)
	if w.in+have == q.clusterSize {
		for ; k < w.clusters; k++ {
			e := q.entryAt(w.t, w.i+k)
			want := min(w.end-k<<q.clusterBits, q.clusterSize)
			if e.offset() != host+k<<q.clusterBits || q.present(e, 0, want) != want {
				break
			}
		}
		have = q.stretch(w, k)
	}
	return host + w.in, have, q.guard(host, k<<q.clusterBits)
}

// planNew is for data that are not there: their clusters have space that can be
// used, or get some.
func (q *image) planNew(w *planning, e entry) (host, count int64, a *allocation, err error) {
	absent := q.absent(e, w.in, min(w.end, q.clusterSize))
	reuse, whole := q.reusable(e), q.hasData(e)
	k := int64(1)
	if w.in+absent == q.clusterSize {
		for ; k < w.clusters; k++ {
			n := q.entryAt(w.t, w.i+k)
			want := min(w.end-k<<q.clusterBits, q.clusterSize)
			if q.absent(n, 0, want) != want || q.reusable(n) != reuse || q.extL2 && q.hasData(n) != whole ||
				reuse && n.offset() != e.offset()+k<<q.clusterBits {
				break
			}
		}
	}
	cluster, fresh := e.offset()>>q.clusterBits, false
	switch {
	case reuse:
		if err := q.checkOffset(e.offset()); err != nil {
			return 0, 0, nil, err
		}
		if err := q.guard(e.offset(), k<<q.clusterBits); err != nil {
			return 0, 0, nil, err
		}
	case q.ext:
		cluster = w.first
	default:
		if err := q.needDirty(); err != nil {
			return 0, 0, nil, err
		}
		if cluster, k, fresh, err = q.alloc(k); err != nil {
			return 0, 0, nil, err
		}
	}
	count = q.stretch(w, k)
	if k == 1 {
		count = min(count, absent)
	}
	a = q.begin(w.first, w.first+k)
	a.host, a.fresh, a.own, a.whole = cluster, fresh, !reuse, !reuse && whole
	return cluster<<q.clusterBits + w.in, count, a, nil
}

// present returns how many bytes from from on, up to to, can be written where they
// are, without a change of metadata.
func (q *image) present(e entry, from, to int64) int64 {
	if e.l2&flagCopied == 0 || e.l2&flagCompressed != 0 {
		return 0
	}
	return q.alike(e, from, to, true)
}

// absent returns how many bytes from from on, up to to, cannot.
func (q *image) absent(e entry, from, to int64) int64 {
	if e.l2&flagCopied == 0 || e.l2&flagCompressed != 0 {
		return to - from
	}
	return q.alike(e, from, to, false)
}

func (q *image) alike(e entry, from, to int64, data bool) int64 {
	if !q.extL2 {
		if (q.kind(e, 0) == normal) == data {
			return to - from
		}
		return 0
	}
	pos := from
	for pos < to && (q.kind(e, int(pos>>q.subBits)) == normal) == data {
		pos = min(to, (pos>>q.subBits+1)<<q.subBits)
	}
	return pos - from
}

// hasData reports whether a cluster holds data that have to move with it.
func (q *image) hasData(e entry) bool {
	if !q.extL2 {
		return false // fill copies whole clusters anyway
	}
	return e.l2&flagCompressed != 0 || e.sub&0xffffffff != 0
}

// reusable reports whether a cluster has space of its own that can be written to,
// if the entry is changed afterwards.
func (q *image) reusable(e entry) bool {
	if e.l2&flagCopied == 0 || e.l2&flagCompressed != 0 {
		return false
	}
	if q.extL2 {
		return q.ext || e.offset() != 0
	}
	return q.kind(e, 0) == zeroAlloc
}

// guard refuses to write guest data over metadata. mu is held.
func (q *image) guard(off, n int64) error {
	if q.ext || !q.overlap {
		return nil
	}
	for c := off >> q.clusterBits; c < (off+n)>>q.clusterBits; c++ {
		if q.meta.has(c) {
			return q.corruption(true, c<<q.clusterBits, q.clusterSize, "Preventing invalid write on metadata (overlaps with "+q.metaName(c)+")")
		}
	}
	return nil
}

// metaName says what a cluster of metadata is.
func (q *image) metaName(c int64) string {
	off := uint64(c) << q.clusterBits
	size := uint64(q.clusterSize)
	in := func(start, n uint64) bool { return off+size > start && off < start+n }
	switch {
	case c == 0:
		return "qcow2_header"
	case in(q.hdr.l1Offset, uint64(len(q.l1))*8):
		return "active L1 table"
	case in(q.hdr.refTableOffset, uint64(len(q.refTable))*8):
		return "refcount table"
	}
	for _, e := range q.l1 {
		if e&offsetMask == off {
			return "active L2 table"
		}
	}
	for _, e := range q.refTable {
		if e == off {
			return "refcount block"
		}
	}
	return "snapshot table"
}

// writeData writes to space that is the image's own.
func (q *image) writeData(host, off int64, v block.Vec) error {
	q.file.Debug(block.EventWriteAIO)
	if q.encrypted() {
		return q.writeEncrypted(host, off, v)
	}
	return q.data.Pwritev(host, v, 0)
}
