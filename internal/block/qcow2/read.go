package qcow2

import (
	"govmd/internal/block"
)

// Preadv reads what the tables say, run by run.
func (q *image) Preadv(off int64, v block.Vec, _ block.Flags) error {
	e := q.enter()
	defer q.exit(e)
	if q.locked() {
		return block.ErrIO
	}
	for v.Len() > 0 {
		r, err := q.find(off, int64(v.Len()))
		if err != nil {
			return err
		}
		if err := q.readRun(r, off, v.To(int(r.n))); err != nil {
			return err
		}
		off, v = off+r.n, v.From(int(r.n))
	}
	return nil
}

func (q *image) readRun(r run, off int64, v block.Vec) error {
	switch r.kind {
	case unallocated:
		q.file.Debug(block.EventReadBackingAIO)
		return q.readBacking(off, v)
	case zeroPlain, zeroAlloc:
		return v.Zero()
	case compressed:
		q.file.Debug(block.EventReadCompressed)
		return q.readCompressed(r.ent, off&(q.clusterSize-1), v)
	}
	if q.encrypted() {
		return q.readEncrypted(r.host, off, v)
	}
	q.file.Debug(block.EventReadAIO)
	return q.data.Preadv(r.host, v, 0)
}

// readBacking reads what the image does not have.
func (q *image) readBacking(off int64, v block.Vec) error {
	if c := q.backing(); c != nil {
		return c.Preadv(off, v, 0)
	}
	return v.Zero()
}

// backing returns the edge to the backing file, or nil: it can change under drain.
func (q *image) backing() *block.Child {
	return q.node.BackingChild()
}

// BlockStatus describes a range.
func (q *image) BlockStatus(off, n int64, _ block.StatusFlags) (block.Status, error) {
	e := q.enter()
	defer q.exit(e)
	r, err := q.find(off, n)
	if err != nil {
		return block.Status{}, err
	}
	st := block.Status{N: r.n}
	switch r.kind {
	case zeroPlain:
		st.Flags = block.StatusZero
	case zeroAlloc:
		st.Flags = block.StatusZero
		if !q.encrypted() {
			st.Flags |= block.StatusOffset
			st.File, st.Offset = q.data.Node(), r.host
		}
	case compressed:
		st.Flags = block.StatusData | block.StatusCompressed
	case normal:
		st.Flags = block.StatusData
		if !q.encrypted() {
			st.Flags |= block.StatusOffset | block.StatusRecurse
			st.File, st.Offset = q.data.Node(), r.host
		}
	}
	return st, nil
}

// Map implements block.Mapper for what is cached, in one piece, and, for a write,
// the image's own: then nothing changes but the data.
func (q *image) Map(off, n int64, write bool) (*block.Child, int64, uint32, bool) {
	if !q.gate.TryRLock() {
		return nil, 0, 0, false
	}
	if q.encrypted() {
		q.gate.RUnlock()
		return nil, 0, 0, false
	}
	e := q.epoch.Load()
	q.active[e&1].Add(1)
	host, ok := int64(0), q.epoch.Load() == e && q.mu.TryLock()
	if ok {
		host, ok = q.mapped(off, n, write)
		q.mu.Unlock()
	}
	if !ok {
		q.exit(e)
		return nil, 0, 0, false
	}
	return q.data, host, e, true
}

// Unmap implements block.Mapper.
func (q *image) Unmap(e uint32) { q.exit(e) }

// mapped returns where n bytes at off are, if that is known. mu is held, and kept.
func (q *image) mapped(off, n int64, write bool) (int64, bool) {
	l1, at, i := q.place(off >> q.clusterBits)
	if l1 >= len(q.l1) || q.l1[l1]&offsetMask == 0 || q.corrupt {
		return 0, false
	}
	t := q.l2.lookup(int64(q.l1[l1]&offsetMask) + at)
	if t == nil || t.loading {
		return 0, false
	}
	if !write {
		r, err := q.findLocked(off, n)
		return r.host, err == nil && r.kind == normal && r.n == n
	}
	first, last := off>>q.clusterBits, (off+n-1)>>q.clusterBits
	per := q.sliceSize / q.l2EntrySize
	if q.l1[l1]&flagCopied == 0 || q.twice >= 0 || last-first >= per-i || q.conflict(first, last+1) != nil {
		return 0, false
	}
	in := off & (q.clusterSize - 1)
	w := planning{t: t, i: i, first: first, clusters: last - first + 1, in: in, end: in + n}
	e := q.entryAt(t, i)
	have := q.present(e, in, min(in+n, q.clusterSize))
	if have == 0 || e.offset()&(q.clusterSize-1) != 0 {
		return 0, false
	}
	host, count, err := q.planInPlace(&w, e, have)
	return host, err == nil && count == n
}
