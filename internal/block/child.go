package block

import (
	"context"
	"sync/atomic"
)

// Parent uses a node: another node, a device's back end, a job, an export.
type Parent interface {
	// ParentName is for messages: "node 'disk0'", "block device 'virtio0'".
	ParentName() string
	// DrainBegin: start no new request on the child. It must not wait.
	DrainBegin(c *Child)
	// DrainWait returns when no request of the parent's is under way.
	DrainWait(ctx context.Context, c *Child) error
	// DrainEnd: go on. Calls nest.
	DrainEnd(c *Child)
	// ChildResized: the child has another size.
	ChildResized(c *Child)
	// Inactivate and Activate: another process takes the image over, or has given it back.
	Inactivate(c *Child) error
	Activate(c *Child) error
}

// Stayer is a Parent that uses a node for what the node is, not for what it shows:
// its edge stays when another node takes the node's place (Graph.ReplaceNode).
type Stayer interface{ StaysAtNode() }

// Child is an edge of the graph: what a parent uses a node through.
type Child struct {
	graph    *Graph
	parent   Parent
	owner    *Node // the parent, when it is a node
	name     string
	role     Role
	node     atomic.Pointer[Node] // changes under drain only
	perm     Perm                 // guarded by graph.mu
	shared   Perm
	quiesced bool // the parent has been told to drain because of the node
	frozen   int  // by so many FreezeChain: a job depends on it
}

// Node returns the node at the end of the edge.
func (c *Child) Node() *Node { return c.node.Load() }

// Name returns the edge's name: "file", "backing", "root".
func (c *Child) Name() string { return c.name }

// Role returns what the node is to its parent.
func (c *Child) Role() Role { return c.role }

// holds reports whether what is written to the parent, a node, ends up in the child.
func (c *Child) holds() bool {
	if c.owner.typ.Filter {
		return c.role&RoleFiltered != 0
	}
	return c.role&(RoleData|RoleMetadata) != 0
}

// Parent returns who uses the node.
func (c *Child) Parent() Parent { return c.parent }

// ParentNode returns the parent when it is a node, else nil.
func (c *Child) ParentNode() *Node { return c.owner }

// Perms returns what the parent may do and lets others do.
func (c *Child) Perms() (perm, shared Perm) {
	c.graph.mu.Lock()
	defer c.graph.mu.Unlock()
	return c.perm, c.shared
}

// Preadv reads at off. The range may exceed the image, which reads as zeroes there.
func (c *Child) Preadv(off int64, v Vec, f Flags) error { return c.Node().preadv(off, v, f) }

// Pwritev writes at off.
func (c *Child) Pwritev(off int64, v Vec, f Flags) error { return c.Node().pwritev(off, v, f) }

// Pread reads into p.
func (c *Child) Pread(off int64, p []byte) error { return c.Node().preadv(off, VecOf(p), 0) }

// Pwrite writes p.
func (c *Child) Pwrite(off int64, p []byte) error { return c.Node().pwritev(off, VecOf(p), 0) }

// PwriteSync writes p and flushes.
func (c *Child) PwriteSync(off int64, p []byte) error {
	if err := c.Pwrite(off, p); err != nil {
		return err
	}
	return c.Flush()
}

// PwriteZeroes makes n bytes from off on read as zeroes.
func (c *Child) PwriteZeroes(off, n int64, f Flags) error { return c.Node().pwriteZeroes(off, n, f) }

// Pdiscard says that n bytes from off on are not needed. It is no error when
// nothing comes of it.
func (c *Child) Pdiscard(off, n int64) error { return c.Node().pdiscard(off, n) }

// Flush makes what was written before it stable.
func (c *Child) Flush() error { return c.Node().flush() }

// BlockStatus describes a range of this node alone, not of what is behind it.
func (c *Child) BlockStatus(off, n int64, want StatusFlags) (Status, error) {
	return c.Node().BlockStatus(off, n, want)
}

// Length returns the node's size.
func (c *Child) Length() int64 { return c.Node().Length() }

// Truncate changes the node's size. It is a control operation.
func (c *Child) Truncate(ctx context.Context, size int64, exact bool, p Prealloc, f Flags) error {
	return c.Node().Truncate(ctx, size, exact, p, f)
}

// CopyRange copies n bytes to another node without reading them, where the host
// can; ErrUnsupp says that it cannot.
func (c *Child) CopyRange(srcOff int64, dst *Child, dstOff, n int64, f Flags) error {
	return c.Node().copyRange(srcOff, dst.Node(), dstOff, n, f)
}

// CopyRangeTo is CopyRange for drivers that pass it on.
func (c *Child) CopyRangeTo(srcOff int64, dst *Node, dstOff, n int64, f Flags) error {
	return c.Node().copyRange(srcOff, dst, dstOff, n, f)
}

// nodeParent makes a node the parent of its children.
type nodeParent struct{ *Node }

func (p nodeParent) ParentName() string { return "node '" + p.name + "'" }

func (p nodeParent) DrainBegin(*Child) { p.drainBegin() }

func (p nodeParent) DrainWait(ctx context.Context, _ *Child) error { return p.drainWait(ctx) }

func (p nodeParent) DrainEnd(*Child) { p.drainEnd() }

func (p nodeParent) ChildResized(c *Child) {
	if c.role&RoleFiltered != 0 || c.role == RoleData|RolePrimary {
		// A filter, raw among them, is as large as what it shows. An error here means
		// that the size is not known: it stays as it was.
		_ = p.RefreshLength()
	}
}

func (p nodeParent) Inactivate(*Child) error { return nil }

func (p nodeParent) Activate(*Child) error { return nil }
