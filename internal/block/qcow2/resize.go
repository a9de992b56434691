package qcow2

import (
	"context"

	"govmd/internal/block"
)

// Truncate changes the size of the disk, with all requests out of the way.
func (q *image) Truncate(ctx context.Context, size int64, exact bool, p block.Prealloc, f block.Flags) error {
	if size&511 != 0 {
		return block.Errorf(block.KindInvalid, "The new size must be a multiple of 512")
	}
	q.gate.Lock()
	defer q.gate.Unlock()
	old := q.sizeBytes.Load()
	if size != old {
		for i := range q.snapshots {
			if q.hdr.version < 3 && q.snapshots[i].extra < 16 {
				return block.Errorf(block.KindUnsupported, "Can't resize a v2 image which has snapshots")
			}
		}
	}
	for _, b := range q.bitmaps {
		if q.node.Bitmap(b.name) == nil && size != old {
			return block.Errorf(block.KindUnsupported, "Can't resize a qcow2 image which has bitmaps that are not loaded")
		}
	}
	if size < old {
		if p != block.PreallocOff {
			return block.Errorf(block.KindInvalid, "Preallocation can't be used for shrinking an image")
		}
		if err := q.shrink(size, old); err != nil {
			return err
		}
	} else if err := q.growL1(q.l1Needed(size)); err != nil {
		return err
	}
	if q.ext && (size > q.data.Length() || q.hdr.autoclear&autoclearRawData != 0) && size != q.data.Length() {
		dp := block.PreallocOff
		if p >= block.PreallocFalloc {
			dp = p
		}
		if err := q.data.Truncate(ctx, size, false, dp, 0); err != nil {
			return err
		}
	}
	if size > old {
		if err := q.growTail(old, size, p, f); err != nil {
			return err
		}
		if p != block.PreallocOff {
			if err := q.preallocate(ctx, old, size, p); err != nil {
				return err
			}
		}
	}
	if err := q.sync(); err != nil {
		return err
	}
	var b [8]byte
	be.PutUint64(b[:], uint64(size))
	if err := q.file.PwriteSync(24, b[:]); err != nil {
		return err
	}
	q.hdr.size = uint64(size)
	q.sizeBytes.Store(size)
	return nil
}

// growTail sees to it that what is new reads as zeroes: the rest of the old last
// cluster, and, with a backing file that is longer, all of it.
func (q *image) growTail(old, size int64, p block.Prealloc, f block.Flags) error {
	q.sizeBytes.Store(size) // so that the end counts as a cluster's
	defer q.sizeBytes.Store(old)
	end := min(size, (old+q.clusterSize-1)&^(q.clusterSize-1))
	if old < end {
		r, err := q.find(old&^(q.clusterSize-1), q.clusterSize)
		if err != nil {
			return err
		}
		if r.kind != unallocated || f&block.ZeroWrite != 0 {
			if err := q.zeroBytes(old, end-old); err != nil {
				return err
			}
		}
	}
	if f&block.ZeroWrite == 0 {
		return nil
	}
	for off := end; off < size; {
		var m int64
		err := q.again(func() (err error) { m, err = q.zeroOne(off, size, false); return err })
		if err != nil {
			return err
		}
		off += m
	}
	return nil
}

// zeroBytes writes zeroes to a part of a cluster. gate is held exclusively.
func (q *image) zeroBytes(off, n int64) error {
	for n > 0 {
		var m int64
		err := q.again(func() (err error) {
			m, err = q.writeSome(off, block.Zeroes(int(min(n, 1<<20))))
			return err
		})
		if err != nil {
			return err
		}
		off, n = off+m, n-m
	}
	return nil
}

// again runs fn, and again after the refcount table has grown. gate is held
// exclusively.
func (q *image) again(fn func() error) error {
	for {
		err := fn()
		if err != errGrow {
			return err
		}
		if err := q.growRefTable(); err != nil {
			return err
		}
	}
}

// shrink gives up what is beyond the new end. gate is held exclusively.
func (q *image) shrink(size, old int64) error {
	from := (size + q.clusterSize - 1) &^ (q.clusterSize - 1)
	if tail := min(from, old); size < tail {
		r, err := q.find(size&^(q.clusterSize-1), q.clusterSize)
		if err != nil {
			return err
		}
		if r.kind == normal || r.kind == compressed {
			if err := q.zeroBytes(size, tail-size); err != nil {
				return err
			}
		}
	}
	for off := from; off < old; {
		end := min(off+q.leftOfTable(off), old)
		if err := q.dropRange(off, end); err != nil {
			return err
		}
		off = end
	}
	return nil
}

// dropRange gives up the clusters of [off, end), which lie in one L2 table, and the
// table if nothing is left in it.
func (q *image) dropRange(off, end int64) error {
	l1, _, _ := q.place(off >> q.clusterBits)
	if l1 >= len(q.l1) || q.l1[l1]&offsetMask == 0 {
		return nil
	}
	return q.again(func() error {
		q.mu.Lock()
		defer q.mu.Unlock()
		for c := off >> q.clusterBits; c < (end+q.clusterSize-1)>>q.clusterBits; {
			t, i, err := q.table(c)
			if err == errRetry {
				continue
			}
			if err != nil {
				return err
			}
			if e := q.entryAt(t, i); e != (entry{}) {
				q.setEntry(t, i, entry{})
				q.freeEntry(e, freeOther)
			}
			c++
		}
		if off&(q.l2Span()-1) == 0 {
			table := int64(q.l1[l1] & offsetMask)
			q.l1[l1] = 0
			q.l1Dirty[l1] = struct{}{}
			q.l2.forget(table, q.clusterSize)
			q.removeMeta(table, q.clusterSize)
			q.free(table>>q.clusterBits, 1, freeOther)
		}
		return nil
	})
}

// growL1 makes the L1 table larger: a new one is written, then the header is made
// to point to it. gate is held exclusively.
func (q *image) growL1(need int64) error {
	if need <= int64(len(q.l1)) {
		return nil
	}
	if need*8 > maxL1Size {
		return block.Errorf(block.KindInvalid, "The image would be too large for its cluster size of %d bytes", q.clusterSize)
	}
	if err := q.sync(); err != nil {
		return err
	}
	l1 := make([]uint64, need)
	copy(l1, q.l1)
	off, err := q.newTable(encodeTable(l1))
	if err != nil {
		return err
	}
	var p [12]byte
	be.PutUint32(p[:], uint32(need))
	be.PutUint64(p[4:], uint64(off))
	if err := q.file.PwriteSync(36, p[:]); err != nil {
		return err
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	oldOff, oldSize := int64(q.hdr.l1Offset), int64(q.hdr.l1Size)*8
	q.hdr.l1Offset, q.hdr.l1Size, q.l1 = uint64(off), uint32(need), l1
	q.dropTable(oldOff, max(oldSize, 1))
	return nil
}

// newTable writes a table to clusters of its own, stable with its refcounts, and
// returns where it is. gate is held exclusively.
func (q *image) newTable(data []byte) (off int64, err error) {
	clusters := max(1, (int64(len(data))+q.clusterSize-1)>>q.clusterBits)
	var first int64
	if err := q.again(func() error {
		q.mu.Lock()
		defer q.mu.Unlock()
		first, err = q.allocRun(clusters)
		return err
	}); err != nil {
		return 0, err
	}
	full := make([]byte, clusters<<q.clusterBits)
	copy(full, data)
	off = first << q.clusterBits
	err = q.file.Pwrite(off, full)
	if err == nil {
		err = q.writeback()
	}
	if err == nil {
		err = q.file.Flush()
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if err != nil {
		q.unalloc(first, clusters)
		return 0, err
	}
	q.addMeta(off, clusters<<q.clusterBits)
	return off, nil
}

// dropTable gives up a table of size bytes. mu is held.
func (q *image) dropTable(off, size int64) {
	if off == 0 || size == 0 {
		return
	}
	q.removeMeta(off, size)
	q.free(off>>q.clusterBits, (size+q.clusterSize-1)>>q.clusterBits, freeOther)
}

// preallocate gives everything in [from, to) clusters. gate is held exclusively.
func (q *image) preallocate(ctx context.Context, from, to int64, p block.Prealloc) error {
	from &^= q.clusterSize - 1
	for off := from; off < to; {
		if err := ctx.Err(); err != nil {
			return err
		}
		var n int64
		err := q.again(func() error {
			q.mu.Lock()
			defer q.mu.Unlock()
			host, m, a, err := q.plan(off, min(to-off, 64<<20))
			if err != nil {
				return err
			}
			n = m
			if a == nil {
				return nil
			}
			defer q.end(a)
			a.zero = q.encrypted() // the file's zeroes would be decrypted
			if !q.ext {
				if err := q.allocateSpace(host, m, p); err != nil {
					return err
				}
			}
			if q.extL2 {
				return q.link(a, off, 0) // what is behind it stays visible
			}
			return q.link(a, off, m)
		})
		if err != nil {
			return err
		}
		off += n
		if err := q.relieve(); err != nil {
			return err
		}
	}
	return nil
}

// allocateSpace makes the file hold n bytes at host. mu is held: nothing else runs.
func (q *image) allocateSpace(host, n int64, p block.Prealloc) error {
	switch p {
	case block.PreallocFull:
		for done := int64(0); done < n; {
			m := min(n-done, 1<<20)
			if err := q.file.Pwritev(host+done, block.Zeroes(int(m)), 0); err != nil {
				return err
			}
			done += m
		}
		return nil
	case block.PreallocFalloc:
		return q.file.PwriteZeroes(host, n, 0)
	}
	// The file only has to be long enough.
	if end := (host + n + q.clusterSize - 1) &^ (q.clusterSize - 1); end > q.file.Length() {
		return q.file.Truncate(context.Background(), end, false, block.PreallocOff, 0)
	}
	return nil
}
