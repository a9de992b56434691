package export

import (
	"context"
	"fmt"

	"govmd/internal/block"
)

// Kind is what offers the node: the code behind an export.
type Kind interface {
	// InUse reports whether there are clients.
	InUse() bool
	// Stop sends the clients away and takes no new ones. It does not wait; the channel
	// is closed when nothing of the kind's uses the export any more.
	Stop() (gone <-chan struct{})
	// Close lets go of what else the kind holds. It runs on the lane after that.
	Close()
}

// Export is one export. What runs on its Queue goes to the node.
type Export struct {
	ID       string
	Type     string
	Writable bool
	// Writethrough: a write is stable before its client is told of its end.
	Writethrough bool

	set      *Set
	child    *block.Child
	queue    *block.Queue
	kind     Kind
	stopping bool
}

// Child is the export's edge to its node.
func (e *Export) Child() *block.Child { return e.child }

// Node is what is exported.
func (e *Export) Node() *block.Node { return e.child.Node() }

// Queue runs requests on the node; those are held while the node is drained.
func (e *Export) Queue() *block.Queue { return e.queue }

// Flags returns what has to be added to the flags of a write.
func (e *Export) Flags() block.Flags {
	if e.Writethrough {
		return block.FUA
	}
	return 0
}

// ParentName implements block.Parent.
func (e *Export) ParentName() string { return fmt.Sprintf("block export '%s'", e.ID) }

// open makes the queue: the first drain may come before Attach has returned.
func (e *Export) open(c *block.Child) {
	if e.child == nil {
		e.child, e.queue = c, block.NewChildQueue("export "+e.ID, c, 0)
	}
}

// release lets the node go. Nothing is under way.
func (e *Export) release() {
	e.queue.Close()
	e.set.graph.Detach(e.child)
}

// DrainBegin implements block.Parent.
func (e *Export) DrainBegin(c *block.Child) {
	e.open(c)
	e.queue.Hold()
}

// DrainWait implements block.Parent.
func (e *Export) DrainWait(ctx context.Context, _ *block.Child) error { return e.queue.Wait(ctx) }

// DrainEnd implements block.Parent.
func (e *Export) DrainEnd(*block.Child) { e.queue.Release() }

// ChildResized implements block.Parent. Clients that are there keep the size that
// they were told; what is not there any more is refused them.
func (e *Export) ChildResized(*block.Child) {}

// Inactivate implements block.Parent: another process that takes the image over
// finds nobody who writes to it.
func (e *Export) Inactivate(*block.Child) error {
	if e.Writable {
		return block.Errorf(block.KindInUse, "Block export '%s' is writable", e.ID)
	}
	return nil
}

// Activate implements block.Parent.
func (e *Export) Activate(*block.Child) error { return nil }
