package qcow2

import "govmd/internal/block"

// table is a cached piece of metadata: an L2 slice or a refcount block.
type table struct {
	off     int64 // in the file
	data    []byte
	dirty   bool
	loading bool
	writing int  // a copy of it is on its way to the file
	used    bool // since the hand of the clock passed
	slot    int  // in the ring
}

// cache holds tables, as many as limit and, for a moment, somewhat more when all
// of them wait to be written.
type cache struct {
	limit  int
	size   int64 // of a table, bytes
	tables map[int64]*table
	ring   []*table
	hand   int
	dirty  int
	spare  []*table // to be used again
}

func (c *cache) init(limit int, size int64) {
	*c = cache{limit: max(limit, 2), size: size, tables: make(map[int64]*table)}
}

// lookup returns the table at off if it is there, loading or not.
func (c *cache) lookup(off int64) *table {
	t := c.tables[off]
	if t != nil && !t.used {
		t.used = true
	}
	return t
}

// add makes room for and adds a table of undefined content.
func (c *cache) add(off int64) *table {
	if len(c.ring) >= c.limit {
		c.evict()
	}
	var t *table
	if n := len(c.spare); n > 0 {
		t, c.spare = c.spare[n-1], c.spare[:n-1]
	} else {
		t = &table{data: make([]byte, c.size)}
	}
	t.off, t.used, t.slot = off, true, len(c.ring)
	c.tables[off] = t
	c.ring = append(c.ring, t)
	return t
}

// evict drops a table that is not in use, if there is one.
func (c *cache) evict() {
	for range 2 * len(c.ring) {
		if c.hand >= len(c.ring) {
			c.hand = 0
		}
		t := c.ring[c.hand]
		switch {
		case t.dirty || t.loading || t.writing > 0:
		case t.used:
			t.used = false
		default:
			c.remove(t)
			return
		}
		c.hand++
	}
}

// remove forgets a table and its changes.
func (c *cache) remove(t *table) {
	if t.dirty {
		c.dirty--
		t.dirty = false
	}
	delete(c.tables, t.off)
	last := c.ring[len(c.ring)-1]
	c.ring[t.slot], last.slot = last, t.slot
	c.ring[len(c.ring)-1] = nil
	c.ring = c.ring[:len(c.ring)-1]
	if t.writing == 0 && !t.loading && len(c.spare) < 4 {
		c.spare = append(c.spare, t)
	}
}

// forget drops what is cached of [off, off+n), changes and all.
func (c *cache) forget(off, n int64) {
	for o := off; o < off+n; o += c.size {
		if t := c.tables[o]; t != nil {
			c.remove(t)
		}
	}
}

func (c *cache) mark(t *table) {
	if !t.dirty {
		t.dirty = true
		c.dirty++
	}
}

// pressed reports whether so much waits to be written that it should be.
func (c *cache) pressed() bool { return c.dirty > c.limit/2 }

// clean drops what has not been used since the last call, for cache-clean-interval.
func (c *cache) clean() {
	for i := len(c.ring) - 1; i >= 0; i-- {
		t := c.ring[i]
		if t.dirty || t.loading || t.writing > 0 {
			continue
		}
		if t.used {
			t.used = false
			continue
		}
		c.remove(t)
	}
	c.spare = nil
}

// load returns the table at off, reading it if need be. mu is held, and kept:
// nobody is fetching the table, since refcount blocks are not fetched, and an L2
// table is loaded only with gate held exclusively.
func (q *image) load(c *cache, off int64) (*table, error) {
	if t := c.lookup(off); t != nil {
		return t, nil
	}
	t := c.add(off)
	if err := q.file.Pread(off, t.data); err != nil {
		c.remove(t)
		return nil, err
	}
	return t, nil
}

// fetch reads the L2 slice at off, or waits for whoever does, without mu, which it
// takes again. Afterwards the caller looks again whether the slice is there.
func (q *image) fetch(off int64) error {
	c := &q.l2
	if t := c.lookup(off); t != nil {
		if t.loading {
			q.wait()
		}
		return nil
	}
	t := c.add(off)
	t.loading = true
	q.mu.Unlock()
	q.file.Debug(block.EventL2Load)
	err := q.file.Pread(off, t.data)
	q.mu.Lock()
	t.loading = false
	if err != nil && c.tables[off] == t { // nobody has forgotten it meanwhile
		c.remove(t)
	}
	q.wakeAll()
	return err
}
