package memory

import (
	"cmp"
	"slices"
	"sort"
)

// Listener is told of changes of a space, such as the keeper of KVM's memory
// slots. MapChanged is called with the topology lock held, by whoever changed
// the map, after all spaces have their new tables. It applies first what was
// removed, ioeventfds before sections, then what was added, sections before
// ioeventfds. It must not wait for handlers nor take a device's mutex.
//
// Between a removal and an addition other vCPUs may access what a listener has
// taken down: they reach the new map through ReadIO and WriteIO.
type Listener interface {
	MapChanged(c Change)
}

// Change is what differs between two maps, ascending by address. What the
// listener cannot see the difference of (the handler of a ROM) is left out.
type Change struct {
	Removed, Added     []Section
	FDRemoved, FDAdded []IoEventFD
}

func (c *Change) empty() bool {
	return len(c.Removed)+len(c.Added)+len(c.FDRemoved)+len(c.FDAdded) == 0
}

// Section is a stretch of a space that one region serves.
type Section struct {
	Addr         uint64
	Size         uint64  // 0 means 2^64
	Region       *Region // the RAM, ROM or I/O region, never an alias or container
	RegionOffset uint64  // of the first byte in Region
	Block        *Block  // nil: I/O
	Offset       uint64  // of the first byte in Block
	ReadOnly     bool    // RAM whose writes leave the guest
}

// Last returns the section's highest address.
func (s Section) Last() uint64 { return s.Addr + (s.Size - 1) }

// IoEventFD is a write that signals an eventfd.
type IoEventFD struct {
	Addr  uint64 // in the space
	Size  int    // of the write in bytes; 0: any
	Match bool   // whether only writes of Value count
	Value uint64
	FD    int
}

func compareFD(a, b IoEventFD) int {
	bit := func(b bool) int {
		if b {
			return 1
		}
		return 0
	}
	return cmp.Or(cmp.Compare(a.Addr, b.Addr), cmp.Compare(a.Size, b.Size), bit(a.Match)-bit(b.Match),
		cmp.Compare(a.Value, b.Value), cmp.Compare(a.FD, b.FD))
}

type listenerHandle struct {
	l        Listener
	priority int
}

// AddListener has l told of changes until remove is called, and at once of the
// present map as an addition. Listeners of lower priority are told first, among
// equals the earlier. A removed listener is not told that all is gone.
func (sp *Space) AddListener(l Listener, priority int) (remove func()) {
	sp.sys.begin()
	defer sp.sys.end()
	h := &listenerHandle{l, priority}
	sp.listeners = append(sp.listeners, h)
	sort.SliceStable(sp.listeners, func(i, j int) bool { return sp.listeners[i].priority < sp.listeners[j].priority })
	if c := difference(&table{}, sp.table.Load()); !c.empty() {
		l.MapChanged(c)
	}
	return func() {
		sp.sys.begin()
		defer sp.sys.end()
		sp.listeners = slices.DeleteFunc(slices.Clone(sp.listeners), func(x *listenerHandle) bool { return x == h })
	}
}

// sections returns what is not empty of entries.
func sections(entries []entry) []Section {
	out := make([]Section, 0, len(entries))
	for i := range entries {
		if e := &entries[i]; e.region != nil {
			out = append(out, Section{Addr: e.first, Size: e.last - e.first + 1, Region: e.region, RegionOffset: e.off,
				Block: e.block, Offset: e.blockOff, ReadOnly: e.readOnly})
		}
	}
	return out
}

func difference(from, to *table) Change {
	var c Change
	old, now := from.entries, to.entries
	for len(old) > 0 && len(now) > 0 && old[0].same(&now[0]) { // most are the same
		old, now = old[1:], now[1:]
	}
	for len(old) > 0 && len(now) > 0 && old[len(old)-1].same(&now[len(now)-1]) {
		old, now = old[:len(old)-1], now[:len(now)-1]
	}
	c.Removed, c.Added = diffSorted(sections(old), sections(now),
		func(a, b Section) int { return cmp.Compare(a.Addr, b.Addr) })
	if slices.Equal(from.fds, to.fds) {
		return c
	}
	a, b := slices.Clone(from.fds), slices.Clone(to.fds)
	slices.SortFunc(a, compareFD)
	slices.SortFunc(b, compareFD)
	c.FDRemoved, c.FDAdded = diffSorted(a, b, compareFD)
	return c
}

// diffSorted returns what is only in a and only in b, both sorted. Elements that
// compare as equal but differ count as both.
func diffSorted[T comparable](a, b []T, compare func(T, T) int) (onlyA, onlyB []T) {
	for len(a) > 0 || len(b) > 0 {
		order := 0
		switch {
		case len(a) == 0:
			order = 1
		case len(b) == 0:
			order = -1
		default:
			order = compare(a[0], b[0])
		}
		if order == 0 && a[0] == b[0] {
			a, b = a[1:], b[1:]
			continue
		}
		if order <= 0 {
			onlyA, a = append(onlyA, a[0]), a[1:]
		}
		if order >= 0 {
			onlyB, b = append(onlyB, b[0]), b[1:]
		}
	}
	return onlyA, onlyB
}
