package copy

import "govmd/internal/block"

// fly copies what was taken; of what fails the rest can be taken again.
func (o *Once) fly(f *Flight, buf []byte) (read bool, err error) {
	copied := int64(0)
	pos, end := f.off, f.off+f.n
	for pos < end && err == nil {
		var n int64
		var skip bool
		if n, skip, read, err = o.some(pos, end-pos, buf); err == nil {
			pos += n
			if !skip {
				copied += n
			}
		}
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if err != nil {
		o.todo.Set(pos, end-pos)
	}
	o.flying -= f.n
	o.land(f)
	o.progress(copied)
	return read, err
}

// some copies, or skips since the base has it, n bytes at off: at most size.
func (o *Once) some(off, size int64, buf []byte) (n int64, skip, read bool, err error) {
	c := &o.copy
	src := c.Source.Node()
	if o.base != nil {
		if n, skip, err = o.alike(off, size); err != nil || skip {
			return n, skip, true, err
		}
		size = n
	}
	st, _, err := src.BlockStatusAbove(nil, off, size, block.StatusZero)
	if err == nil && st.N > 0 && (st.Flags&block.StatusZero != 0 || st.Flags&block.StatusAllocated == 0) {
		if n = min(st.N, size); n < size {
			n -= n % o.unit
		}
		if n > 0 {
			read, err = c.piece(Piece{Off: off, N: n, Zero: true}, nil)
			return n, false, read, err
		}
		st.N = o.unit
	}
	// Units are written whole, and what nothing is known of is read.
	if n = min(size, int64(len(buf))); err != nil || st.N <= 0 {
		n = min(n, o.unit)
	} else if st.N < n {
		n = min(n, (st.N+o.unit-1)/o.unit*o.unit)
	}
	read, err = c.piece(Piece{Off: off, N: n}, buf)
	return n, false, read, err
}

// alike returns how many bytes from off on, at most size, are alike in whether the
// base has them, and if so; a unit of which it has not all is ours.
func (o *Once) alike(off, size int64) (n int64, base bool, err error) {
	for n < size {
		unit := min(o.unit, size-n)
		own, k, err := o.copy.Source.Node().IsAllocatedAbove(o.base, off+n, size-n)
		if err != nil || k <= 0 {
			return n, base, err
		}
		if !own && k < unit {
			own, k, err = o.anyOwn(off+n, unit)
			if err != nil {
				return n, base, err
			}
		}
		if own {
			k = (k + o.unit - 1) / o.unit * o.unit
		} else if k < size-n {
			k -= k % o.unit
		}
		switch {
		case n == 0:
			base = !own
		case base == own:
			return n, base, nil
		}
		n = min(n+k, size)
	}
	return n, base, nil
}

// anyOwn reports whether any of a unit's bytes are the source's own; it returns n.
func (o *Once) anyOwn(off, n int64) (own bool, _ int64, err error) {
	for pos := off; pos < off+n; {
		own, k, err := o.copy.Source.Node().IsAllocatedAbove(o.base, pos, off+n-pos)
		if err != nil || own || k <= 0 {
			return own, n, err
		}
		pos += k
	}
	return false, n, nil
}
