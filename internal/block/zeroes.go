package block

import "sync"

// maxZeroes is how many zeroes are written at once.
const maxZeroes = 1 << 20

// zeroes is what is written where zeroes must be written. It is never written to.
// Who writes none does without it.
var zeroes = sync.OnceValue(func() []byte { return AlignedBuffer(maxZeroes, 4096) })

// Zeroes returns a vector of n zero bytes, at most 1 MiB, for writing.
func Zeroes(n int) Vec { return VecOf(zeroes()[:n:n]) }

func (n *Node) pwriteZeroes(off, size int64, f Flags) error {
	if err := checkRange(off, size); err != nil {
		return err
	}
	if !n.writable() {
		return ErrReadOnly
	}
	if size == 0 {
		return nil
	}
	if !n.set.Unmap {
		f &^= MayUnmap
	}
	a := int64(n.lim.Align)
	from := off &^ (a - 1)
	// Deallocated clusters are handed out again: nothing may be under way in them.
	serial := from != off || (off+size)&(a-1) != 0 || f&(Serialising|MayUnmap) != 0
	t := n.trk.begin(from, (off+size+a-1)&^(a-1)-from, serial)
	err := n.beforeWrite(off, Vec{})
	if err == nil {
		n.debugEvent(EventPwritevZero)
		err = n.zeroPieces(off, size, f)
		if err != ErrUnsupp {
			n.afterWrite(off, size, err)
		}
	}
	n.trk.end(t)
	if err == nil && f&FUA != 0 {
		err = n.flush()
	}
	return err
}

// zeroPieces cuts the range at what the driver's PwriteZeroes takes.
func (n *Node) zeroPieces(off, size int64, f Flags) error {
	z, can := n.drv.(Zeroer)
	za := int64(max(n.lim.ZeroAlign, n.lim.Align))
	end := off + size
	for off < end {
		m := end - off
		aligned := can
		if head := off & (za - 1); head != 0 {
			m, aligned = min(m, za-head), false
		} else if m < za && end < n.length.Load() {
			aligned = false
		} else if tail := m & (za - 1); tail != 0 && end < n.length.Load() {
			m -= tail
		}
		if l := n.lim.MaxZeroes; l > 0 && aligned {
			m = min(m, l)
		}
		err := error(ErrUnsupp)
		if aligned && (off|m)&int64(n.lim.Align-1) == 0 {
			err = z.PwriteZeroes(off, m, f&n.lim.ZeroFlags)
		}
		if err == ErrUnsupp {
			if f&NoFallback != 0 && aligned == can {
				return ErrUnsupp
			}
			err = n.zeroByWriting(off, m)
		}
		if err != nil {
			return err
		}
		off += m
	}
	return nil
}

func (n *Node) zeroByWriting(off, size int64) error {
	a := int64(n.lim.Align)
	limit := int64(maxZeroes)
	if t := n.lim.MaxTransfer; t > 0 {
		limit = min(limit, int64(t))
	}
	for size > 0 {
		m := min(size, limit)
		var err error
		if (off|m)&(a-1) != 0 {
			if over := (off + m) & (a - 1); m > a && over != 0 && m < size {
				m -= over
			}
			err = n.bounceWrite(off, Zeroes(int(m)), 0)
		} else {
			err = n.writeSplit(off, Zeroes(int(m)), 0)
		}
		if err != nil {
			return err
		}
		off, size = off+m, size-m
	}
	return nil
}
