package block

import (
	"sync"
	"sync/atomic"
)

// Node is an open image or a filter. Its structure (parents, children, options,
// name) changes on the control lane only; I/O goes through a Child.
type Node struct {
	graph *Graph
	name  string
	typ   *Type
	drv   Driver
	opts  *Options
	set   Settings
	lim   Limits
	file  string // filename; "" when only json: could say it

	// Guarded by graph.mu; read without it on the lane.
	parents  []*Child
	children []*Child
	refs     int
	monitor  bool // one of refs is the monitor's (blockdev-add)
	closing  bool
	perm     Perm // what all parents want
	shared   Perm // what all parents let others do
	inactive bool
	implicit bool // made by a job or a snapshot without being asked for
	quiesce  int
	blockers []blocker

	backing atomic.Pointer[Child] // the child in role COW
	length  atomic.Int64
	trk     tracker
	gen     atomic.Uint64 // counts writes
	flushMu sync.Mutex    // held over the driver's Flush; guards flushed
	flushed uint64        // gen as of the last flush that went well

	threshold atomic.Int64 // of write offsets, 0: none
	maxWrite  atomic.Int64 // the highest offset written to
	cor       atomic.Int32 // users that want reads copied (CopyOnRead)
	bitmaps   atomic.Pointer[[]*Bitmap]
	bmMu      sync.Mutex // serialises changes of bitmaps; reads use the pointer
	guardRaw  bool       // the format raw was guessed: sector 0 must not turn into another's header
	debug     Debugger   // the driver, if it is one
}

// Name returns the node's name.
func (n *Node) Name() string { return n.name }

// DriverName returns the name of the driver ("qcow2").
func (n *Node) DriverName() string { return n.typ.Name }

// Type returns the type of the driver.
func (n *Node) Type() *Type { return n.typ }

// Driver returns the code behind the node, to be asked for the interfaces beside
// Driver. I/O goes through a Child.
func (n *Node) Driver() Driver { return n.drv }

// Options returns how the node was opened. They must not be changed.
func (n *Node) Options() *Options { return n.opts }

// Settings returns the generic options that are in effect.
func (n *Node) Settings() Settings { return n.set }

// Limits returns what the driver's I/O takes.
func (n *Node) Limits() Limits { return n.lim }

// Length returns the size in bytes. It is cheap and may be called anywhere.
func (n *Node) Length() int64 { return n.length.Load() }

// RefreshLength asks the driver for the size and tells the parents when it has
// changed. It runs on the lane.
func (n *Node) RefreshLength() error {
	size, err := n.drv.Length()
	if err != nil {
		return err
	}
	if n.length.Swap(size) != size {
		n.resized()
	}
	return nil
}

func (n *Node) resized() {
	for _, b := range n.Bitmaps() {
		b.truncate(n.Length())
	}
	for _, c := range n.Parents() {
		c.parent.ChildResized(c)
	}
}

// ReadOnly reports whether the node cannot be written.
func (n *Node) ReadOnly() bool { return n.set.ReadOnly }

func (n *Node) writable() bool { return !n.set.ReadOnly && !n.inactive }

// Inactive reports whether the image belongs to another process for now.
func (n *Node) Inactive() bool { return n.inactive }

// FileName returns the name by which the image could be opened, as a user would
// write it, or as json:{…}.
func (n *Node) FileName() string { return n.fileName() }

// Parents returns who uses the node.
func (n *Node) Parents() []*Child {
	n.graph.mu.Lock()
	defer n.graph.mu.Unlock()
	return append([]*Child(nil), n.parents...)
}

// Children returns what the node uses, in the order in which it opened it.
func (n *Node) Children() []*Child {
	n.graph.mu.Lock()
	defer n.graph.mu.Unlock()
	return append([]*Child(nil), n.children...)
}

// Child returns the child of that name, or nil.
func (n *Node) Child(name string) *Child {
	n.graph.mu.Lock()
	defer n.graph.mu.Unlock()
	for _, c := range n.children {
		if c.name == name {
			return c
		}
	}
	return nil
}

// Backing returns the backing file's node, or nil.
func (n *Node) Backing() *Node {
	if c := n.BackingChild(); c != nil {
		return c.Node()
	}
	return nil
}

// BackingChild returns the edge to the backing file, or nil. It may be called from
// requests: the edge changes under drain only.
func (n *Node) BackingChild() *Child { return n.backing.Load() }

func (n *Node) filtered() *Child {
	for _, c := range n.children {
		if c.role&RoleFiltered != 0 && n.typ.Filter {
			return c
		}
	}
	return nil
}

// Primary returns the node that stands for this one one level down, or nil: a
// format's file, what a filter filters.
func (n *Node) Primary() *Node {
	if c := n.primaryChild(); c != nil {
		return c.Node()
	}
	return nil
}

func (n *Node) primaryChild() *Child {
	for _, c := range n.children {
		if c.role&RolePrimary != 0 {
			return c
		}
	}
	return nil
}

// SkipFilters returns the node below all filters from n on, n itself if it is none.
func (n *Node) SkipFilters() *Node {
	for {
		c := n.filtered()
		if c == nil {
			return n
		}
		n = c.Node()
	}
}

// BackingChainNext returns what reads fall through to: the backing file, or what
// a filter filters; nil at the end.
func (n *Node) BackingChainNext() *Node {
	if c := n.filtered(); c != nil {
		return c.Node()
	}
	return n.Backing()
}

// InChain reports whether base is n or below it in the backing chain.
func (n *Node) InChain(base *Node) bool {
	for ; n != nil; n = n.BackingChainNext() {
		if n == base {
			return true
		}
	}
	return false
}

// Implicit reports whether the node was made without a user's asking for it; it
// is left out of what is shown to those who do not know node names.
func (n *Node) Implicit() bool { return n.implicit }

// SetImplicit says so.
func (n *Node) SetImplicit(on bool) { n.implicit = on }

// Info returns what the driver says of its image.
func (n *Node) Info() Info {
	if i, ok := n.drv.(Informer); ok {
		return i.Info()
	}
	if c := n.filtered(); c != nil {
		return c.Node().Info()
	}
	return Info{AllocatedBytes: -1}
}

// AllocatedBytes returns the space taken on the host, -1 when it is not known.
func (n *Node) AllocatedBytes() int64 {
	if i, ok := n.drv.(Informer); ok && n.typ.Protocol {
		return i.Info().AllocatedBytes
	}
	sum, any := int64(0), false
	for _, c := range n.Children() {
		if c.holds() {
			a := c.Node().AllocatedBytes()
			if a < 0 {
				return -1
			}
			sum, any = sum+a, true
		}
	}
	if !any {
		return -1
	}
	return sum
}
