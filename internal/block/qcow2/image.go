// Package qcow2 is the image format qcow2, versions 2 and 3.
//
// # How it works
//
// A read or write looks its clusters up in the L2 tables, of which a cache holds
// slices, under image.mu, which is held for a moment; the data are moved without
// it. A write that needs new clusters takes them, says so in image.allocs, so that
// others that touch the same guest clusters wait, writes, and then enters them in
// the L2 table.
//
// Changes of metadata stay in memory until a flush, or until the caches are half
// full of them. writeback then takes a consistent cut and writes it in the order
// in which a crash at any point does no harm: refcount blocks, refcount table, L2
// tables, L1 table, with a flush before each of them that depends on another.
// Clusters that are given up are given up (their refcount decreased, their space
// used again) only after what refers to them no longer is on the disk: what a
// crash can do is to leak clusters.
//
// # Locks
//
// gate, then wbMu, then mu. gate is held, shared, by every request; exclusively by
// what changes everything (snapshots, resize, check). No I/O is done with mu held,
// but for rare metadata: a refcount block that is not cached, a new L2 table.
package qcow2

import (
	"sync"
	"sync/atomic"

	"govmd/internal/block"
	"govmd/internal/crypto/sector"
)

// L1 and L2 entries.
const (
	flagCopied     = 1 << 63
	flagCompressed = 1 << 62
	flagZero       = 1
	offsetMask     = 0x00fffffffffffe00
)

// image is an open qcow2 image.
type image struct {
	graph *block.Graph
	node  *block.Node
	file  *block.Child
	data  *block.Child // where guest data is: file, or an external data file
	ext   bool         // data is an external file
	opts  *Options
	hdr   header
	crypt encryption
	read  bool // only reading

	clusterBits uint
	clusterSize int64
	extL2       bool
	l2EntrySize int64 // 8, or 16 with extended entries
	l2Bits      uint  // log2 of the number of entries in an L2 table
	subBits     uint  // log2 of the size of a subcluster
	sliceSize   int64 // bytes of an L2 table that are cached together
	rbBits      uint  // log2 of the number of refcounts in a block
	sizeBytes   atomic.Int64

	gate sync.RWMutex
	wbMu sync.Mutex

	mu          sync.Mutex // guards what follows
	changed     sync.Cond  // a table was loaded, an allocation ended
	waiters     int
	l1          []uint64
	l1Dirty     map[int]struct{}
	l2          cache
	rb          cache
	refTable    []uint64
	rtDirty     map[int]struct{}
	allocs      allocation // ring of allocations under way
	freeAlloc   *allocation
	freeHint    int64 // no cluster below it is free
	freshFrom   int64 // no cluster from it on has ever been used: the file is a hole there
	freed       []extent
	freedCount  int64
	byteOffset  int64 // where the next compressed cluster goes, 0: in a new cluster
	meta        clusterSet
	twice       int64 // a cluster that holds two kinds of metadata, -1: there is none
	snapshots   []snapshot
	bitmaps     []*storedBitmap
	corrupt     bool // nothing is written any more
	lazyDirty   bool // the dirty bit is set in the file
	needZero    bool // new clusters of the file do not read as zeroes
	overlap     bool // checks are on
	dropSnap    bool // pass-discard-snapshot
	dropOther   bool // pass-discard-other
	dropRequest bool // pass-discard-request

	epoch  atomic.Uint32
	active [2]atomic.Int32 // requests that began in an epoch of that parity
	// syncing says that synchronize waits on quiet (capacity 1) for one of them to become 0.
	syncing atomic.Bool
	quiet   chan struct{}

	decomp  decompCache
	cleaner cleaner
}

// extent is a range of clusters.
type extent struct {
	first, n int64
	kind     freeKind
}

// freeKind says on whose behalf clusters are given up.
type freeKind uint8

const (
	freeRequest  freeKind = iota // the guest's discard
	freeSnapshot                 // deleting a snapshot
	freeOther
)

// clusterSet is a set of clusters of the file.
type clusterSet struct{ words []uint64 }

func (s *clusterSet) add(c int64) {
	w := int(c >> 6)
	for w >= len(s.words) {
		s.words = append(s.words, make([]uint64, max(64, w+1-len(s.words)))...)
	}
	s.words[w] |= 1 << (c & 63)
}

func (s *clusterSet) remove(c int64) {
	if w := int(c >> 6); w < len(s.words) {
		s.words[w] &^= 1 << (c & 63)
	}
}

func (s *clusterSet) has(c int64) bool {
	w := c >> 6
	return w < int64(len(s.words)) && s.words[w]>>(c&63)&1 != 0
}

func (q *image) addMeta(off, n int64) {
	for c := off >> q.clusterBits; c < (off+n+q.clusterSize-1)>>q.clusterBits; c++ {
		q.meta.add(c)
	}
}

func (q *image) removeMeta(off, n int64) {
	for c := off >> q.clusterBits; c < (off+n+q.clusterSize-1)>>q.clusterBits; c++ {
		q.meta.remove(c)
	}
}

// enter begins a request: what it finds in the tables stays in place until exit.
func (q *image) enter() uint32 {
	q.gate.RLock()
	for {
		e := q.epoch.Load()
		q.active[e&1].Add(1)
		if q.epoch.Load() == e {
			return e
		}
		q.active[e&1].Add(-1)
	}
}

func (q *image) exit(e uint32) {
	if q.active[e&1].Add(-1) == 0 && q.syncing.Load() {
		select {
		case q.quiet <- struct{}{}:
		default:
		}
	}
	q.gate.RUnlock()
}

// wait waits for a change of the tables or allocations; mu is held.
func (q *image) wait() {
	q.waiters++
	q.changed.Wait()
	q.waiters--
}

func (q *image) wakeAll() {
	if q.waiters > 0 {
		q.changed.Broadcast()
	}
}

// Length returns the size of the disk.
func (q *image) Length() (int64, error) { return q.sizeBytes.Load(), nil }

// Limits says that everything is taken: what a cluster lacks is filled up here.
func (q *image) Limits() block.Limits {
	align, flags := 1, block.Compressed|block.Unchanged
	if q.encrypted() {
		align, flags = sector.Size, block.Unchanged
	}
	return block.Limits{
		Align: align, MaxTransfer: 1 << 30, ZeroAlign: 1 << q.subBits, MaxZeroes: 1 << 40, DiscAlign: int(q.clusterSize), MaxDiscard: 1 << 40,
		OptTransfer: int(q.clusterSize), MemAlign: q.file.Node().Limits().MemAlign,
		WriteFlags: flags,
		ZeroFlags:  block.MayUnmap | block.NoFallback | block.Unchanged,
	}
}

// corruption marks the image as corrupt: nothing is written to it any more, and
// whoever opens it next is told. mu may be held.
func (q *image) corruption(fatal bool, off, size int64, msg string) error {
	if q.corrupt && fatal {
		return block.ErrIO
	}
	if fatal {
		q.corrupt = true
		if !q.read {
			q.hdr.incompat |= incompatCorrupt
			if q.hdr.version >= 3 {
				var p [8]byte
				be.PutUint64(p[:], q.hdr.incompat)
				_ = q.file.Pwrite(72, p[:]) // it could not be marked: we stop all the same
			}
		}
		msg += "; further corruption events will be suppressed"
	}
	q.node.PublishCorrupted(msg, off, size, fatal)
	return block.ErrIO
}
