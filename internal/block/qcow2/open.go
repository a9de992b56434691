package qcow2

import (
	"context"
	"fmt"

	"govmd/internal/block"
)

func open(a *block.OpenArgs) (block.Driver, error) {
	o := a.Opts.(*Options)
	file, err := a.OpenChild("file", o.File, block.RoleImage)
	if err != nil {
		return nil, err
	}
	if err := a.FollowReadOnly(file); err != nil {
		return nil, err
	}
	q := &image{graph: a.Graph, node: a.Node, file: file, data: file, opts: o, read: a.Settings().ReadOnly, quiet: make(chan struct{}, 1)}
	if err := q.readAll(a); err != nil {
		if block.KindOf(err) == block.KindOther {
			err = &block.Error{Kind: block.KindIO, Text: fmt.Sprintf("Could not open '%s': %s", file.Node().FileName(), block.ErrorText(err)), Err: err}
		}
		return nil, err
	}
	q.cleaner.start(q)
	return q, nil
}

// readAll reads everything that an open image knows.
func (q *image) readAll(a *block.OpenArgs) error {
	o, set := q.opts, a.Settings()
	if err := q.loadHeader(); err != nil {
		return err
	}
	h := &q.hdr
	if h.incompat&incompatCorrupt != 0 && !set.ReadOnly && !set.CheckOnly {
		return block.Errorf(block.KindCorrupt, "qcow2: Image is corrupt; cannot be opened read/write")
	}
	if err := q.openDataFile(a); err != nil {
		return err
	}
	if err := q.openCrypto(a.Ctx); err != nil {
		return err
	}
	if err := q.loadTables(set.CheckOnly); err != nil {
		return err
	}
	if err := q.configure(o, set); err != nil {
		return err
	}
	if _, err := a.OpenBacking(o.Backing, h.backingFile, h.backingFmt); err != nil {
		return err
	}
	q.needZero = !q.file.Node().Info().ZeroInit
	return nil
}

// Opened is called when the node is complete: now the image can be repaired, and
// its bitmaps join the node.
func (q *image) Opened() error {
	set := q.node.Settings()
	if q.read || set.CheckOnly {
		return q.loadBitmaps()
	}
	if q.hdr.incompat&incompatDirty != 0 {
		res, err := q.Check(context.Background(), block.FixLeaks|block.FixErrors)
		if err != nil {
			return err
		}
		if res.Corruptions > res.CorruptionsFixed || res.CheckErrors > 0 {
			return block.Errorf(block.KindCorrupt, "Could not repair dirty image")
		}
	}
	q.hdr.autoclear &= autoclearBitmaps | autoclearRawData
	return q.loadBitmaps()
}

// loadHeader reads the header and what follows from it.
func (q *image) loadHeader() error {
	h, err := readHeader(q.file)
	if err != nil {
		return err
	}
	q.hdr = *h
	return q.setGeometry()
}

func readHeader(file *block.Child) (*header, error) {
	head := make([]byte, min(file.Length(), 1<<maxClusterBits))
	first := head[:min(len(head), 4096)]
	if err := file.Pread(0, first); err != nil {
		return nil, err
	}
	h, err := parseHeader(first)
	if err == nil || len(head) == len(first) {
		return h, err
	}
	// It may be longer.
	if err := file.Pread(0, head); err != nil {
		return nil, err
	}
	return parseHeader(head)
}

// setGeometry derives what the header implies and checks it.
func (q *image) setGeometry() error {
	h := &q.hdr
	q.changed.L = &q.mu
	q.allocs.next, q.allocs.prev = &q.allocs, &q.allocs
	q.clusterBits, q.clusterSize = uint(h.clusterBits), 1<<h.clusterBits
	q.l2EntrySize, q.l2Bits, q.subBits = 8, q.clusterBits-3, q.clusterBits
	if h.incompat&incompatExtL2 != 0 {
		q.extL2, q.l2EntrySize, q.l2Bits, q.subBits = true, 16, q.clusterBits-4, q.clusterBits-5
	}
	q.rbBits = q.clusterBits + 3 - uint(h.refcountOrder)
	if h.size > 1<<62 {
		return block.Errorf(block.KindCorrupt, "Image size too big")
	}
	q.sizeBytes.Store(int64(h.size))
	need := q.l1Needed(int64(h.size))
	if need*8 > maxL1Size || h.l1Size > maxL1Size/8 {
		return block.Errorf(block.KindCorrupt, "Active L1 table too large")
	}
	if int64(h.l1Size) < need {
		return block.Errorf(block.KindCorrupt, "L1 table is too small")
	}
	if int64(h.refTableSize)<<q.clusterBits > maxRefTable || h.refTableSize == 0 {
		return block.Errorf(block.KindCorrupt, "Reference count table too large, or none")
	}
	if h.nbSnapshots > maxSnapshots {
		return block.Errorf(block.KindCorrupt, "Snapshot table too large")
	}
	for _, t := range []struct {
		off, size uint64
		name      string
	}{{h.l1Offset, uint64(h.l1Size) * 8, "Active L1"}, {h.refTableOffset, uint64(h.refTableSize) << q.clusterBits, "Reference count"},
		{h.snapOffset, 0, "Snapshot"}} {
		if t.off&uint64(q.clusterSize-1) != 0 || t.off > 1<<56 {
			return block.Errorf(block.KindCorrupt, "%s table offset invalid", t.name)
		}
		if err := q.inFile(t.off, t.size, t.name); err != nil {
			return err
		}
	}
	return nil
}

// inFile refuses a table that lies beyond the end of the file: reading it would take
// memory that nothing in the file stands for.
func (q *image) inFile(off, size uint64, name string) error {
	end := uint64(q.file.Length()+q.clusterSize-1) &^ uint64(q.clusterSize-1)
	if size > 0 && (off > end || size > end-off) {
		return block.Errorf(block.KindCorrupt, "%s table lies beyond the end of the file (%d bytes at offset %d)", name, size, off)
	}
	return nil
}

// l1Needed returns how many L1 entries a disk of size bytes needs.
func (q *image) l1Needed(size int64) int64 {
	shift := q.l2Bits + q.clusterBits
	return (size-1)>>shift + 1
}

// loadTables reads the L1 and refcount tables and the snapshots.
func (q *image) loadTables(lenient bool) (err error) {
	h := &q.hdr
	if q.l1, err = readTable(q.file, int64(h.l1Offset), int(h.l1Size)); err != nil {
		return err
	}
	if q.refTable, err = readTable(q.file, int64(h.refTableOffset), int(h.refTableSize)<<(q.clusterBits-3)); err != nil {
		return err
	}
	q.l1Dirty, q.rtDirty = map[int]struct{}{}, map[int]struct{}{}
	if q.snapshots, err = q.readSnapshots(); err != nil && !lenient {
		return err
	}
	q.freeHint, q.byteOffset = 0, 0
	q.freshFrom = (q.file.Length() + q.clusterSize - 1) >> q.clusterBits
	q.markMeta()
	return nil
}

// markMeta notes where metadata are. Offsets beyond the end of the file are left
// out: they cost memory, and nothing is written there before it is allocated.
func (q *image) markMeta() {
	q.meta, q.twice = clusterSet{}, -1
	limit := uint64(q.file.Length())
	add := func(off, n uint64) {
		if n == 0 || off >= limit {
			return
		}
		for c := int64(off) >> q.clusterBits; c <= int64(off+min(n, limit-off)-1)>>q.clusterBits; c++ {
			if q.meta.has(c) {
				q.twice = c
			}
			q.meta.add(c)
		}
	}
	h := &q.hdr
	add(0, uint64(q.clusterSize))
	add(h.l1Offset, uint64(h.l1Size)*8)
	if h.crypt == cryptLUKS {
		add(h.cryptoOff, h.cryptoLen)
	}
	add(h.refTableOffset, uint64(h.refTableSize)<<q.clusterBits)
	for _, e := range q.l1 {
		if off := e & offsetMask; off != 0 {
			add(off, uint64(q.clusterSize))
		}
	}
	for _, off := range q.refTable {
		if off != 0 {
			add(off, uint64(q.clusterSize))
		}
	}
	if h.nbSnapshots > 0 {
		add(h.snapOffset, uint64(q.snapshotTableSize()))
	}
	for i := range q.snapshots {
		add(uint64(q.snapshots[i].l1Offset), uint64(q.snapshots[i].l1Size)*8)
	}
	if h.hasBitmaps && h.bitmaps.dirSize < 1<<26 {
		add(h.bitmaps.dirOff, h.bitmaps.dirSize)
	}
}

// readTable reads a table of n entries, in bounded memory: what lies beyond the end
// of the file is zero.
func readTable(file *block.Child, off int64, n int) ([]uint64, error) {
	p := make([]byte, 8*n)
	if err := file.Pread(off, p); err != nil {
		return nil, err
	}
	t := make([]uint64, n)
	for i := range t {
		t[i] = be.Uint64(p[8*i:])
	}
	return t, nil
}

// configure applies options that can change while the image is open. mu is not held.
func (q *image) configure(o *Options, set block.Settings) error {
	slices, blocks, sliceSize, err := q.cacheSizes(o)
	if err != nil {
		return err
	}
	if o.LazyRefcounts != nil && *o.LazyRefcounts && q.hdr.version < 3 {
		return block.Errorf(block.KindInvalid, "Lazy refcounts require a qcow2 image with at least qemu 1.1 compatibility level")
	}
	if o.CacheCleanInterval != nil && (*o.CacheCleanInterval < 0 || *o.CacheCleanInterval > 1<<31) {
		return block.Errorf(block.KindInvalid, "Cache clean interval too big")
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	q.sliceSize = sliceSize
	q.l2.init(slices, sliceSize)
	q.rb.init(blocks, q.clusterSize)
	is := func(p *bool, def bool) bool {
		if p != nil {
			return *p
		}
		return def
	}
	q.dropRequest = is(o.PassDiscardRequest, set.Unmap)
	q.dropSnap = is(o.PassDiscardSnapshot, true)
	q.dropOther = is(o.PassDiscardOther, false)
	q.overlap = o.overlapOn()
	q.opts, q.read = o, set.ReadOnly
	return nil
}

// lazy reports whether refcounts are written late.
func (q *image) lazy() bool {
	if q.opts.LazyRefcounts != nil {
		return *q.opts.LazyRefcounts
	}
	return q.hdr.compat&compatLazy != 0
}

// needDirty marks the image as dirty before the first change with lazy refcounts.
// mu is held.
func (q *image) needDirty() error {
	if q.corrupt {
		return block.ErrIO
	}
	if q.lazyDirty || !q.lazy() {
		return nil
	}
	if err := q.setIncompat(q.hdr.incompat | incompatDirty); err != nil {
		return err
	}
	q.lazyDirty = true
	return nil
}

// setIncompat writes the incompatible feature bits and makes them stable.
func (q *image) setIncompat(bits uint64) error {
	var p [8]byte
	be.PutUint64(p[:], bits)
	if err := q.file.PwriteSync(72, p[:]); err != nil {
		return err
	}
	q.hdr.incompat = bits
	return nil
}

// openDataFile opens the external data file, if the image has one.
func (q *image) openDataFile(a *block.OpenArgs) error {
	o := q.opts
	if q.hdr.incompat&incompatDataFile == 0 {
		if o.DataFile != nil {
			return block.Errorf(block.KindInvalid, "'data-file' can only be set for images with an external data file")
		}
		return nil
	}
	var c *block.Child
	var err error
	switch {
	case o.DataFile != nil:
		c, err = a.OpenChild("data-file", *o.DataFile, block.RoleData)
	case q.hdr.dataFile != "":
		c, err = a.OpenNamed("data-file", q.hdr.dataFile, q.file.Node(), block.RoleData)
	default:
		return block.Errorf(block.KindInvalid, "'data-file' is required for this image")
	}
	if err != nil {
		return err
	}
	q.data, q.ext = c, true
	return nil
}

// Close writes everything and marks the image clean.
func (q *image) Close() {
	q.cleaner.end()
	if !q.read && !q.node.Inactive() {
		_ = q.Inactivate() // nobody is left to hear of it
	}
}
