package memory

import "sort"

// render makes the space's table from its tree. The topology lock is held.
func (sp *Space) render() *table {
	r := renderer{out: sp.sys.scratch[:0]}
	r.region(sp.root, 0, sp.last, 0, false)
	t := newTable(r.out, sp.last)
	clear(r.out) // it must keep no region alive
	sp.sys.scratch = r.out
	return t
}

// renderer collects what is seen in a space. What wins comes first: nothing that
// comes later covers it.
type renderer struct {
	out []entry // ascending and disjoint
}

// region adds what is seen of the addresses lo to hi in r. They lie in r, in
// r's own coordinates, and appear in the space at the same plus delta, modulo
// 2^64: delta is "negative" where an alias shows something below where it is.
// Only differences that were checked are added, so nothing wraps around.
func (d *renderer) region(r *Region, lo, hi, delta uint64, readOnly bool) {
	if r.off || lo > r.last {
		return
	}
	hi = min(hi, r.last)
	readOnly = readOnly || r.readOnly || r.rom
	if r.kind == kindAlias {
		if lo > ^uint64(0)-r.aliasOff {
			return
		}
		d.region(r.target, lo+r.aliasOff, addSat(hi, r.aliasOff), delta-r.aliasOff, readOnly)
		return
	}
	for _, c := range r.children {
		l, h := max(lo, c.offset), min(hi, addSat(c.offset, c.last))
		if l <= h {
			d.region(c, l-c.offset, h-c.offset, delta+c.offset, readOnly)
		}
	}
	e := entry{first: lo + delta, last: hi + delta, region: r, off: lo}
	switch r.kind {
	case kindContainer:
		return
	case kindIO:
		e.ops = r.ops
	case kindRAM:
		e.readOnly = readOnly
		if readOnly {
			e.ops = r.ops
		}
		if e.ops == nil || !r.indirect {
			e.block, e.blockOff = r.block, r.blockOff+lo
		} else {
			e.readOnly = false
		}
	}
	d.fill(e)
}

// fill adds the parts of e that nothing covers yet.
func (d *renderer) fill(e entry) {
	i := sort.Search(len(d.out), func(i int) bool { return d.out[i].last >= e.first })
	for {
		if i == len(d.out) || d.out[i].first > e.last { // free up to the end
			d.insert(i, e)
			return
		}
		o := d.out[i]
		if e.first < o.first {
			part := e
			part.last = o.first - 1
			d.insert(i, part)
			i++
		}
		if o.last >= e.last {
			return
		}
		e = e.from(o.last + 1)
		i++
	}
}

// from returns the part of e that starts at first.
func (e entry) from(first uint64) entry {
	n := first - e.first
	e.first = first
	e.off += n
	if e.block != nil {
		e.blockOff += n
	}
	return e
}

func (d *renderer) insert(i int, e entry) {
	d.out = append(d.out, entry{})
	copy(d.out[i+1:], d.out[i:])
	d.out[i] = e
}
