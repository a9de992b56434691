package qcow2

import (
	"sync"

	"govmd/internal/block"
)

// copyOf is a table as it is to be written.
type copyOf struct {
	t    *table
	data *block.Buffer
}

// cut is what writeback writes: a consistent state of the metadata.
type cut struct {
	rb, l2  []copyOf
	rt      []tableSector
	l1      []tableSector
	freed   []extent
	pending int64
}

// tableSector is a piece of the L1 or refcount table.
type tableSector struct {
	off  int64
	i    int // index of its first entry
	data []byte
}

var cuts = sync.Pool{New: func() any { return new(cut) }}

// take collects what is dirty and marks it clean. mu is held.
func (q *image) take(c *cut) {
	c.rb = takeTables(&q.rb, c.rb[:0])
	c.l2 = takeTables(&q.l2, c.l2[:0])
	c.rt = takeSectors(q.refTable, q.rtDirty, int64(q.hdr.refTableOffset), c.rt[:0])
	c.l1 = takeSectors(q.l1, q.l1Dirty, int64(q.hdr.l1Offset), c.l1[:0])
	c.freed, q.freed = q.freed, c.freed[:0]
	c.pending, q.freedCount = q.freedCount, 0
}

func takeTables(c *cache, list []copyOf) []copyOf {
	if c.dirty == 0 {
		return list
	}
	for _, t := range c.ring {
		if t.dirty {
			b := block.GetBuffer(len(t.data))
			copy(b.B, t.data)
			t.dirty = false
			t.writing++
			list = append(list, copyOf{t, b})
		}
	}
	c.dirty = 0
	return list
}

// takeSectors takes the 512-byte pieces of a table that have changed.
func takeSectors(t []uint64, dirty map[int]struct{}, off int64, list []tableSector) []tableSector {
	for i := range dirty {
		first := i &^ 63
		end := min(first+64, len(t))
		list = append(list, tableSector{off + 8*int64(first), first, encodeTable(t[first:end])})
		for j := first; j < end; j++ {
			delete(dirty, j)
		}
	}
	clear(dirty)
	return list
}

// writeback writes all changes of metadata so that a crash at any point leaves a
// consistent image, and gives up what is to be given up. What guest writes have
// put into the file before is flushed as far as metadata come to refer to it.
func (q *image) writeback() error {
	q.wbMu.Lock()
	defer q.wbMu.Unlock()
	c := cuts.Get().(*cut)
	defer cuts.Put(c)
	q.mu.Lock()
	if q.corrupt {
		q.mu.Unlock()
		return block.ErrIO
	}
	q.take(c)
	q.mu.Unlock()
	err := q.writeCut(c)
	q.mu.Lock()
	q.settle(c, err)
	q.mu.Unlock()
	if err == nil && len(c.freed) > 0 {
		err = q.release(c)
	}
	return err
}

// settle notes that the tables of a cut are no longer being written; after an
// error they are dirty again. mu is held.
func (q *image) settle(c *cut, err error) {
	done := func(cc *cache, list []copyOf) {
		for _, w := range list {
			w.t.writing--
			w.data.Release()
			if err != nil && cc.tables[w.t.off] == w.t {
				cc.mark(w.t)
			}
		}
		clear(list)
	}
	done(&q.rb, c.rb)
	done(&q.l2, c.l2)
	if err != nil {
		for _, s := range c.rt {
			q.rtDirty[s.i] = struct{}{}
		}
		for _, s := range c.l1 {
			q.l1Dirty[s.i] = struct{}{}
		}
		q.freed = append(q.freed, c.freed...)
		q.freedCount += c.pending
	}
}

// writeCut writes the parts of a cut in order.
func (q *image) writeCut(c *cut) error {
	lazy := q.lazyDirty
	if err := q.writeTables(c.rb, block.EventRefblockUpdatePart); err != nil {
		return err
	}
	if len(c.rt) > 0 {
		if err := q.barrier(); err != nil {
			return err
		}
		if err := q.writeSectors(c.rt, block.EventRefblockAllocHookup); err != nil {
			return err
		}
	}
	if len(c.l2) > 0 {
		// Data that were copied from elsewhere were stable there: they must be here,
		// too, before they are found here.
		if !lazy || len(c.rt) > 0 || q.node.Backing() != nil || len(q.snapshots) > 0 {
			if err := q.barrier(); err != nil {
				return err
			}
		}
		if err := q.writeTables(c.l2, block.EventL2Update); err != nil {
			return err
		}
	}
	if len(c.l1) > 0 {
		if err := q.barrier(); err != nil {
			return err
		}
		return q.writeSectors(c.l1, block.EventL1Update)
	}
	return nil
}

func (q *image) writeTables(list []copyOf, e block.DebugEvent) error {
	for _, w := range list {
		q.file.Debug(e)
		if err := q.file.Pwrite(w.t.off, w.data.B); err != nil {
			return err
		}
	}
	return nil
}

func (q *image) writeSectors(list []tableSector, e block.DebugEvent) error {
	for _, s := range list {
		q.file.Debug(e)
		if err := q.file.Pwrite(s.off, s.data); err != nil {
			return err
		}
	}
	return nil
}

// barrier makes what has been written stable.
func (q *image) barrier() error {
	if q.ext {
		if err := q.data.Flush(); err != nil {
			return err
		}
	}
	return q.file.Flush()
}

// release decreases the refcounts of clusters that nothing refers to any more,
// once no request can still be using them.
func (q *image) release(c *cut) error {
	err := q.barrier()
	if err == nil {
		q.synchronize()
		q.dropClusters(c.freed)
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if err != nil {
		q.freed = append(q.freed, c.freed...)
		q.freedCount += c.pending
		return err
	}
	for _, e := range c.freed {
		if e := q.addRefcount(e.first, e.n, -1); e != nil {
			err = e // the rest is leaked
			break
		}
	}
	if q.byteOffset != 0 {
		// The cluster that compressed data were appended to may have gone.
		if n, e := q.refcount(q.byteOffset >> q.clusterBits); e != nil || n == 0 {
			q.byteOffset = 0
		}
	}
	return err
}

// synchronize waits for the requests that are under way when it is called. wbMu is
// held; a request that needs it (a full cache) has left before.
func (q *image) synchronize() {
	q.syncing.Store(true)
	old := q.epoch.Add(1) - 1
	for q.active[old&1].Load() != 0 {
		<-q.quiet
	}
	q.syncing.Store(false)
}

// dropClusters gives the space of clusters that come free back to the file, if it
// is wanted. They are not handed out yet.
func (q *image) dropClusters(list []extent) {
	for _, e := range list {
		want := e.kind == freeRequest && q.dropRequest || e.kind == freeSnapshot && q.dropSnap || e.kind == freeOther && q.dropOther
		if !want {
			continue
		}
		for i := int64(0); i < e.n; {
			n := int64(0)
			q.mu.Lock()
			for i+n < e.n {
				if v, err := q.refcount(e.first + i + n); err != nil || v != 1 {
					break
				}
				n++
			}
			q.mu.Unlock()
			if n > 0 {
				_ = q.file.Pdiscard((e.first+i)<<q.clusterBits, n<<q.clusterBits) // only space is lost
			}
			i += n + 1
		}
	}
}

// writeBlocksLocked writes the dirty refcount blocks and makes them stable. wbMu
// and mu are held.
func (q *image) writeBlocksLocked() error {
	for _, t := range q.rb.ring {
		if t.dirty {
			if err := q.file.Pwrite(t.off, t.data); err != nil {
				return err
			}
			t.dirty = false
			q.rb.dirty--
		}
	}
	return q.file.Flush()
}

// relieve writes back when the caches are full of changes. It is called without
// locks, after a request has left.
func (q *image) relieve() error {
	q.mu.Lock()
	pressed := q.l2.pressed() || q.rb.pressed() || q.freedCount > 1<<16
	q.mu.Unlock()
	if !pressed {
		return nil
	}
	return q.writeback()
}

// Flush writes the metadata; the node flushes the files afterwards.
func (q *image) Flush() error {
	if q.read {
		return nil
	}
	q.gate.RLock()
	defer q.gate.RUnlock()
	return q.writeback()
}

// sync writes everything, freed clusters included, and makes it stable. gate is
// held exclusively.
func (q *image) sync() error {
	for {
		if err := q.writeback(); err != nil {
			return err
		}
		q.mu.Lock()
		dirty := q.rb.dirty > 0 || q.l2.dirty > 0 || len(q.l1Dirty) > 0 || len(q.rtDirty) > 0 || len(q.freed) > 0
		q.mu.Unlock()
		if !dirty {
			return q.barrier()
		}
	}
}
