// Package control has the monitor's commands about images, drives and media. They
// run on the control lane, on a block.Graph; what may take long there (opening an
// image, draining one that is slow) leaves the lane and comes back to it.
package control

import (
	"context"
	"slices"

	"govmd/internal/block"
	"govmd/internal/block/blockjob"
	"govmd/internal/event"
	"govmd/internal/lane"
	"govmd/internal/qmp"
)

// Control is what the commands act on.
type Control struct {
	graph *block.Graph
	lane  *lane.Lane
	jobs  *blockjob.Manager
	// Virtual returns the machine's virtual time in ns, for snapshots. It may be nil.
	virtual func() int64
}

// Config says what a Control acts on.
type Config struct {
	Graph   *block.Graph
	Lane    *lane.Lane
	Jobs    *blockjob.Manager // nil where no command makes a job
	Virtual func() int64      // the machine's virtual time in ns; nil for none
}

// New returns the commands' home.
func New(cfg Config) *Control {
	c := &Control{graph: cfg.Graph, lane: cfg.Lane, jobs: cfg.Jobs, virtual: cfg.Virtual}
	if c.virtual == nil {
		c.virtual = func() int64 { return 0 }
	}
	return c
}

// Graph returns what the commands act on.
func (c *Control) Graph() *block.Graph { return c.graph }

// Jobs returns where the commands make block jobs.
func (c *Control) Jobs() *blockjob.Manager { return c.jobs }

// Commands returns all commands.
func (c *Control) Commands() []qmp.Command {
	var list []qmp.Command
	for _, part := range [][]qmp.Command{
		c.queryCommands(), c.nodeCommands(), c.mediaCommands(), c.throttleCommands(), c.bitmapCommands(),
		c.snapshotCommands(), c.transactionCommands(), c.sizeCommands(),
	} {
		list = append(list, part...)
	}
	return list
}

// Events returns the events of the block layer.
func Events() []event.Event { return append(block.Events(), blockjob.Events()...) }

// byName returns the drive of that name.
func (c *Control) byName(name string) (*block.Backend, error) {
	if b := c.graph.Backend(name); b != nil {
		return b, nil
	}
	return nil, qmp.DeviceNotFound(name)
}

// byDevice returns the drive of the device with that ID or path.
func (c *Control) byDevice(id string) (*block.Backend, error) {
	for _, b := range c.graph.Backends() {
		if b.Device() != nil && b.DeviceName() == id {
			return b, nil
		}
		if u, ok := b.Device().(block.UserDevice); ok && id != "" && u.BlockUserID() == id {
			return b, nil
		}
	}
	return nil, qmp.DeviceNotFound(id)
}

// drive returns the drive that a command means, which is named by exactly one of
// the two: its own name or its device's ID.
func (c *Control) drive(device, id *string) (*block.Backend, error) {
	switch {
	case (device == nil) == (id == nil):
		return nil, qmp.Errorf("Need exactly one of 'device' and 'id'")
	case id != nil:
		return c.byDevice(*id)
	}
	return c.byName(*device)
}

// text returns what an optional argument says, "" when it is not given.
func text(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

// node returns the node that device or node-name means.
func (c *Control) node(device, name *string) (*block.Node, error) {
	return c.graph.Lookup(text(device), text(name))
}

// Medium returns the root node of the drive, or the node, of that name.
func (c *Control) Medium(name string) (*block.Node, error) {
	return c.graph.Lookup(name, name)
}

// Root is Medium for what concerns a disk as a whole: no image and no job may be
// above it.
func (c *Control) Root(name string) (*block.Node, error) {
	n, err := c.Medium(name)
	if err != nil {
		return nil, err
	}
	for _, p := range n.Parents() {
		if _, stays := p.Parent().(block.Stayer); stays || p.ParentNode() != nil {
			return nil, qmp.Errorf("Need a root block node")
		}
	}
	return n, nil
}

// named returns the node of that name.
func (c *Control) named(name string) (*block.Node, error) {
	if n := c.graph.Node(name); n != nil {
		return n, nil
	}
	return nil, qmp.Errorf("Failed to find node with node-name='%s'", name)
}

// inDrive reports whether the node is a drive's medium.
func inDrive(n *block.Node) bool {
	return slices.ContainsFunc(n.Parents(), func(p *block.Child) bool { return block.BackendOf(p) != nil })
}

// Drained runs fn with the node drained. It waits for requests under way.
func Drained(ctx context.Context, n *block.Node, fn func() error) error {
	if err := n.Drain(ctx); err != nil {
		return err
	}
	defer n.Undrain()
	return fn()
}
