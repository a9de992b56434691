package memory

import "slices"

// entry is a stretch of an address space that one region serves, or none.
type entry struct {
	last   uint64
	first  uint64
	region *Region // nil: nothing is here
	off    uint64  // of first in region

	block    *Block // reads are served from here (writes too unless readOnly)
	blockOff uint64 // of first in block
	readOnly bool
	ops      *ops // serves what block does not; nil: writes are dropped

	fds []IoEventFD // at offsets in region, where the whole write falls into the entry
}

// continues reports whether b goes on where a ends, so that they can be one.
func (a *entry) continues(b *entry) bool {
	n := b.first - a.first
	return a.last+1 == b.first && b.region == a.region && b.off == a.off+n &&
		b.block == a.block && (a.block == nil || b.blockOff == a.blockOff+n) &&
		b.readOnly == a.readOnly && b.ops == a.ops
}

// same reports whether the entries serve the same addresses in the same way,
// ioeventfds aside.
func (a *entry) same(b *entry) bool {
	return a.first == b.first && a.last == b.last && a.region == b.region && a.off == b.off &&
		a.block == b.block && a.blockOff == b.blockOff && a.readOnly == b.readOnly && a.ops == b.ops
}

// table is the flat form of an address space. It never changes.
type table struct {
	firsts  []uint64 // of entries, the first of them 0
	entries []entry  // ascending, without gaps, up to the end of the space
	fds     []IoEventFD
}

// newTable makes a table from ascending, disjoint entries: it fills the gaps up
// to last and joins what belongs together.
func newTable(pieces []entry, last uint64) *table {
	n, next := 1, uint64(0) // with a gap at the end
	for i := range pieces {
		if n++; pieces[i].first != next {
			n++
		}
		next = pieces[i].last + 1
	}
	t := &table{entries: make([]entry, 0, n)}
	next = 0 // where the following entry must start
	full := false
	for i := range pieces {
		p := &pieces[i]
		if p.first > next {
			t.entries = append(t.entries, entry{first: next, last: p.first - 1})
		}
		if n := len(t.entries); n > 0 && t.entries[n-1].continues(p) {
			t.entries[n-1].last = p.last
		} else {
			t.entries = append(t.entries, *p)
		}
		next, full = p.last+1, p.last == last
	}
	if !full {
		t.entries = append(t.entries, entry{first: next, last: last})
	}
	t.firsts = make([]uint64, len(t.entries))
	for i := range t.entries {
		e := &t.entries[i]
		t.firsts[i] = e.first
		e.collectFDs()
		for _, f := range e.fds {
			f.Addr = e.first + (f.Addr - e.off)
			t.fds = append(t.fds, f)
		}
	}
	return t
}

// collectFDs finds the ioeventfds of the region that fall into the entry.
func (e *entry) collectFDs() {
	if e.region == nil || e.ops == nil || e.block != nil {
		return
	}
	for _, f := range e.region.fds {
		end := e.off + (e.last - e.first)
		if f.Addr >= e.off && f.Addr <= end && uint64(max(f.Size, 1)-1) <= end-f.Addr {
			e.fds = append(e.fds, f)
		}
	}
}

// find returns the entry that addr is in. addr must not be beyond the space.
func (t *table) find(addr uint64) *entry {
	lo, n := 0, len(t.firsts)
	for n > 1 { // the answer is in [lo, lo+n)
		half := n >> 1
		if t.firsts[lo+half] <= addr {
			lo += half
		}
		n -= half
	}
	return &t.entries[lo]
}

func (t *table) equal(o *table) bool {
	if o == nil || len(t.entries) != len(o.entries) || !slices.Equal(t.fds, o.fds) {
		return false
	}
	for i := range t.entries {
		if !t.entries[i].same(&o.entries[i]) {
			return false
		}
	}
	return true
}
