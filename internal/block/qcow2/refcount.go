package qcow2

import (
	"errors"
	"slices"

	"govmd/internal/block"
)

// errGrow says that the refcount table is full: growRefTable makes room, with mu
// released, and the caller tries again.
var errGrow = errors.New("refcount table is full")

// getRefcount and putRefcount access entry i of a refcount block.
func getRefcount(p []byte, order uint32, i int64) uint64 {
	switch order {
	case 3:
		return uint64(p[i])
	case 4:
		return uint64(be.Uint16(p[2*i:]))
	case 5:
		return uint64(be.Uint32(p[4*i:]))
	case 6:
		return be.Uint64(p[8*i:])
	}
	width := int64(1) << order
	shift := i * width & 7
	return uint64(p[i*width>>3]>>shift) & (1<<width - 1)
}

func putRefcount(p []byte, order uint32, i int64, v uint64) {
	switch order {
	case 3:
		p[i] = byte(v)
	case 4:
		be.PutUint16(p[2*i:], uint16(v))
	case 5:
		be.PutUint32(p[4*i:], uint32(v))
	case 6:
		be.PutUint64(p[8*i:], v)
	default:
		width := int64(1) << order
		shift := i * width & 7
		mask := byte(1<<width-1) << shift
		p[i*width>>3] = p[i*width>>3]&^mask | byte(v)<<shift&mask
	}
}

func maxRefcount(order uint32) uint64 {
	if order == 6 {
		return 1<<63 - 1
	}
	return 1<<(1<<order) - 1
}

// block returns the refcount block for a cluster, nil when there is none (all of
// its refcounts are 0). mu is held.
func (q *image) block(cluster int64) (*table, error) {
	i := cluster >> q.rbBits
	if i >= int64(len(q.refTable)) || q.refTable[i] == 0 {
		return nil, nil
	}
	off := int64(q.refTable[i])
	if off&(q.clusterSize-1) != 0 || off < 0 {
		return nil, q.corruption(true, -1, -1, "Refblock offset unaligned")
	}
	return q.load(&q.rb, off)
}

// refcount returns how often a cluster is used. mu is held.
func (q *image) refcount(cluster int64) (uint64, error) {
	t, err := q.block(cluster)
	if t == nil || err != nil {
		return 0, err
	}
	return getRefcount(t.data, q.hdr.refcountOrder, cluster&(1<<q.rbBits-1)), nil
}

// addRefcount changes the refcounts of n clusters by delta. mu is held. With an
// error it has done nothing, or as much of it as leaks. Clusters that come to 0 are
// free.
func (q *image) addRefcount(first, n, delta int64) error {
	order := q.hdr.refcountOrder
	for c := first; c < first+n; c++ {
		t, err := q.block(c)
		if err == nil && t == nil {
			if delta < 0 {
				return q.corruption(true, c<<q.clusterBits, q.clusterSize, "Refcount block of a used cluster is missing")
			}
			t, err = q.newBlock(c, -1)
		}
		if err != nil {
			return err
		}
		i := c & (1<<q.rbBits - 1)
		old := getRefcount(t.data, order, i)
		v := old + uint64(delta)
		switch {
		case delta < 0 && old < uint64(-delta):
			return q.corruption(true, c<<q.clusterBits, q.clusterSize, "Refcount of a used cluster is 0")
		case delta > 0 && v > maxRefcount(order):
			return block.Errorf(block.KindInvalid, "Reference count of a cluster would exceed %d (refcount_bits is too small)", maxRefcount(order))
		}
		putRefcount(t.data, order, i, v)
		q.rb.mark(t)
		if v == 0 {
			q.freeHint = min(q.freeHint, c)
		}
	}
	return nil
}

// newBlock makes the refcount block that covers a cluster. It is put at, a cluster
// that it covers itself; with at -1 that is the first one that is not the cluster.
// mu is held.
func (q *image) newBlock(cluster, at int64) (*table, error) {
	i := cluster >> q.rbBits
	if i >= int64(len(q.refTable)) {
		return nil, errGrow
	}
	if at < 0 {
		// Where it covers itself there is always room: nothing there is used.
		at = i << q.rbBits
		if at == cluster {
			at++
		}
	}
	t, err := q.addBlock(i, at)
	if err != nil {
		return nil, err
	}
	putRefcount(t.data, q.hdr.refcountOrder, at&(1<<q.rbBits-1), 1)
	return t, nil
}

// addBlock makes refcount block i, of which the table has an entry, at a cluster
// that has yet to be counted as used. mu is held.
func (q *image) addBlock(i, at int64) (*table, error) {
	off := at << q.clusterBits
	if q.meta.has(at) {
		return nil, q.corruption(true, off, q.clusterSize, "Allocation of a refcount block at a cluster that holds metadata")
	}
	t := q.rb.add(off)
	clear(t.data)
	q.rb.mark(t)
	q.refTable[i] = uint64(off)
	q.rtDirty[int(i)] = struct{}{}
	q.meta.add(at)
	q.freshFrom = max(q.freshFrom, at+1)
	return t, nil
}

// maxCluster bounds where clusters can be: offsets in tables have 56 bits.
func (q *image) maxCluster() int64 { return (1<<56 - 1) >> q.clusterBits }

// maxBeyond is how many clusters beyond the end of the file may be in use: what a
// crash has leaked that was never written.
const maxBeyond = 1 << 22

// checkReach bounds the search for free clusters. mu is held.
func (q *image) checkReach(c int64) error {
	if c >= q.maxCluster() {
		return block.ErrNoSpace
	}
	if c > q.freshFrom+maxBeyond {
		return q.corruption(true, c<<q.clusterBits, q.clusterSize, "Clusters far beyond the end of the file are in use")
	}
	return nil
}

// alloc takes up to n clusters in a row, at least one, and sets their refcounts to
// 1. fresh says that they have never been used and read as zeroes. mu is held.
func (q *image) alloc(n int64) (first, got int64, fresh bool, err error) {
	if q.corrupt {
		return 0, 0, false, block.ErrIO
	}
	order := q.hdr.refcountOrder
	c := q.freeHint
	for {
		if err := q.checkReach(c); err != nil {
			return 0, 0, false, err
		}
		t, err := q.block(c)
		if err != nil {
			return 0, 0, false, err
		}
		if t == nil {
			if _, err = q.newBlock(c, c); err != nil {
				return 0, 0, false, err
			}
			c++
			continue
		}
		mask := int64(1)<<q.rbBits - 1
		end := (c | mask) + 1
		for c < end && getRefcount(t.data, order, c&mask) != 0 {
			c++
		}
		if c == end {
			q.freeHint = c
			continue
		}
		for got = 0; got < n && c+got < end && getRefcount(t.data, order, (c+got)&mask) == 0; got++ {
			if q.meta.has(c + got) {
				return 0, 0, false, q.corruption(true, (c+got)<<q.clusterBits, q.clusterSize,
					"Preventing invalid allocation of a cluster that holds metadata")
			}
		}
		for i := range got {
			putRefcount(t.data, order, (c+i)&mask, 1)
		}
		q.rb.mark(t)
		q.freeHint = c + got
		fresh = c >= q.freshFrom && !q.needZero
		q.freshFrom = max(q.freshFrom, c+got)
		return c, got, fresh, nil
	}
}

// allocRun takes exactly n clusters in a row. mu is held.
func (q *image) allocRun(n int64) (first int64, err error) {
	// Blocks that are missing go in front of the run.
	var missing []int64
	for want := n; ; want = n + int64(len(missing)) {
		if first, err = q.findRun(want); err != nil {
			return 0, err
		}
		if missing, err = q.missingBlocks(first, want); err != nil {
			return 0, err
		}
		if n+int64(len(missing)) <= want {
			break
		}
	}
	blocks := int64(len(missing))
	for k, i := range missing {
		if _, err := q.addBlock(i, first+int64(k)); err != nil {
			return 0, err
		}
	}
	if err := q.addRefcount(first, blocks+n, 1); err != nil {
		return 0, err
	}
	q.freshFrom = max(q.freshFrom, first+blocks+n)
	return first + blocks, nil
}

// findRun returns where n clusters in a row are free. mu is held.
func (q *image) findRun(n int64) (first int64, err error) {
	c := q.freeHint
	for free := int64(0); free < n; {
		if err := q.checkReach(c); err != nil {
			return 0, err
		}
		v, err := q.refcount(c)
		if err != nil {
			return 0, err
		}
		if v != 0 || q.meta.has(c) {
			free = 0
		} else {
			free++
		}
		c++
	}
	return c - n, nil
}

// missingBlocks returns which refcount blocks n clusters lack. mu is held.
func (q *image) missingBlocks(first, n int64) (list []int64, err error) {
	for i := first >> q.rbBits; i <= (first+n-1)>>q.rbBits; i++ {
		if i >= int64(len(q.refTable)) {
			return nil, errGrow
		}
		t, err := q.block(i << q.rbBits)
		if err != nil {
			return nil, err
		}
		if t == nil {
			list = append(list, i)
		}
	}
	return list, nil
}

// free gives clusters up: their refcounts decrease once nothing on the disk refers
// to them. mu is held.
func (q *image) free(first, n int64, kind freeKind) {
	q.freedCount += n
	if k := len(q.freed); k > 0 {
		if e := &q.freed[k-1]; e.first+e.n == first && e.kind == kind {
			e.n += n
			return
		}
	}
	q.freed = append(q.freed, extent{first, n, kind})
}

// unalloc takes back an allocation that nothing has come to refer to. mu is held.
func (q *image) unalloc(first, n int64) {
	_ = q.addRefcount(first, n, -1) // what cannot be taken back is leaked
}

// growRefTable makes the refcount table larger: the new one goes where nothing is
// used yet, with the blocks that cover it.
func (q *image) growRefTable() error {
	q.wbMu.Lock()
	defer q.wbMu.Unlock()
	q.mu.Lock()
	defer q.mu.Unlock()
	// What the new table points to has to be on the disk before it.
	if err := q.writeBlocksLocked(); err != nil {
		return err
	}
	old := int64(len(q.refTable))
	base := old << q.rbBits
	per := q.clusterSize / 8
	clusters, blocks := q.hdr.refTableNeeds(old*8/q.clusterSize, base, q.rbBits, q.clusterBits)
	if clusters*q.clusterSize > maxRefTable {
		return block.ErrNoSpace
	}
	refTable := append(slices.Clone(q.refTable), make([]uint64, clusters*per-old)...)
	order := q.hdr.refcountOrder
	used := clusters + blocks
	for b := range blocks {
		data := make([]byte, q.clusterSize)
		for i := range int64(1) << q.rbBits {
			if c := b<<q.rbBits + i; c < used {
				putRefcount(data, order, i, 1)
			}
		}
		off := (base + clusters + b) << q.clusterBits
		if err := q.file.Pwrite(off, data); err != nil {
			return err
		}
		refTable[old+b] = uint64(off)
	}
	oldOff, oldSize := int64(q.hdr.refTableOffset), int64(q.hdr.refTableSize)
	if err := q.replaceRefTable(base<<q.clusterBits, refTable); err != nil {
		return err
	}
	q.removeMeta(oldOff, oldSize<<q.clusterBits)
	q.addMeta(base<<q.clusterBits, used<<q.clusterBits)
	q.free(oldOff>>q.clusterBits, oldSize, freeOther)
	q.freshFrom = max(q.freshFrom, base+used)
	return nil
}

// replaceRefTable writes a refcount table, whose blocks are written already, and then
// makes the header point to it and say how wide refcounts are. mu is held.
func (q *image) replaceRefTable(off int64, table []uint64) error {
	if err := q.file.Pwrite(off, encodeTable(table)); err != nil {
		return err
	}
	if err := q.file.Flush(); err != nil {
		return err
	}
	h := q.hdr
	h.refTableOffset, h.refTableSize = uint64(off), uint32(len(table)>>(q.clusterBits-3))
	p, err := h.encode()
	if err != nil {
		return err
	}
	// These fields are in one sector, which is written whole or not at all.
	end := 60
	if h.version >= 3 {
		end = 100
	}
	if err := q.file.PwriteSync(48, p[48:end]); err != nil {
		return err
	}
	q.hdr = h
	q.refTable = table
	clear(q.rtDirty)
	return nil
}

// refTableNeeds returns how many clusters a larger table takes, and how many
// blocks it takes to cover the clusters from base on that both of them occupy.
func (h *header) refTableNeeds(clusters, base int64, rbBits, clusterBits uint) (table, blocks int64) {
	table = clusters + max(1, clusters/2)
	for blocks = 1; ; blocks++ {
		if covered := blocks << rbBits; table+blocks <= covered {
			// The table has to have entries for the blocks, too.
			if (base>>rbBits+blocks)*8 <= table<<clusterBits {
				return table, blocks
			}
			table++
			blocks = 0
		}
	}
}

func encodeTable(t []uint64) []byte {
	p := make([]byte, 8*len(t))
	for i, v := range t {
		be.PutUint64(p[8*i:], v)
	}
	return p
}
