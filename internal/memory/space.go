package memory

import "sync/atomic"

// Space is an address space: the guest's physical memory, or its ports.
type Space struct {
	sys  *System
	name string
	last uint64
	root *Region

	table atomic.Pointer[table]
	// gen changes after each change of table, so that those who keep something
	// from a table need not keep the table.
	gen atomic.Uint64

	listeners []*listenerHandle // guarded by sys.topo, in order of priority
}

// install makes t the space's table.
func (sp *Space) install(t *table) {
	sp.table.Store(t)
	sp.gen.Add(1)
}

// Close takes the space out of the machine: it shows nothing from then on, of
// which its listeners are told.
func (sp *Space) Close() {
	sp.sys.begin()
	defer sp.sys.end()
	sp.sys.closing = append(sp.sys.closing, sp)
	sp.root.off = true
	sp.sys.changed = true
}

// Name returns the name that the space was made with.
func (sp *Space) Name() string { return sp.name }

// Root returns the region that covers the space.
func (sp *Space) Root() *Region { return sp.root }

// System returns the machine's memory that the space is a part of.
func (sp *Space) System() *System { return sp.sys }

// FlatView returns what is mapped, ascending by address.
func (sp *Space) FlatView() []Section { return sections(sp.table.Load().entries) }

// Lookup returns the section that addr is in; ok is false if nothing is mapped there.
func (sp *Space) Lookup(addr uint64) (s Section, ok bool) {
	if addr > sp.last {
		return s, false
	}
	e := sp.table.Load().find(addr)
	if e.region == nil {
		return s, false
	}
	return Section{Addr: e.first, Size: e.last - e.first + 1, Region: e.region, RegionOffset: e.off,
		Block: e.block, Offset: e.blockOff, ReadOnly: e.readOnly}, true
}
