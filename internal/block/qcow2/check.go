package qcow2

import (
	"context"

	"govmd/internal/block"
)

// checker counts how often each cluster of the file is used.
type checker struct {
	q    *image
	ctx  context.Context
	fix  block.Fix
	res  block.CheckResult
	uses []uint32
	end  int64 // clusters that the file has
	next int64 // where the last guest cluster ended, to count fragments
	buf  *block.Buffer
	// rebuild says that the refcounts cannot be put right block by block.
	rebuild bool
}

// maxCheckClusters bounds the memory that a check takes (4 bytes a cluster).
const maxCheckClusters = 1 << 31

// Check counts the uses of all clusters and compares them with their refcounts.
func (q *image) Check(ctx context.Context, fix block.Fix) (block.CheckResult, error) {
	q.gate.Lock()
	defer q.gate.Unlock()
	if q.read && fix != 0 {
		return block.CheckResult{}, block.Errorf(block.KindInvalid, "The image is read-only: it cannot be repaired")
	}
	if fix&block.FixErrors != 0 {
		q.corrupt = false
	}
	if !q.read && !q.corrupt {
		if err := q.sync(); err != nil {
			return block.CheckResult{}, err
		}
	}
	c, err := q.newChecker(ctx, fix)
	if err != nil {
		return block.CheckResult{}, err
	}
	defer c.buf.Release()
	c.res.TotalClusters = (q.sizeBytes.Load() + q.clusterSize - 1) >> q.clusterBits
	if err := c.count(); err != nil {
		return c.res, err
	}
	if err := c.compare(); err != nil {
		return c.res, err
	}
	if err := c.copied(); err != nil {
		return c.res, err
	}
	if fix != 0 {
		if err := q.sync(); err != nil {
			return c.res, err
		}
		if fix&block.FixErrors != 0 && c.res.Corruptions == c.res.CorruptionsFixed && c.res.CheckErrors == 0 {
			if bits := q.hdr.incompat &^ (incompatDirty | incompatCorrupt); bits != q.hdr.incompat {
				if err := q.setIncompat(bits); err != nil {
					return c.res, err
				}
				q.corrupt, q.lazyDirty = false, false
			}
		}
	}
	return c.res, nil
}

// newChecker returns a checker that has counted nothing yet; the caller releases its buffer.
func (q *image) newChecker(ctx context.Context, fix block.Fix) (*checker, error) {
	c := &checker{q: q, ctx: ctx, fix: fix, end: (q.file.Length() + q.clusterSize - 1) >> q.clusterBits}
	if c.end > maxCheckClusters {
		return nil, block.Errorf(block.KindUnsupported, "The image file has too many clusters to be checked")
	}
	c.uses = make([]uint32, c.end)
	c.buf = block.GetBuffer(int(q.clusterSize))
	return c, nil
}

// use counts n bytes at off; what lies beyond the end of the file is corrupt.
func (c *checker) use(off uint64, n int64) bool {
	if n == 0 {
		return true
	}
	first, last := int64(off>>c.q.clusterBits), int64((off+uint64(n)-1)>>c.q.clusterBits)
	if off > 1<<62 || last >= c.end {
		c.res.Corruptions++
		return false
	}
	for i := first; i <= last; i++ {
		c.uses[i]++
	}
	c.res.ImageEndOffset = max(c.res.ImageEndOffset, (last+1)<<c.q.clusterBits)
	return true
}

func (c *checker) count() error {
	q := c.q
	h := &q.hdr
	c.use(0, q.clusterSize)
	c.use(h.l1Offset, int64(len(q.l1))*8)
	if err := c.table(q.l1, true); err != nil {
		return err
	}
	for i := range q.snapshots {
		s := &q.snapshots[i]
		l1, err := readTable(q.file, s.l1Offset, s.l1Size)
		if err != nil {
			return err
		}
		c.use(uint64(s.l1Offset), int64(s.l1Size)*8)
		if err := c.table(l1, false); err != nil {
			return err
		}
	}
	c.use(h.snapOffset, q.snapshotTableSize())
	c.use(h.refTableOffset, int64(h.refTableSize)<<q.clusterBits)
	if h.crypt == cryptLUKS {
		c.use(h.cryptoOff, int64(h.cryptoLen))
	}
	if h.hasBitmaps {
		if err := c.bitmaps(); err != nil {
			return err
		}
	}
	for _, off := range q.refTable {
		switch {
		case off == 0:
		case off&uint64(q.clusterSize-1) != 0:
			c.res.Corruptions++
			c.rebuild = true
		case !c.use(off, q.clusterSize):
			c.rebuild = true
		}
	}
	return nil
}

// table counts what an L1 table and its L2 tables use.
func (c *checker) table(l1 []uint64, active bool) error {
	q := c.q
	for i := range l1 {
		off := l1[i] & offsetMask
		if off == 0 {
			continue
		}
		if err := c.ctx.Err(); err != nil {
			return err
		}
		if off&uint64(q.clusterSize-1) != 0 {
			c.res.Corruptions++
			continue
		}
		if !c.use(off, q.clusterSize) {
			continue
		}
		if c.uses[off>>q.clusterBits] > uint32(len(q.snapshots)+1) {
			// No table is used that often: not looking again keeps the time bounded.
			c.res.Corruptions++
			continue
		}
		if err := q.file.Pread(int64(off), c.buf.B); err != nil {
			c.res.CheckErrors++
			continue
		}
		if err := c.entries(int64(off), c.buf.B, active); err != nil {
			return err
		}
	}
	return nil
}

func (c *checker) entries(table int64, p []byte, active bool) error {
	q := c.q
	for i := int64(0); i < q.clusterSize; i += q.l2EntrySize {
		e := entry{l2: be.Uint64(p[i:])}
		if q.extL2 {
			e.sub = be.Uint64(p[i+8:])
			for s := range 32 {
				if q.kind(e, s) == invalid {
					c.res.Corruptions++
					break
				}
			}
		}
		if e.l2&flagCompressed != 0 {
			off, size := q.compressedAt(e)
			if e.l2&flagCopied != 0 || q.ext {
				c.res.Corruptions++
			}
			c.use(uint64(off), size)
			if active {
				c.res.Allocated++
				c.res.CompressedClusters++
				c.res.Fragmented++
			}
			continue
		}
		off := e.l2 & offsetMask
		if off == 0 && !q.ext {
			continue
		}
		if q.ext {
			if e.l2&flagCopied != 0 && active {
				c.res.Allocated++
			}
			continue
		}
		bad := off&uint64(q.clusterSize-1) != 0
		if bad {
			c.res.Corruptions++
		} else {
			bad = !c.use(off, q.clusterSize)
		}
		if bad {
			if c.fix&block.FixErrors != 0 {
				// What cannot be found reads as zeroes from now on.
				if err := c.rewrite(table, i, q.zeroEntry(0)); err != nil {
					return err
				}
				c.res.CorruptionsFixed++
			}
			continue
		}
		if active {
			c.res.Allocated++
			if c.next != 0 && int64(off) != c.next {
				c.res.Fragmented++
			}
			c.next = int64(off) + q.clusterSize
		}
	}
	return nil
}

// rewrite changes an entry in the file, past the cache, which is emptied of it.
func (c *checker) rewrite(table, i int64, e entry) error {
	p := make([]byte, c.q.l2EntrySize)
	c.q.putEntry(p, e)
	c.q.mu.Lock()
	c.q.l2.forget(table, c.q.clusterSize)
	c.q.mu.Unlock()
	return c.q.file.Pwrite(table+i, p)
}

// compare compares the refcounts with what has been counted and repairs them.
func (c *checker) compare() error {
	q := c.q
	q.mu.Lock()
	defer q.mu.Unlock()
	limit := max(c.end, int64(len(q.refTable))<<q.rbBits)
	if c.rebuild {
		limit = 0
	}
	per := int64(1) << q.rbBits
	for cl := int64(0); cl < limit; cl++ {
		used := uint64(0)
		if cl < c.end {
			used = uint64(c.uses[cl])
		}
		t, err := q.block(cl)
		if err != nil {
			c.res.CheckErrors++
			cl |= per - 1
			continue
		}
		if cl >= c.end && cl&(per-1) == 0 && (t == nil || block.IsZeroBytes(t.data)) {
			cl |= per - 1 // nothing is there, and nothing is said to be
			continue
		}
		have := uint64(0)
		if t != nil {
			have = getRefcount(t.data, q.hdr.refcountOrder, cl&(per-1))
		} else if used > 0 {
			c.res.Corruptions++
			c.rebuild = true
			break
		}
		if have == used {
			continue
		}
		leak := have > used
		fix := block.FixErrors
		if leak {
			c.res.Leaks++
			fix = block.FixLeaks
		} else {
			c.res.Corruptions++
		}
		if c.fix&fix == 0 {
			continue
		}
		putRefcount(t.data, q.hdr.refcountOrder, cl&(per-1), used)
		q.rb.mark(t)
		if leak {
			c.res.LeaksFixed++
		} else {
			c.res.CorruptionsFixed++
		}
		if q.rb.pressed() {
			if err := q.writeBlocksLocked(); err != nil {
				return err
			}
		}
	}
	q.freeHint = 0
	if c.rebuild && c.fix&block.FixErrors != 0 {
		if err := c.rebuildRefcounts(); err != nil {
			return err
		}
		c.res.CorruptionsFixed = c.res.Corruptions
	}
	return nil
}

// rebuildRefcounts writes a new refcount table with new blocks behind the end of the
// file, and then makes the header point to it. mu is held.
func (c *checker) rebuildRefcounts() error {
	q := c.q
	// What the old structures took is free.
	h := &q.hdr
	drop := func(off uint64, n int64) {
		for cl := int64(off >> q.clusterBits); cl < int64(off>>q.clusterBits)+n; cl++ {
			if cl < c.end && c.uses[cl] > 0 {
				c.uses[cl]--
			}
		}
	}
	drop(h.refTableOffset, int64(h.refTableSize))
	for _, off := range q.refTable {
		if off != 0 && off&uint64(q.clusterSize-1) == 0 {
			drop(off, 1)
		}
	}
	base := c.end
	tableClusters, blocks := int64(1), int64(0)
	for {
		b := (base + tableClusters + blocks + 1<<q.rbBits - 1) >> q.rbBits
		t := (b*8 + q.clusterSize - 1) >> q.clusterBits
		if b == blocks && t == tableClusters {
			break
		}
		blocks, tableClusters = b, t
	}
	if tableClusters<<q.clusterBits > maxRefTable {
		return block.Errorf(block.KindCorrupt, "The refcount table would be too large")
	}
	table := make([]uint64, tableClusters<<q.clusterBits/8)
	q.rb.init(q.rb.limit, q.rb.size)
	for b := range blocks {
		off := (base + tableClusters + b) << q.clusterBits
		table[b] = uint64(off)
		data := make([]byte, q.clusterSize)
		for i := range int64(1) << q.rbBits {
			cl := b<<q.rbBits + i
			v := uint64(0)
			if cl < c.end {
				v = uint64(c.uses[cl])
			} else if cl < base+tableClusters+blocks {
				v = 1
			}
			putRefcount(data, h.refcountOrder, i, min(v, maxRefcount(h.refcountOrder)))
		}
		if err := q.file.Pwrite(off, data); err != nil {
			return err
		}
	}
	if err := q.replaceRefTable(base<<q.clusterBits, table); err != nil {
		return err
	}
	q.freshFrom = base + tableClusters + blocks
	q.markMeta()
	return nil
}

// copied checks the flags that say that a cluster is used once.
func (c *checker) copied() error {
	q := c.q
	if c.rebuild && c.fix&block.FixErrors == 0 {
		return nil // there is nothing to compare them with
	}
	wrong := int64(0)
	q.mu.Lock()
	for _, e := range q.l1 {
		off := int64(e & offsetMask)
		if off == 0 || off&(q.clusterSize-1) != 0 || off>>q.clusterBits >= c.end {
			continue
		}
		if n, err := q.refcount(off >> q.clusterBits); err == nil && (n == 1) != (e&flagCopied != 0) {
			wrong++
		}
		if q.ext {
			continue
		}
		if err := q.readL2(off, c.buf.B); err != nil {
			continue
		}
		for i := int64(0); i < q.clusterSize; i += q.l2EntrySize {
			e := entry{l2: be.Uint64(c.buf.B[i:])}
			if e.l2&flagCompressed != 0 || e.offset() == 0 || e.offset()&(q.clusterSize-1) != 0 {
				continue
			}
			if n, err := q.refcount(e.offset() >> q.clusterBits); err == nil && (n == 1) != (e.l2&flagCopied != 0) {
				wrong++
			}
		}
	}
	q.mu.Unlock()
	c.res.Corruptions += wrong
	if wrong == 0 || c.fix&block.FixErrors == 0 {
		return nil
	}
	if err := q.updateCopied(); err != nil {
		return err
	}
	c.res.CorruptionsFixed += wrong
	return nil
}
