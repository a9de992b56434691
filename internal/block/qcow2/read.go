package qcow2

import (
	"govmd/internal/block"
)

// Preadv reads what the tables say, run by run.
func (q *image) Preadv(off int64, v block.Vec, _ block.Flags) error {
	e := q.enter()
	defer q.exit(e)
	if q.keyless {
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
	if q.crypt != nil {
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
		if q.crypt == nil && !q.keyless {
			st.Flags |= block.StatusOffset
			st.File, st.Offset = q.data.Node(), r.host
		}
	case compressed:
		st.Flags = block.StatusData | block.StatusCompressed
	case normal:
		st.Flags = block.StatusData
		if q.crypt == nil && !q.keyless {
			st.Flags |= block.StatusOffset | block.StatusRecurse
			st.File, st.Offset = q.data.Node(), r.host
		}
	}
	return st, nil
}

// Map implements block.Mapper for what is cached.
func (q *image) Map(off, limit int64, write bool) (*block.Child, int64, int64, bool) {
	if q.crypt != nil || q.keyless || write {
		return nil, 0, 0, false
	}
	if !q.mu.TryLock() {
		return nil, 0, 0, false
	}
	defer q.mu.Unlock()
	l1, at, _ := q.place(off >> q.clusterBits)
	if l1 >= len(q.l1) || q.l1[l1]&offsetMask == 0 {
		return nil, 0, 0, false
	}
	if t := q.l2.tables[int64(q.l1[l1]&offsetMask)+at]; t == nil || t.loading {
		return nil, 0, 0, false
	}
	r, err := q.findLocked(off, limit)
	if err != nil || r.kind != normal {
		return nil, 0, 0, false
	}
	return q.data, r.host, r.n, true
}
