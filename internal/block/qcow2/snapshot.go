package qcow2

import (
	"context"
	"slices"
	"strconv"

	"govmd/internal/block"
)

// snapshot is an internal snapshot (docs/interop/qcow2.txt, "Snapshots").
type snapshot struct {
	l1Offset int64
	l1Size   int
	id, name string
	dateSec  uint32
	dateNsec uint32
	vmClock  uint64
	vmSize   uint64
	diskSize uint64
	icount   uint64
	extra    int    // bytes of extra data in the file
	unknown  []byte // extra data beyond what is known here
}

const (
	snapshotHeader = 40
	maxExtra       = 1024
	maxSnapTable   = 64 << 20
)

func (q *image) readSnapshots() ([]snapshot, error) {
	var list []snapshot
	off := int64(q.hdr.snapOffset)
	start := off
	bad := func(i int, what string) error {
		return block.Errorf(block.KindCorrupt, "Snapshot table entry %d: %s", i, what)
	}
	for i := range int(q.hdr.nbSnapshots) {
		var p [snapshotHeader]byte
		if off-start > maxSnapTable {
			return nil, bad(i, "the table is too large")
		}
		if err := q.file.Pread(off, p[:]); err != nil {
			return nil, err
		}
		s := snapshot{
			l1Offset: int64(be.Uint64(p[:])), l1Size: int(be.Uint32(p[8:])), dateSec: be.Uint32(p[16:]), dateNsec: be.Uint32(p[20:]),
			vmClock: be.Uint64(p[24:]), vmSize: uint64(be.Uint32(p[32:])), extra: int(be.Uint32(p[36:])), icount: ^uint64(0),
			diskSize: q.hdr.size,
		}
		idLen, nameLen := int(be.Uint16(p[12:])), int(be.Uint16(p[14:]))
		if s.extra > maxExtra {
			return nil, bad(i, "too much extra metadata")
		}
		if s.l1Offset < 0 || s.l1Offset&(q.clusterSize-1) != 0 || s.l1Size > maxL1Size/8 {
			return nil, bad(i, "its L1 table is invalid")
		}
		if err := q.inFile(uint64(s.l1Offset), uint64(s.l1Size)*8, "A snapshot's L1"); err != nil {
			return nil, err
		}
		rest := make([]byte, s.extra+idLen+nameLen)
		if err := q.file.Pread(off+snapshotHeader, rest); err != nil {
			return nil, err
		}
		x := rest[:s.extra]
		if s.extra >= 8 {
			s.vmSize = be.Uint64(x)
		}
		if s.extra >= 16 {
			s.diskSize = be.Uint64(x[8:])
		}
		if s.extra >= 24 {
			s.icount = be.Uint64(x[16:])
			s.unknown = x[24:]
		}
		s.id, s.name = string(rest[s.extra:s.extra+idLen]), string(rest[s.extra+idLen:])
		list = append(list, s)
		off = (off + snapshotHeader + int64(len(rest)) + 7) &^ 7
	}
	return list, nil
}

func encodeSnapshots(list []snapshot) []byte {
	var p []byte
	for i := range list {
		s := &list[i]
		p = be.AppendUint64(p, uint64(s.l1Offset))
		p = be.AppendUint32(p, uint32(s.l1Size))
		p = be.AppendUint16(p, uint16(len(s.id)))
		p = be.AppendUint16(p, uint16(len(s.name)))
		p = be.AppendUint32(p, s.dateSec)
		p = be.AppendUint32(p, s.dateNsec)
		p = be.AppendUint64(p, s.vmClock)
		small := uint32(s.vmSize)
		if s.vmSize > 0xffffffff {
			small = 0
		}
		p = be.AppendUint32(p, small)
		p = be.AppendUint32(p, uint32(24+len(s.unknown)))
		p = be.AppendUint64(p, s.vmSize)
		p = be.AppendUint64(p, s.diskSize)
		p = be.AppendUint64(p, s.icount)
		p = append(p, s.unknown...)
		p = append(p, s.id...)
		p = append(p, s.name...)
		for len(p)%8 != 0 {
			p = append(p, 0)
		}
	}
	return p
}

// snapshotTableSize returns how long the table in the file is, at most.
func (q *image) snapshotTableSize() int64 {
	n := int64(0)
	for i := range q.snapshots {
		s := &q.snapshots[i]
		n = (n + snapshotHeader + int64(s.extra+len(s.id)+len(s.name)) + 7) &^ 7
	}
	return n
}

// Snapshots lists the internal snapshots.
func (q *image) Snapshots() []block.Snapshot {
	q.mu.Lock()
	defer q.mu.Unlock()
	var list []block.Snapshot
	for i := range q.snapshots {
		s := &q.snapshots[i]
		list = append(list, block.Snapshot{ID: s.id, Name: s.name, VMStateSize: int64(s.vmSize), DateSec: int64(s.dateSec),
			DateNsec: int32(s.dateNsec), VMClockNsec: int64(s.vmClock), ICount: int64(s.icount), DiskSize: int64(s.diskSize)})
	}
	return list
}

func (q *image) snapshotByID(id string) (int, error) {
	for i := range q.snapshots {
		if q.snapshots[i].id == id {
			return i, nil
		}
	}
	return -1, block.Errorf(block.KindNotFound, "Can't find the snapshot")
}

// storeSnapshots makes list the image's snapshots: a new table, then the header.
// gate is held exclusively.
func (q *image) storeSnapshots(list []snapshot) error {
	table := encodeSnapshots(list)
	off := int64(0)
	if len(list) > 0 {
		var err error
		if off, err = q.newTable(table); err != nil {
			return err
		}
	}
	if err := q.sync(); err != nil {
		return err
	}
	var p [12]byte
	be.PutUint32(p[:], uint32(len(list)))
	be.PutUint64(p[4:], uint64(off))
	if err := q.file.PwriteSync(60, p[:]); err != nil {
		return err
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	q.dropTable(int64(q.hdr.snapOffset), q.snapshotTableSize())
	q.hdr.nbSnapshots, q.hdr.snapOffset = uint32(len(list)), uint64(off)
	q.snapshots = list
	for i := range list {
		list[i].extra = 24 + len(list[i].unknown)
	}
	return nil
}

// transition runs fn, which changes refcounts and the flags that depend on them and
// so passes through states that are not consistent, with the image marked dirty:
// whoever opens it after a crash repairs it. gate is held exclusively.
func (q *image) transition(fn func() error) error {
	if q.read || q.corrupt || q.locked() {
		return block.Errorf(block.KindInvalid, "The image cannot be changed")
	}
	if err := q.sync(); err != nil {
		return err
	}
	mark := q.hdr.version >= 3 && q.hdr.incompat&incompatDirty == 0
	if mark {
		if err := q.setIncompat(q.hdr.incompat | incompatDirty); err != nil {
			return err
		}
	}
	if err := fn(); err != nil {
		return err // it stays marked: what was done in part is repaired
	}
	if err := q.sync(); err != nil {
		return err
	}
	if mark {
		return q.setIncompat(q.hdr.incompat &^ incompatDirty)
	}
	return nil
}

// CreateSnapshot makes a snapshot of the disk as it is.
func (q *image) CreateSnapshot(_ context.Context, s *block.Snapshot) error {
	q.gate.Lock()
	defer q.gate.Unlock()
	switch {
	case q.ext:
		return block.Errorf(block.KindUnsupported, "Internal snapshots are not supported with external data files")
	case len(q.snapshots) >= maxSnapshots:
		return block.Errorf(block.KindInvalid, "There are %d snapshots already", len(q.snapshots))
	case len(s.ID) > 0xffff || len(s.Name) > 0xffff:
		return block.Errorf(block.KindInvalid, "The snapshot's name is too long")
	}
	if s.ID == "" {
		top := 0
		for i := range q.snapshots {
			if n, err := strconv.Atoi(q.snapshots[i].id); err == nil {
				top = max(top, n)
			}
		}
		s.ID = strconv.Itoa(top + 1)
	}
	if _, err := q.snapshotByID(s.ID); err == nil {
		return block.Errorf(block.KindInUse, "Snapshot with id '%s' already exists", s.ID)
	}
	if err := q.walk(q.l1, func(c int64) error {
		q.mu.Lock()
		defer q.mu.Unlock()
		if n, err := q.refcount(c); err != nil || n < maxRefcount(q.hdr.refcountOrder) {
			return err
		}
		return block.Errorf(block.KindInvalid, "A reference count would exceed %d: the image has a refcount width of %d bits", maxRefcount(q.hdr.refcountOrder), 1<<q.hdr.refcountOrder)
	}); err != nil {
		return err
	}
	s.DiskSize = q.sizeBytes.Load()
	sn := snapshot{l1Size: len(q.l1), id: s.ID, name: s.Name, dateSec: uint32(s.DateSec), dateNsec: uint32(s.DateNsec),
		vmClock: uint64(s.VMClockNsec), vmSize: uint64(s.VMStateSize), diskSize: uint64(s.DiskSize), icount: uint64(s.ICount)}
	return q.transition(func() error {
		if err := q.useL1(q.l1); err != nil {
			return err
		}
		if err := q.updateCopied(); err != nil {
			return err
		}
		off, err := q.newTable(encodeTable(q.l1)) // no entry has the flag now
		if err != nil {
			return err
		}
		sn.l1Offset = off
		if err := q.storeSnapshots(append(slices.Clone(q.snapshots), sn)); err != nil {
			return err
		}
		if sn.vmSize == 0 {
			return nil
		}
		// The VM state is the snapshot's, not the disk's.
		start := q.vmStateOffset()
		for at, end := start, start+int64(sn.vmSize); at < end; at += q.l2Span() {
			if err := q.dropRange(at, min(at+q.l2Span(), end)); err != nil {
				return err
			}
		}
		return nil
	})
}

// walk calls fn for each use of a cluster by an L1 table: the L2 tables and what
// they point to. gate is held exclusively.
func (q *image) walk(l1 []uint64, fn func(c int64) error) error {
	b := block.GetBuffer(int(q.clusterSize))
	defer b.Release()
	for _, e1 := range l1 {
		off := int64(e1 & offsetMask)
		if off == 0 {
			continue
		}
		if off&(q.clusterSize-1) != 0 {
			return q.corruption(true, -1, -1, "L2 table offset unaligned")
		}
		q.mu.Lock()
		err := q.readL2(off, b.B)
		q.mu.Unlock()
		if err != nil {
			return err
		}
		for i := int64(0); i < q.clusterSize; i += q.l2EntrySize {
			first, n := q.clustersOf(entry{l2: be.Uint64(b.B[i:])})
			for c := first; c < first+n; c++ {
				if err := fn(c); err != nil {
					return err
				}
			}
		}
		if err := fn(off >> q.clusterBits); err != nil {
			return err
		}
		if err := q.relieve(); err != nil {
			return err
		}
	}
	return nil
}

// clustersOf returns the clusters of the file that an entry uses.
func (q *image) clustersOf(e entry) (first, n int64) {
	if e.l2&flagCompressed != 0 {
		off, size := q.compressedAt(e)
		first = off >> q.clusterBits
		return first, (off+size-1)>>q.clusterBits - first + 1
	}
	if q.ext || e.offset() == 0 {
		return 0, 0
	}
	return e.offset() >> q.clusterBits, 1
}

// updateCopied sets the flags of the active tables that say that a cluster is used
// once. gate is held exclusively.
func (q *image) updateCopied() error {
	q.mu.Lock()
	defer q.mu.Unlock()
	for l1 := range q.l1 {
		off := int64(q.l1[l1] & offsetMask)
		if off == 0 {
			continue
		}
		if err := q.copiedIn(off); err != nil {
			return err
		}
		n, err := q.refcount(off >> q.clusterBits)
		if err != nil {
			return err
		}
		e := uint64(off)
		if n == 1 {
			e |= flagCopied
		}
		if e != q.l1[l1] {
			q.l1[l1] = e
			q.l1Dirty[l1] = struct{}{}
		}
		if q.l2.pressed() {
			q.mu.Unlock()
			err := q.writeback()
			q.mu.Lock()
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// copiedIn does so for the entries of one L2 table. mu is held.
func (q *image) copiedIn(off int64) error {
	if q.ext {
		return nil
	}
	for at := int64(0); at < q.clusterSize; at += q.sliceSize {
		t, err := q.load(&q.l2, off+at)
		if err != nil {
			return err
		}
		for i := range q.sliceSize / q.l2EntrySize {
			e := q.entryAt(t, i)
			if e.l2&flagCompressed != 0 || e.offset() == 0 {
				continue
			}
			n, err := q.refcount(e.offset() >> q.clusterBits)
			if err != nil {
				return err
			}
			old := e
			e.l2 &^= flagCopied
			if n == 1 {
				e.l2 |= flagCopied
			}
			if e != old {
				q.setEntry(t, i, e)
			}
		}
	}
	return nil
}

// useL1 counts everything that an L1 table uses, the table itself excepted, once
// more. gate is held exclusively.
func (q *image) useL1(l1 []uint64) error {
	return q.walk(l1, func(c int64) error {
		return q.again(func() error {
			q.mu.Lock()
			defer q.mu.Unlock()
			return q.addRefcount(c, 1, 1)
		})
	})
}

// dropL1 gives up everything that an L1 table uses, the table itself excepted. gate
// is held exclusively, and nothing on the disk refers to the table any more.
func (q *image) dropL1(l1 []uint64) error {
	return q.walk(l1, func(c int64) error {
		q.mu.Lock()
		defer q.mu.Unlock()
		q.free(c, 1, freeSnapshot)
		return nil
	})
}

// DeleteSnapshot removes a snapshot.
func (q *image) DeleteSnapshot(_ context.Context, id string) error {
	q.gate.Lock()
	defer q.gate.Unlock()
	i, err := q.snapshotByID(id)
	if err != nil {
		return err
	}
	sn := q.snapshots[i]
	l1, err := readTable(q.file, sn.l1Offset, sn.l1Size)
	if err != nil {
		return err
	}
	return q.transition(func() error {
		if err := q.storeSnapshots(slices.Delete(slices.Clone(q.snapshots), i, i+1)); err != nil {
			return err
		}
		if err := q.dropL1(l1); err != nil {
			return err
		}
		q.mu.Lock()
		q.dropTable(sn.l1Offset, int64(sn.l1Size)*8)
		q.mu.Unlock()
		if err := q.sync(); err != nil {
			return err
		}
		return q.updateCopied()
	})
}

// ApplySnapshot makes the disk what it was when the snapshot was made.
func (q *image) ApplySnapshot(_ context.Context, id string) error {
	q.gate.Lock()
	defer q.gate.Unlock()
	i, err := q.snapshotByID(id)
	if err != nil {
		return err
	}
	if len(q.bitmaps) > 0 {
		for _, b := range q.node.Bitmaps() {
			if b.Persistent() {
				return block.Errorf(block.KindUnsupported, "Cannot go back to a snapshot: the image has the persistent bitmap '%s'", b.Name())
			}
		}
	}
	sn := q.snapshots[i]
	snL1, err := readTable(q.file, sn.l1Offset, sn.l1Size)
	if err != nil {
		return err
	}
	size := int64(sn.diskSize)
	if need := q.l1Needed(size); need > int64(len(snL1)) {
		if need*8 > maxL1Size {
			return block.Errorf(block.KindCorrupt, "Snapshot '%s' has an invalid disk size", sn.name)
		}
		snL1 = append(snL1, make([]uint64, need-int64(len(snL1)))...)
	}
	err = q.transition(func() error {
		if err := q.useL1(snL1); err != nil {
			return err
		}
		l1 := make([]uint64, len(snL1))
		for i, e := range snL1 {
			l1[i] = e & offsetMask
		}
		off, err := q.newTable(encodeTable(l1))
		if err != nil {
			return err
		}
		if err := q.sync(); err != nil {
			return err
		}
		// Size, L1 size and L1 offset change in one write.
		var p [24]byte
		be.PutUint64(p[:], uint64(size))
		be.PutUint32(p[8:], q.hdr.crypt)
		be.PutUint32(p[12:], uint32(len(l1)))
		be.PutUint64(p[16:], uint64(off))
		if err := q.file.PwriteSync(24, p[:]); err != nil {
			return err
		}
		old := q.l1
		q.mu.Lock()
		q.dropTable(int64(q.hdr.l1Offset), int64(q.hdr.l1Size)*8)
		q.hdr.size, q.hdr.l1Size, q.hdr.l1Offset = uint64(size), uint32(len(l1)), uint64(off)
		q.l1 = l1
		clear(q.l1Dirty)
		q.mu.Unlock()
		if err := q.dropL1(old); err != nil {
			return err
		}
		if err := q.sync(); err != nil {
			return err
		}
		q.mu.Lock()
		q.markMeta()
		q.mu.Unlock()
		q.sizeBytes.Store(size)
		return q.updateCopied()
	})
	q.forgetDecompressed()
	return err
}

// SaveVMState writes VM state, which lies behind the disk until a snapshot takes it.
func (q *image) SaveVMState(off int64, v block.Vec) error {
	start := q.vmStateOffset() + off
	end := start + int64(v.Len())
	q.gate.Lock()
	err := q.growL1(q.l1Needed(end))
	q.gate.Unlock()
	if err != nil {
		return err
	}
	return q.Pwritev(start, v, 0)
}

// LoadVMState reads VM state; that of a snapshot once it has been applied.
func (q *image) LoadVMState(off int64, v block.Vec) error {
	start := q.vmStateOffset() + off
	e := q.enter()
	defer q.exit(e)
	for v.Len() > 0 {
		r, err := q.find(start, int64(v.Len()))
		if err != nil {
			return err
		}
		part := v.To(int(r.n))
		if r.kind == unallocated {
			err = part.Zero()
		} else {
			err = q.readRun(r, start, part)
		}
		if err != nil {
			return err
		}
		start, v = start+r.n, v.From(int(r.n))
	}
	return nil
}
