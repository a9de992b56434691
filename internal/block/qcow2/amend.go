package qcow2

import (
	"context"
	"math/bits"

	"govmd/internal/block"
	"govmd/internal/block/encrypt"
)

// amendKeys are the options of creation that an existing image can be given.
var amendKeys = []string{"backing_file", "backing_fmt", "compat", "data_file", "data_file_raw", "lazy_refcounts", "refcount_bits", "size"}

// Amend changes key slots (*encrypt.AmendOptions), or what options of creation, a
// *CreateOptions, say; a size of 0 says nothing. What cannot be done is found out before the first change but for what the
// image's contents forbid.
func (q *image) Amend(ctx context.Context, opts any, force bool, progress func(done, total int64)) error {
	if slots, ok := opts.(*encrypt.AmendOptions); ok {
		return q.amendSlots(ctx, slots, force)
	}
	o := opts.(*CreateOptions)
	version := q.hdr.version
	if o.Version != nil {
		version = map[Version]uint32{"v2": 2, "v3": 3}[*o.Version]
	}
	order, err := q.checkAmend(o, version)
	if err != nil {
		return err
	}
	steps := []func() error{
		func() error { return q.upgrade(version) },
		func() error { return q.setRefcountOrder(ctx, order) },
		func() error { return q.setLazy(o.LazyRefcounts) },
		func() error {
			if o.Size == 0 {
				return nil
			}
			return q.node.Truncate(ctx, int64(o.Size), false, block.PreallocOff, 0)
		},
		func() error { return q.downgrade(ctx, version) },
	}
	for i, step := range steps {
		if err := step(); err != nil {
			return err
		}
		progress(int64(i+1), int64(len(steps)))
	}
	return nil
}

// checkAmend refuses what cannot be changed, and returns log2 of the refcount width
// that the image is to have.
func (q *image) checkAmend(o *CreateOptions, version uint32) (order uint32, err error) {
	h := &q.hdr
	if o.BackingFile != nil && *o.BackingFile != h.backingFile || o.BackingFmt != nil && *o.BackingFmt != h.backingFmt {
		return 0, block.Errorf(block.KindInvalid, "Cannot amend the backing file: use rebase")
	}
	if o.DataFile != nil {
		return 0, block.Errorf(block.KindUnsupported, "data-file cannot be changed")
	}
	if o.DataFileRaw != nil && *o.DataFileRaw != (h.autoclear&autoclearRawData != 0) {
		return 0, block.Errorf(block.KindInvalid, "data-file-raw cannot be set on existing images")
	}
	order = h.refcountOrder
	if o.RefcountBits != nil {
		n := *o.RefcountBits
		if n < 1 || n > 64 || n&(n-1) != 0 {
			return 0, block.Errorf(block.KindInvalid, "Refcount width must be a power of two and may not exceed 64 bits")
		}
		order = uint32(bits.TrailingZeros(uint(n)))
	}
	lazy := h.compat&compatLazy != 0
	if o.LazyRefcounts != nil {
		lazy = *o.LazyRefcounts
	}
	switch {
	case version < 3 && order != 4:
		return 0, block.Errorf(block.KindInvalid, "compat=0.10 requires refcount_bits=16")
	case version < 3 && lazy && o.LazyRefcounts != nil:
		return 0, block.Errorf(block.KindInvalid, "Lazy refcounts only supported with compatibility level 1.1 and above (use compat=1.1 or greater)")
	case version < 3 && h.version >= 3 && h.incompat&^incompatDirty != 0:
		return 0, block.Errorf(block.KindUnsupported, "Cannot downgrade an image with incompatible features set (%#x)", h.incompat&^incompatDirty)
	case version < 3 && h.version >= 3 && len(q.node.Bitmaps())+len(q.bitmaps) > 0:
		return 0, block.Errorf(block.KindUnsupported, "Cannot downgrade an image with persistent bitmaps: remove them first")
	}
	return order, nil
}

// upgrade makes an image one of version 3.
func (q *image) upgrade(version uint32) error {
	if version < 3 || q.hdr.version >= 3 {
		return nil
	}
	q.gate.Lock()
	defer q.gate.Unlock()
	if err := q.sync(); err != nil {
		return err
	}
	q.hdr.version = 3
	if err := q.writeHeader(); err != nil {
		q.hdr.version = 2
		return err
	}
	return nil
}

// setLazy switches lazy refcounts.
func (q *image) setLazy(on *bool) error {
	if on == nil || *on == (q.hdr.compat&compatLazy != 0) {
		return nil
	}
	q.gate.Lock()
	defer q.gate.Unlock()
	if err := q.sync(); err != nil {
		return err
	}
	if err := q.markClean(); err != nil {
		return err
	}
	q.hdr.compat ^= compatLazy
	if err := q.writeHeader(); err != nil {
		q.hdr.compat ^= compatLazy
		return err
	}
	return q.configure(q.opts, q.node.Settings())
}

// setRefcountOrder gives refcounts another width: all of them are counted and
// written anew, and the header points to them in the end.
func (q *image) setRefcountOrder(ctx context.Context, order uint32) error {
	old := q.hdr.refcountOrder
	if order == old {
		return nil
	}
	q.gate.Lock()
	defer q.gate.Unlock()
	if err := q.sync(); err != nil {
		return err
	}
	c, err := q.newChecker(ctx, 0)
	if err != nil {
		return err
	}
	defer c.buf.Release()
	if err := c.count(); err != nil {
		return err
	}
	if c.res.Corruptions > 0 || c.res.CheckErrors > 0 {
		return block.Errorf(block.KindCorrupt, "The image has errors: repair it first")
	}
	for cluster, n := range c.uses {
		if uint64(n) > maxRefcount(order) {
			return block.Errorf(block.KindInvalid, "Cannot decrease refcount entry width to %d bits: Cluster at offset %#x has a refcount of %d", 1<<order, int64(cluster)<<q.clusterBits, n)
		}
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	q.setOrder(order)
	if err := c.rebuildRefcounts(); err != nil {
		q.setOrder(old)
		return err
	}
	q.freeHint = 0
	return nil
}

// setOrder has refcounts be of another width from now on. mu is held.
func (q *image) setOrder(order uint32) {
	q.hdr.refcountOrder = order
	q.rbBits = q.clusterBits + 3 - uint(order)
	q.rb.init(q.rb.limit, q.rb.size)
}

// downgrade makes an image one of version 2, which has no clusters of zeroes: they
// are written, or given up where nothing is behind them.
func (q *image) downgrade(ctx context.Context, version uint32) error {
	if version >= 3 || q.hdr.version < 3 {
		return nil
	}
	q.gate.Lock()
	defer q.gate.Unlock()
	if err := q.checkSnapshots(); err != nil {
		return err
	}
	for off, end := int64(0), q.sizeBytes.Load(); off < end; {
		if err := ctx.Err(); err != nil {
			return err
		}
		r, err := q.find(off, end-off)
		if err != nil {
			return err
		}
		n := r.n
		switch {
		case r.kind != zeroPlain && r.kind != zeroAlloc:
		case q.node.BackingChild() == nil:
			n, err = q.discardOne(off, end, true)
		default:
			err = q.zeroBytes(off, n)
		}
		if err != nil {
			return err
		}
		off += n
	}
	if err := q.sync(); err != nil {
		return err
	}
	if err := q.markClean(); err != nil {
		return err
	}
	old := q.hdr
	q.hdr.version, q.hdr.incompat, q.hdr.compat, q.hdr.autoclear = 2, 0, 0, 0
	if err := q.writeHeader(); err != nil {
		q.hdr = old
		return err
	}
	return q.configure(q.opts, q.node.Settings())
}

// checkSnapshots refuses to make an image with snapshots that version 2 cannot have
// one of that version. gate is held exclusively.
func (q *image) checkSnapshots() error {
	b := block.GetBuffer(int(q.clusterSize))
	defer b.Release()
	for i := range q.snapshots {
		s := &q.snapshots[i]
		if int64(s.diskSize) != q.sizeBytes.Load() || s.vmSize > 1<<32-1 {
			return block.Errorf(block.KindUnsupported, "Internal snapshots prevent downgrade of image")
		}
		l1, err := readTable(q.file, s.l1Offset, s.l1Size)
		if err != nil {
			return err
		}
		for _, e := range l1 {
			off := int64(e & offsetMask)
			if off == 0 {
				continue
			}
			q.mu.Lock()
			err := q.readL2(off, b.B)
			q.mu.Unlock()
			if err != nil {
				return err
			}
			for k := int64(0); k < q.clusterSize; k += q.l2EntrySize {
				if e := be.Uint64(b.B[k:]); e&flagCompressed == 0 && e&flagZero != 0 {
					return block.Errorf(block.KindUnsupported, "Internal snapshots prevent downgrade of image: '%s' has clusters of zeroes", s.name)
				}
			}
		}
	}
	return nil
}
