package block

import "context"

// BlockStatus describes the bytes from off on: at most n of them, all alike. It
// says what this node knows, not what its backing file adds.
func (n *Node) BlockStatus(off, size int64, want StatusFlags) (Status, error) {
	if err := checkRange(off, size); err != nil {
		return Status{}, err
	}
	length := n.length.Load()
	if off >= length {
		return Status{Flags: StatusEOF}, nil
	}
	size = min(size, length-off)
	t := n.trk.begin(off, size, false)
	defer n.trk.end(t)
	st, err := n.status(off, size, want)
	if err != nil {
		return st, err
	}
	st.N = min(max(st.N, 1), size)
	if off+st.N == length {
		st.Flags |= StatusEOF
	}
	return st, nil
}

func (n *Node) status(off, size int64, want StatusFlags) (Status, error) {
	if c := n.filtered(); c != nil {
		if _, own := n.drv.(Statuser); !own {
			return c.Node().BlockStatus(off, size, want)
		}
	}
	s, ok := n.drv.(Statuser)
	if !ok {
		return Status{Flags: StatusData | StatusAllocated, N: size}, nil
	}
	a := int64(n.lim.Align)
	from := off &^ (a - 1)
	end := min((off+size+a-1)&^(a-1), max(n.length.Load(), off+size))
	st, err := s.BlockStatus(from, end-from, want)
	if err != nil {
		return st, err
	}
	if skip := off - from; skip > 0 {
		st.N -= skip
		st.Offset += skip
	}
	if st.N <= 0 {
		return st, ErrIO
	}
	st.N = min(st.N, size)
	if st.Flags&(StatusData|StatusZero) != 0 {
		st.Flags |= StatusAllocated
	}
	if st.Flags&StatusRecurse != 0 && st.File != nil {
		st.Flags &^= StatusRecurse
		if st.Flags&(StatusData|StatusZero) == 0 {
			// Whatever the child says is so here.
			below, err := st.File.BlockStatus(st.Offset, st.N, want)
			below.Flags = below.Flags&^StatusEOF | StatusAllocated
			if below.N == 0 {
				below.N = st.N
				below.Flags |= StatusZero
			}
			return below, err
		}
		if want&StatusZero != 0 && st.Flags&StatusZero == 0 && st.Flags&StatusOffset != 0 {
			below, err := st.File.BlockStatus(st.Offset, st.N, want)
			if err == nil && below.N > 0 {
				st.N = min(st.N, below.N)
				st.Flags |= below.Flags & StatusZero
				if below.Flags&StatusEOF != 0 && below.Flags&(StatusData|StatusZero) == 0 {
					st.Flags |= StatusZero
				}
			} else if err == nil { // beyond the end of the file
				st.Flags |= StatusZero
			}
		}
	}
	if st.Flags&(StatusAllocated|StatusZero) == 0 && n.BackingChild() == nil {
		// There is nothing that it could come from.
		if i, ok := n.drv.(Informer); ok && i.Info().UnallocZero {
			st.Flags |= StatusZero
		}
	}
	return st, nil
}

// BlockStatusAbove describes the bytes from off on as n and the nodes of its
// backing chain above base (not base itself; nil: the whole chain) have them.
// Allocated says that one of them says so, depth which one (1 is n).
func (n *Node) BlockStatusAbove(base *Node, off, size int64, want StatusFlags) (st Status, depth int, err error) {
	top := n.length.Load()
	for d, p := 1, n; p != nil && p != base; d, p = d+1, p.BackingChainNext() {
		if p != n && off >= p.length.Load() {
			// The backing file is shorter: what it lacks reads as zeroes.
			return Status{Flags: StatusZero | StatusAllocated | eof(off+size == top), N: size}, d, nil
		}
		st, err = p.BlockStatus(off, size, want)
		if err != nil {
			return st, d, err
		}
		size = min(size, st.N)
		st.N = size
		if p != n {
			st.Flags = st.Flags&^StatusEOF | eof(off+size == top)
		}
		if st.Flags&StatusAllocated != 0 || st.N == 0 {
			return st, d, nil
		}
	}
	return st, 0, nil
}

func eof(end bool) StatusFlags {
	if end {
		return StatusEOF
	}
	return 0
}

// IsAllocatedAbove reports whether the bytes from off on, of which it returns how
// many are alike, are allocated in n or above base in its chain.
func (n *Node) IsAllocatedAbove(base *Node, off, size int64) (allocated bool, count int64, err error) {
	st, _, err := n.BlockStatusAbove(base, off, size, 0)
	return st.Flags&StatusAllocated != 0, st.N, err
}

// Truncate sets the size. What is new reads as zeroes, even where a backing file
// is longer. It is a control operation; the node need not be drained.
func (n *Node) Truncate(ctx context.Context, size int64, exact bool, p Prealloc, f Flags) error {
	if size < 0 || size > maxOffset {
		return Errorf(KindInvalid, "Image size %d is out of range", size)
	}
	if n.set.ReadOnly {
		return Errorf(KindInvalid, "Image is read-only")
	}
	old := n.length.Load()
	t, ok := n.drv.(Truncater)
	if !ok {
		if c := n.filtered(); c != nil {
			if err := c.Node().Truncate(ctx, size, exact, p, f); err != nil {
				return err
			}
			return n.RefreshLength()
		}
		return Errorf(KindUnsupported, "Image format driver does not support resize")
	}
	// Nothing may run where the end moves; shrinking, what is cut off.
	from := min(old, size)
	r := n.trk.begin(from, maxOffset-from, true)
	if b := n.Backing(); b != nil && size > old && b.Length() > old {
		f |= ZeroWrite
	}
	err := t.Truncate(ctx, size, exact, p, f)
	n.gen.Add(1)
	n.trk.end(r)
	if err != nil {
		return err
	}
	return n.RefreshLength()
}
