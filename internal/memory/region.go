package memory

import (
	"fmt"
	"sort"
)

type kind uint8

const (
	kindContainer kind = iota
	kindIO
	kindRAM
	kindAlias
)

// Region is a node of the tree from which address spaces are made: a container,
// I/O served by a Handler, RAM, ROM, or an alias of (a part of) another region.
// Regions of every kind but aliases can hold others, which cover what they
// themselves are.
type Region struct {
	sys  *System
	name string
	kind kind
	last uint64 // size - 1

	// Guarded by sys.topo:

	ops      *ops   // I/O, and ROM whose writes are handled; replaced, never changed
	block    *Block // RAM and ROM
	blockOff uint64
	rom      bool // made read-only by NewROM
	indirect bool // reads of ROM go to the handler too

	target   *Region // of an alias
	aliasOff uint64

	off      bool // not enabled
	readOnly bool // RAM in it is read-only
	inUse    bool // is a space's root
	parent   *Region
	offset   uint64
	priority int
	seq      uint64
	children []*Region // highest priority first, among equals the later first
	fds      []IoEventFD
	owner    func() string // names who made it, or nil

	inside gauge // accesses that are inside ops.h
}

// ops is how accesses reach a handler.
type ops struct {
	h    Handler
	spec Spec   // normal
	last uint64 // of the region
}

func (s *System) newRegion(name string, k kind, size uint64) *Region {
	return &Region{sys: s, name: name, kind: k, last: size - 1}
}

// NewContainer returns a region that holds others; size 0 means 2^64.
func (s *System) NewContainer(name string, size uint64) *Region {
	return s.newRegion(name, kindContainer, size)
}

// NewIO returns a region whose accesses go to h; size 0 means 2^64.
func (s *System) NewIO(name string, size uint64, h Handler, spec Spec) *Region {
	r := s.newRegion(name, kindIO, size)
	r.ops = &ops{h: h, spec: spec.normal(), last: r.last}
	return r
}

// NewRAM returns a region that is size bytes of b from offset; size 0 means the
// rest of b. What is outside b is cut off; a region that lies wholly outside
// shows nothing.
func (s *System) NewRAM(name string, b *Block, offset, size uint64) *Region {
	if offset >= b.size {
		r := s.newRegion(name, kindContainer, size)
		r.off = true
		return r
	}
	if rest := b.size - offset; size == 0 || size > rest {
		size = rest
	}
	r := s.newRegion(name, kindRAM, size)
	r.block, r.blockOff = b, offset
	return r
}

// NewROM is as NewRAM, but the guest's writes are dropped, or go to the handler
// of SetWriteHandler. Block.Write and Space.WriteROM fill it.
func (s *System) NewROM(name string, b *Block, offset, size uint64) *Region {
	r := s.NewRAM(name, b, offset, size)
	r.rom = true
	return r
}

// NewAlias returns a region that shows size bytes of target from offset, as
// target is at any time, wherever target itself is mapped, if at all. Size 0
// means 2^64.
func (s *System) NewAlias(name string, target *Region, offset, size uint64) *Region {
	r := s.newRegion(name, kindAlias, size)
	r.target, r.aliasOff = target, offset
	return r
}

// Add places child at offset, with priority 0. It is an error if a sibling of
// that priority overlaps it, or if child has a place or holds r.
func (r *Region) Add(offset uint64, child *Region) error {
	return r.add(offset, child, 0, false)
}

// AddOverlap places child at offset, over or under its siblings: the higher
// priority wins, and among equals the later. It is an error if child has a place
// already or holds r.
func (r *Region) AddOverlap(offset uint64, child *Region, priority int) error {
	return r.add(offset, child, priority, true)
}

func (r *Region) add(offset uint64, c *Region, priority int, overlap bool) error {
	r.sys.begin()
	defer r.sys.end()
	switch {
	case c.sys != r.sys:
		return fmt.Errorf("memory region %q belongs to another machine than %q", c.name, r.name)
	case r.kind == kindAlias:
		return fmt.Errorf("memory region %q cannot be placed in %q, which is an alias", c.name, r.name)
	case c.parent != nil:
		return fmt.Errorf("memory region %q cannot be placed in %q: it is in %q", c.name, r.name, c.parent.name)
	case c.inUse:
		return fmt.Errorf("memory region %q cannot be placed in %q: it is the root of an address space", c.name, r.name)
	case c.reaches(r, map[*Region]bool{}):
		return fmt.Errorf("memory region %q cannot be placed in %q, which is a part of it", c.name, r.name)
	}
	if !overlap {
		for _, s := range r.children {
			if s.priority == priority && offset <= addSat(s.offset, s.last) && s.offset <= addSat(offset, c.last) {
				return fmt.Errorf("memory region %q (%#x to %#x) overlaps %q (%#x to %#x) in %q", c.name, offset,
					addSat(offset, c.last), s.name, s.offset, addSat(s.offset, s.last), r.name)
			}
		}
	}
	r.sys.seq++
	c.parent, c.offset, c.priority, c.seq = r, offset, priority, r.sys.seq
	r.children = append(r.children, c)
	r.sortChildren()
	r.sys.changed = true
	return nil
}

func (r *Region) sortChildren() {
	sort.Slice(r.children, func(i, j int) bool {
		a, b := r.children[i], r.children[j]
		if a.priority != b.priority {
			return a.priority > b.priority
		}
		return a.seq > b.seq
	})
}

// reaches reports whether to is r, in r, or shown by an alias in r.
func (r *Region) reaches(to *Region, seen map[*Region]bool) bool {
	if r == to {
		return true
	}
	if seen[r] {
		return false
	}
	seen[r] = true
	if r.target != nil && r.target.reaches(to, seen) {
		return true
	}
	for _, c := range r.children {
		if c.reaches(to, seen) {
			return true
		}
	}
	return false
}

// Remove takes child out of r; nothing happens if it is not there. Accesses may
// be inside child's handler still: see Quiesce.
func (r *Region) Remove(child *Region) {
	r.sys.begin()
	defer r.sys.end()
	for i, c := range r.children {
		if c == child {
			r.children = append(r.children[:i:i], r.children[i+1:]...)
			c.parent = nil
			r.sys.changed = true
			return
		}
	}
}

// Quiesce returns when no access is inside the handlers of r and of the regions
// in it. Once it is out of all spaces and Quiesce has returned no handler is
// called again. It must not be called from a handler, inside Update, or with a
// mutex held that a handler takes.
func (r *Region) Quiesce() {
	if r.sys.held() {
		panic("memory: Quiesce inside Update: the change that it waits for has not happened")
	}
	r.sys.begin()
	all := r.descend(nil)
	r.sys.end()
	for _, x := range all {
		x.inside.wait(&r.sys.quiet, 0)
	}
}

func (r *Region) descend(all []*Region) []*Region {
	all = append(all, r)
	for _, c := range r.children {
		all = c.descend(all)
	}
	return all
}

// addSat returns a+b, or the highest address if that is less.
func addSat(a, b uint64) uint64 {
	if s := a + b; s >= a {
		return s
	}
	return ^uint64(0)
}
