package block

// maxOffset bounds what any image can hold, so that sums cannot overflow.
const maxOffset = 1<<63 - 1<<30

// MaxRequest is the longest read or write, in bytes.
const MaxRequest = 1<<31 - 1<<21

func checkRange(off, n int64) error {
	if off < 0 || n < 0 || n > maxOffset || off > maxOffset-n {
		return ErrIO
	}
	return nil
}

func (n *Node) preadv(off int64, v Vec, f Flags) error {
	size := int64(v.Len())
	if err := checkRange(off, size); err != nil {
		return err
	}
	if size == 0 {
		return nil
	}
	if n.cor.Load() > 0 {
		f |= CopyOnRead
	}
	if f&CopyOnRead != 0 {
		return n.copyOnRead(off, v, f)
	}
	t := n.trk.begin(off, size, f&Serialising != 0)
	err := n.readPadded(off, v, f)
	n.trk.end(t)
	return err
}

// readPadded reads what may begin and end anywhere.
func (n *Node) readPadded(off int64, v Vec, f Flags) error {
	if length, end := n.length.Load(), off+int64(v.Len()); end > length {
		// What is beyond the end reads as zeroes.
		keep := max(0, length-off)
		if err := v.From(int(keep)).Zero(); err != nil {
			return err
		}
		if v = v.To(int(keep)); keep == 0 {
			return nil
		}
	}
	if a := int64(n.lim.Align); (off|int64(v.Len()))&(a-1) != 0 {
		return n.bounceRead(off, v, f)
	}
	return n.readSplit(off, v, f)
}

// readSplit reads an aligned range in pieces that the driver takes.
func (n *Node) readSplit(off int64, v Vec, f Flags) error {
	if m := n.lim.MaxTransfer; m > 0 {
		for v.Len() > m {
			if err := n.drv.Preadv(off, v.To(m), f); err != nil {
				return err
			}
			off, v = off+int64(m), v.From(m)
		}
	}
	return n.drv.Preadv(off, v, f)
}

func (n *Node) pwritev(off int64, v Vec, f Flags) error {
	size := int64(v.Len())
	if err := checkRange(off, size); err != nil {
		return err
	}
	if !n.writable() {
		return ErrReadOnly
	}
	if size == 0 {
		if f&FUA != 0 {
			return n.flush()
		}
		return nil
	}
	if m := n.set.DetectZeroes; m != "" && m != DetectZeroesOff && f&(Compressed|Unchanged) == 0 && v.IsZero() {
		if m == DetectZeroesUnmap && n.set.Unmap {
			f |= MayUnmap
		}
		return n.pwriteZeroes(off, size, f)
	}
	a := int64(n.lim.Align)
	bounce := (off|size)&(a-1) != 0
	var t *tracked
	if bounce {
		from := off &^ (a - 1)
		t = n.trk.begin(from, (off+size+a-1)&^(a-1)-from, true)
	} else {
		t = n.trk.begin(off, size, f&Serialising != 0)
	}
	err := n.beforeWrite(off, v)
	if err == nil {
		n.debugEvent(EventPwritev)
		if bounce {
			err = n.bounceWrite(off, v, f)
		} else {
			err = n.writeSplit(off, v, f)
		}
		n.debugEvent(EventPwritevDone)
		n.afterWrite(off, size, err)
	}
	n.trk.end(t)
	if err == nil && f&FUA&^n.lim.WriteFlags != 0 {
		err = n.flush()
	}
	return err
}

// writeSplit writes an aligned range in pieces that the driver takes.
func (n *Node) writeSplit(off int64, v Vec, f Flags) error {
	f &= n.lim.WriteFlags
	if m := n.lim.MaxTransfer; m > 0 {
		for v.Len() > m {
			if err := n.drv.Pwritev(off, v.To(m), f); err != nil {
				return err
			}
			off, v = off+int64(m), v.From(m)
		}
	}
	return n.drv.Pwritev(off, v, f)
}

// beforeWrite is called with the request tracked, before anything is written.
func (n *Node) beforeWrite(off int64, v Vec) error {
	if n.guardRaw && off < 512 && v.Len() > 0 {
		if err := n.checkRawHeader(off, v); err != nil {
			return err
		}
	}
	if th := n.threshold.Load(); th > 0 && off+int64(v.Len()) > th {
		n.exceeded(off+int64(v.Len()), th)
	}
	return nil
}

// afterWrite notes a change, whether or not it went well.
func (n *Node) afterWrite(off, size int64, err error) {
	n.gen.Add(1)
	if err == nil {
		raise(&n.maxWrite, off+size)
		raise(&n.length, off+size)
	}
	if list := n.bitmaps.Load(); list != nil {
		for _, b := range *list {
			b.mark(off, size)
		}
	}
}

func raise(p interface {
	Load() int64
	CompareAndSwap(old, new int64) bool
}, to int64) {
	for old := p.Load(); old < to && !p.CompareAndSwap(old, to); old = p.Load() {
	}
}

// MaxWriteOffset returns the end of the highest write so far.
func (n *Node) MaxWriteOffset() int64 { return n.maxWrite.Load() }

// flush makes what was written before the call stable, here and below. One that
// has nothing to do, since another has done it in the meantime, does nothing.
func (n *Node) flush() error {
	want := n.gen.Load()
	n.flushMu.Lock()
	defer n.flushMu.Unlock()
	if n.set.ReadOnly || n.flushed >= want && want > 0 {
		return nil
	}
	want = n.gen.Load()
	t := n.trk.begin(0, 0, false)
	defer n.trk.end(t)
	primary := n.primaryChild()
	if primary != nil {
		primary.Debug(EventFlushToOS)
	}
	if err := n.drv.Flush(); err != nil {
		return err
	}
	if primary != nil {
		primary.Debug(EventFlushToDisk)
	}
	if !n.set.NoFlush || !n.typ.Protocol {
		for _, c := range n.children {
			if c.holds() {
				if err := c.Node().flush(); err != nil {
					return err
				}
			}
		}
	}
	n.flushed = want
	return nil
}

func (n *Node) pdiscard(off, size int64) error {
	if err := checkRange(off, size); err != nil {
		return err
	}
	if !n.writable() {
		return ErrReadOnly
	}
	size = min(size, n.length.Load()-off)
	d, ok := n.drv.(Discarder)
	if !n.set.Unmap || !ok || size <= 0 {
		return nil
	}
	// Clusters that go are handed out again: nothing may be under way in them.
	t := n.trk.begin(off, size, true)
	defer n.trk.end(t)
	if n.guardRaw && off < 512 {
		size, off = size-(512-off), 512
	}
	a := int64(max(n.lim.DiscAlign, n.lim.Align))
	from, to := (off+a-1)&^(a-1), (off+size)&^(a-1)
	if off+size == n.length.Load() {
		to = off + size // the end of the image may be anywhere
	}
	for from < to {
		m := to - from
		if l := n.lim.MaxDiscard; l > 0 {
			m = min(m, l)
		}
		if err := d.Pdiscard(from, m); err != nil && err != ErrUnsupp {
			n.afterWrite(off, size, err)
			return err
		}
		from += m
	}
	n.afterWrite(off, size, nil)
	return nil
}

func (n *Node) copyRange(srcOff int64, dst *Node, dstOff, size int64, f Flags) error {
	rc, ok := n.drv.(RangeCopier)
	if err := checkRange(srcOff, size); err != nil {
		return err
	}
	if err := checkRange(dstOff, size); err != nil {
		return err
	}
	switch {
	case !ok || n.trk.serialising():
		return ErrUnsupp
	case srcOff+size > n.length.Load():
		return ErrInvalid
	}
	t := n.trk.begin(srcOff, size, false)
	defer n.trk.end(t)
	return rc.CopyRange(srcOff, dst, dstOff, size, f)
}

// CopyTo has fn write n bytes at off of the node, or of whatever node below it
// holds them, by means of the host: fn is called with that node's driver. It is
// for the drivers that carry out CopyRange. All nodes on the way account for a write.
func (n *Node) CopyTo(off, size int64, fn func(d Driver, off int64) error) error {
	if !n.writable() {
		return ErrReadOnly
	}
	if m := n.set.DetectZeroes; n.guardRaw && off < 512 || m != "" && m != DetectZeroesOff {
		return ErrUnsupp // the data have to be looked at
	}
	t := n.trk.begin(off, size, false)
	defer n.trk.end(t)
	var err error
	if ct, ok := n.drv.(CopyTargeter); ok {
		var c *Child
		var at int64
		if c, at, err = ct.CopyRangeTarget(off, size); err == nil {
			err = c.Node().CopyTo(at, size, fn)
		}
	} else {
		err = fn(n.drv, off)
	}
	if err != ErrUnsupp {
		n.afterWrite(off, size, err)
	}
	return err
}

func (t *tracker) serialising() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.serial > 0
}

// Flush makes what has been written to the node stable. It may be called anywhere
// but where it must not be waited for.
func (n *Node) Flush() error { return n.flush() }
