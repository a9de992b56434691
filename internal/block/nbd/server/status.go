package server

import (
	"encoding/binary"

	"govmd/internal/block"
	"govmd/internal/block/nbd/wire"
)

// maxExtents bounds the extents of one context in a reply.
const maxExtents = 8192

// extents collects those of one context. Neighbours that are alike are one.
type extents struct {
	r     *request
	count int
	n     uint64 // of the last one
	flags uint32
	limit int
}

// add adds n bytes; false: there is no room for more after what came before.
func (e *extents) add(n int64, flags uint32) bool {
	if e.count > 0 && e.flags == flags {
		e.n += uint64(n)
		return true
	}
	if e.count == e.limit {
		return false
	}
	e.put()
	e.count++
	e.n, e.flags = uint64(n), flags
	return true
}

// put writes the last extent. No request is longer than 32 bits can say.
func (e *extents) put() {
	if e.count > 0 {
		e.r.status = binary.BigEndian.AppendUint32(e.r.status, uint32(e.n))
		e.r.status = binary.BigEndian.AppendUint32(e.r.status, e.flags)
	}
}

// blockStatus answers for each context that the client has chosen.
func (r *request) blockStatus() error {
	r.status, r.ends = r.status[:0], r.ends[:0]
	c := &r.c.contexts
	one := func(number uint32, walk func(e *extents) error) error {
		r.status = binary.BigEndian.AppendUint32(r.status, number)
		e := extents{r: r, limit: maxExtents}
		if r.flags&wire.CmdFlagReqOne != 0 {
			e.limit = 1
		}
		if err := walk(&e); err != nil {
			return err
		}
		e.put()
		r.ends = append(r.ends, len(r.status))
		return nil
	}
	if c.base {
		if err := one(contextBase, r.allocation); err != nil {
			return err
		}
	}
	if c.depth {
		if err := one(contextDepth, r.depth); err != nil {
			return err
		}
	}
	for _, i := range c.bitmaps {
		b := c.offer.bitmaps[i]
		err := one(contextDirty+uint32(i), func(e *extents) error { r.dirty(b, e); return nil })
		if err != nil {
			return err
		}
	}
	return nil
}

// each walks over the range's status.
func (r *request) each(want block.StatusFlags, add func(st block.Status, depth int) bool) error {
	for off, end := int64(r.off), int64(r.off)+int64(r.n); off < end; {
		st, depth, err := r.c.offer.export.Node().BlockStatusAbove(nil, off, end-off, want)
		if err != nil {
			return err
		}
		if st.N <= 0 {
			return block.ErrIO // the image has become shorter
		}
		if !add(st, depth) {
			return nil
		}
		off += st.N
	}
	return nil
}

// allocation is the context base:allocation.
func (r *request) allocation(e *extents) error {
	return r.each(block.StatusZero, func(st block.Status, _ int) bool {
		var f uint32
		if st.Flags&block.StatusData == 0 {
			f |= wire.StateHole
		}
		if st.Flags&block.StatusZero != 0 {
			f |= wire.StateZero
		}
		return e.add(st.N, f)
	})
}

// depth is the context qemu:allocation-depth.
func (r *request) depth(e *extents) error {
	return r.each(0, func(st block.Status, depth int) bool {
		if st.Flags&block.StatusAllocated == 0 {
			depth = 0
		}
		return e.add(st.N, uint32(depth))
	})
}

// dirty is the context of a bitmap.
func (r *request) dirty(b *block.Bitmap, e *extents) {
	for off, end := int64(r.off), int64(r.off)+int64(r.n); off < end; {
		start, n, ok := b.NextDirty(off, end-off)
		if !ok || start >= end {
			e.add(end-off, 0)
			return
		}
		if start > off && !e.add(start-off, 0) {
			return
		}
		start = max(start, off) // whole granules are told
		next := min(start+n, end)
		if !e.add(next-start, stateDirty) {
			return
		}
		off = next
	}
}

// stateDirty is the only flag of a bitmap's status.
const stateDirty = 1 << 0
