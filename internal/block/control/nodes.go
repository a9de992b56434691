package control

import (
	"context"

	"govmd/internal/block"
	"govmd/internal/option"
	"govmd/internal/qmp"
)

// addArgs are the arguments of blockdev-add: the options of the node. In the form
// that it had first they were within one member, needed no name and, with an ID,
// made a drive, too.
type addArgs struct {
	block.Options
	Wrapped bool    `qmp:"options,legacy"`
	ID      *string `qmp:"id,legacy"`
}

// defaults are the settings that a node of blockdev-add begins with.
var defaults = block.Settings{}

// check refuses what only the old form has, unless it is the old form.
func (a *addArgs) check() error {
	switch {
	case !a.Wrapped && a.ID != nil:
		return qmp.Errorf("Parameter 'id' is unexpected")
	case !a.Wrapped && a.NodeName == nil:
		return qmp.Errorf("'node-name' must be specified for the root node")
	}
	return nil
}

// Add opens a node that belongs to the monitor until blockdev-del, as -blockdev
// does. It waits for the image to be open.
func (c *Control) Add(ctx context.Context, o *block.Options) error {
	if o.NodeName == nil {
		return qmp.Errorf("'node-name' must be specified for the root node")
	}
	n, err := c.graph.Open(ctx, o, defaults)
	if err != nil {
		return err
	}
	n.SetMonitorOwned(true)
	return nil
}

// add is blockdev-add. An image that stands alone is opened beside the lane: its
// server may be slow. One that refers to other nodes changes these.
func (c *Control) add(ctx *qmp.Context, a *addArgs, reply *qmp.Reply[qmp.None]) {
	if err := a.check(); err != nil {
		reply.Fail(err)
		return
	}
	writeback := true
	if a.ID != nil && a.Cache != nil && a.Cache.Writeback != nil {
		writeback = *a.Cache.Writeback
		a.Cache.Writeback = nil
	}
	finish := func(n *block.Node) error {
		if a.ID != nil {
			return c.newDrive(*a.ID, n, writeback)
		}
		n.SetMonitorOwned(true)
		return nil
	}
	if c.lane == nil || a.RefersToNodes() {
		c.addHere(ctx, a, reply, finish)
		return
	}
	go func() {
		n, err := c.graph.Open(ctx, &a.Options, defaults)
		if err != nil {
			reply.Fail(err)
			return
		}
		if !c.lane.Post(func() { reply.Finish(qmp.None{}, finish(n)) }) {
			n.Unref() // the machine has ended
		}
	}()
}

// addHere is add for an image that is opened on the lane. If it is encrypted its key is
// tried beside the lane: that takes as long as the image says.
func (c *Control) addHere(ctx *qmp.Context, a *addArgs, reply *qmp.Reply[qmp.None], finish func(*block.Node) error) {
	set := defaults
	set.LateKey = true
	n, err := c.graph.Open(ctx, &a.Options, set)
	if err != nil {
		reply.Fail(err)
		return
	}
	u, err := n.Unlocking()
	if err != nil {
		n.Unref()
		reply.Fail(err)
		return
	}
	if u == nil {
		reply.Finish(qmp.None{}, finish(n))
		return
	}
	c.beside(func() error { return u.Run(ctx) }, func(err error) {
		if err != nil {
			n.Unref()
			reply.Fail(err)
			return
		}
		reply.Finish(qmp.None{}, finish(n))
	}, n.Unref)
}

// beside runs slow beside the lane and then, on the lane, done with its error; gone
// instead when the machine has ended. Without a lane all of it is done at once.
func (c *Control) beside(slow func() error, done func(error), gone func()) {
	if c.lane == nil {
		done(slow())
		return
	}
	go func() {
		err := slow()
		if !c.lane.Post(func() { done(err) }) {
			gone()
		}
	}()
}

// newDrive makes a drive for devices to use, with the node, whose reference it
// takes, in it.
func (c *Control) newDrive(id string, n *block.Node, writeback bool) error {
	defer n.Unref()
	if !option.ValidID(id) {
		return qmp.Errorf("Invalid device ID '%s'", id)
	}
	b, err := c.graph.NewBackend(id)
	if err != nil {
		return err
	}
	b.SetWriteCache(writeback)
	if err := b.InsertMedium(n); err != nil {
		b.Close()
		return err
	}
	return nil
}

type nodeNameArgs struct {
	NodeName string `qmp:"node-name"`
}

// del is blockdev-del.
func (c *Control) del(_ *qmp.Context, a *nodeNameArgs) (none qmp.None, err error) {
	n, err := c.named(a.NodeName)
	if err != nil {
		return none, err
	}
	for _, p := range n.Parents() {
		if p.ParentNode() == nil && p.Name() == "root" {
			return none, qmp.Errorf("Node %s is in use", a.NodeName)
		}
	}
	if err := n.Blocked(block.OperationDriveDel); err != nil {
		return none, err
	}
	for _, p := range n.Parents() {
		if o := p.ParentNode(); o != nil && p.Role()&block.RoleCOW != 0 {
			return none, qmp.Errorf("Node '%s' is busy: node is used as backing hd of '%s'", a.NodeName, o.Name())
		}
	}
	switch {
	case !n.MonitorOwned():
		return none, qmp.Errorf("Node %s is not owned by the monitor", a.NodeName)
	case n.Refs() > 1:
		return none, qmp.Errorf("Block device %s is in use", a.NodeName)
	}
	n.SetMonitorOwned(false)
	n.Unref()
	return none, nil
}

type reopenArgs struct {
	Options []*qmp.Object `qmp:"options"`
}

// reopen is blockdev-reopen.
func (c *Control) reopen(ctx *qmp.Context, a *reopenArgs) (none qmp.None, err error) {
	var list []block.Reopen
	for _, obj := range a.Options {
		o, err := block.DecodeOptions(obj, qmp.JSON)
		if err != nil {
			return none, err
		}
		if o.NodeName == nil {
			return none, qmp.Errorf("node-name not specified")
		}
		n, err := c.named(*o.NodeName)
		if err != nil {
			return none, err
		}
		list = append(list, block.Reopen{Node: n, Options: o, Def: defaults})
	}
	return none, c.graph.Reopen(ctx, list)
}

func (c *Control) nodeCommands() []qmp.Command {
	return []qmp.Command{
		qmp.NewAsync("blockdev-add", c.add, qmp.Flatten("options")),
		qmp.New("blockdev-del", c.del),
		qmp.New("blockdev-reopen", c.reopen),
	}
}
