package memory

import (
	"runtime"
	"slices"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// System is one machine's memory: the topology lock, the address spaces, the
// RAM blocks and those who track dirty pages.
type System struct {
	// topo is the topology lock. It guards the region trees, the fields below it
	// and all changes of tables. Use begin and end.
	topo    sync.Mutex
	owner   atomic.Int32 // thread ID of the holder, 0 when free
	depth   int          // nesting of the holder
	changed bool         // trees differ from tables
	spaces  []*Space
	closing []*Space // to be taken out of spaces once they are empty
	scratch []entry  // of rendering
	blocks  []*Block
	seq     uint64 // order in which regions were added to others

	consumers []*DirtyConsumer                // the active ones
	sources   atomic.Pointer[[]*sourceHandle] // replaced under topo
	harvest   sync.Mutex                      // one harvest at a time; its holder never takes topo

	quiet quiet
}

// NewSystem returns the memory of a machine that has none yet.
func NewSystem() *System {
	s := &System{}
	s.quiet.cond.L = &s.quiet.mu
	s.sources.Store(new([]*sourceHandle))
	return s
}

// NewSpace adds an address space of size bytes, 0 meaning 2^64. Its root is an
// empty container.
func (s *System) NewSpace(name string, size uint64) *Space {
	sp := &Space{sys: s, name: name, last: size - 1}
	sp.root = s.NewContainer(name, size)
	s.begin()
	defer s.end()
	sp.root.inUse = true
	sp.install(sp.render())
	s.spaces = append(s.spaces, sp)
	return sp
}

// Update runs fn as one transaction: tables change and listeners are told when
// the outermost Update returns. Other goroutines' changes wait until then. fn
// must not wait for a device, so neither for Region.Quiesce nor for a mutex that
// a handler takes.
func (s *System) Update(fn func()) {
	s.begin()
	defer s.end()
	fn()
}

// Blocks returns the RAM blocks, in order of creation.
func (s *System) Blocks() []*Block {
	s.begin()
	defer s.end()
	return append([]*Block(nil), s.blocks...)
}

// begin takes the topology lock, or nests. The holder is known by its thread,
// to which it is locked meanwhile: a thread with a goroutine locked to it runs
// no other, so no other goroutine can take itself for the holder.
func (s *System) begin() {
	if s.held() {
		s.depth++
		return
	}
	runtime.LockOSThread()
	s.topo.Lock()
	s.owner.Store(int32(unix.Gettid()))
	s.depth = 1
}

func (s *System) end() {
	if s.depth > 1 {
		s.depth--
		return
	}
	for s.changed { // listeners may change the tree again
		s.changed = false
		s.commit()
	}
	s.depth = 0
	s.owner.Store(0)
	s.topo.Unlock()
	runtime.UnlockOSThread()
}

// held reports whether the caller holds the topology lock.
func (s *System) held() bool {
	o := s.owner.Load()
	return o != 0 && o == int32(unix.Gettid())
}

// commit makes the tables match the trees: all of them first, so that a vCPU
// whose KVM slot goes away finds the new map, then the listeners.
func (s *System) commit() {
	type pending struct {
		sp *Space
		c  Change
	}
	var changes []pending
	for _, sp := range s.spaces {
		t := sp.render()
		old := sp.table.Load()
		if t.equal(old) {
			continue
		}
		if len(sp.listeners) > 0 {
			changes = append(changes, pending{sp, difference(old, t)})
		}
		sp.install(t)
	}
	for _, sp := range s.closing {
		s.spaces = slices.DeleteFunc(s.spaces, func(x *Space) bool { return x == sp })
	}
	s.closing = nil
	for _, p := range changes {
		if p.c.empty() {
			continue
		}
		p.sp.traceChange(p.c)
		for _, l := range append([]*listenerHandle(nil), p.sp.listeners...) {
			l.l.MapChanged(p.c)
		}
	}
}
