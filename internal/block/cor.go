package block

// EnableCopyOnRead has what reads bring up from the backing chain written to the
// node itself, until DisableCopyOnRead. Calls nest.
func (n *Node) EnableCopyOnRead() { n.cor.Add(1) }

// DisableCopyOnRead ends what EnableCopyOnRead began.
func (n *Node) DisableCopyOnRead() { n.cor.Add(-1) }

// copyOnRead reads and keeps what was not allocated here.
func (n *Node) copyOnRead(off int64, v Vec, f Flags) error {
	return n.copyingUp(off, int64(v.Len()), func() error { return n.readPadded(off, v, f&^CopyOnRead) })
}

// Prefetch copies to the node what a range has of the backing chain: reading it with
// CopyOnRead, without the reading. The node is written, which its user has permission for.
func (n *Node) Prefetch(off, size int64) error {
	if err := checkRange(off, size); err != nil {
		return err
	}
	if !n.writable() {
		return ErrReadOnly
	}
	return n.copyingUp(off, size, nil)
}

// copyingUp copies up what is not allocated and then calls read, if not nil. The
// range is the request's alone, so that no guest write is lost under what is copied.
func (n *Node) copyingUp(off, size int64, read func() error) error {
	unit := int64(max(n.Info().ClusterSize, n.lim.Align, 1))
	from := off / unit * unit
	end := min((off+size+unit-1)/unit*unit, n.length.Load())
	t := n.trk.begin(from, max(end-from, size), true)
	defer n.trk.end(t)
	for pos := from; pos < end && !n.set.ReadOnly; {
		st, err := n.status(pos, min(end-pos, bounceSize), 0) // not BlockStatus: it would wait for us
		if err != nil || st.N <= 0 {
			return err
		}
		if st.Flags&StatusAllocated == 0 {
			if err := n.copyUp(pos, st.N, unit); err != nil {
				return err
			}
		}
		pos += st.N
	}
	if read == nil {
		return nil
	}
	return read()
}

// copyUp copies to the node what it has of the chain: size bytes, none of which is
// allocated here, or as many of them as a buffer holds.
func (n *Node) copyUp(off, size, unit int64) error {
	size = min(size, max(bounceSize, unit))
	defer n.gen.Add(1)
	if n.zeroesBehind(off, size) {
		return n.zeroPieces(off, size, Unchanged)
	}
	b := GetBuffer(int(size))
	defer b.Release()
	v := VecOf(b.B)
	if err := n.readPadded(off, v, 0); err != nil {
		return err
	}
	if v.IsZero() {
		return n.zeroPieces(off, size, Unchanged)
	}
	return n.bounceOrWrite(off, v)
}

// zeroesBehind reports whether the chain is known to read as zeroes there.
func (n *Node) zeroesBehind(off, size int64) bool {
	next := n.BackingChainNext()
	if next == nil {
		return true
	}
	st, _, err := next.BlockStatusAbove(nil, off, size, StatusZero)
	return err == nil && st.N == size && (st.Flags&StatusZero != 0 || st.Flags&StatusAllocated == 0)
}

func (n *Node) bounceOrWrite(off int64, v Vec) error {
	if (off|int64(v.Len()))&int64(n.lim.Align-1) != 0 {
		return n.bounceWrite(off, v, Unchanged)
	}
	return n.writeSplit(off, v, Unchanged)
}
