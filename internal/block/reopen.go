package block

import (
	"context"
	"slices"
)

// ReopenArgs is what a driver is reopened with.
type ReopenArgs struct {
	Ctx  context.Context
	Node *Node
	Opts any      // a pointer to the branch of the new options
	Set  Settings // the new generic options
	Old  Settings
	// State is the driver's between Prepare and Commit or Abort.
	State any
}

// Reopen is one node and what it is to become.
type Reopen struct {
	Node    *Node
	Options *Options
	Def     Settings // what options that are left out have

	keepBacking bool // whatever the options say of it
}

// Reopen gives nodes other options while they are open: all of them, or none and
// the error says why. What the options leave out goes back to its default. A new
// backing file is named by reference. It runs on the lane and waits for requests
// under way.
func (g *Graph) Reopen(ctx context.Context, list []Reopen) (err error) {
	for i := range list {
		n := list[i].Node
		if err := n.Drain(ctx); err != nil {
			return err
		}
		defer n.Undrain() // after what follows has come into effect, or been undone
	}
	var undo []func()
	var commit []func()
	defer func() {
		if err != nil {
			for _, fn := range slices.Backward(undo) {
				fn()
			}
			return
		}
		for _, fn := range commit {
			fn()
		}
	}()
	for i := range list {
		if err = g.prepareReopen(ctx, &list[i], &undo, &commit); err != nil {
			return err
		}
	}
	// Permissions follow from the new settings; all nodes have them by now.
	for i := range list {
		n := list[i].Node
		if err = g.refreshPerms(n); err != nil {
			return err
		}
		undo = append(undo, func() { _ = g.refreshPerms(n) })
	}
	return nil
}

func (g *Graph) prepareReopen(ctx context.Context, r *Reopen, undo, commit *[]func()) error {
	n, o := r.Node, r.Options
	if o.Driver != n.typ.Name {
		return Errorf(KindInvalid, "Cannot change the option 'driver'")
	}
	if o.NodeName != nil && *o.NodeName != n.name {
		return Errorf(KindInvalid, "Cannot change the option 'node-name'")
	}
	a := &ReopenArgs{Ctx: ctx, Node: n, Opts: o.Branch, Set: o.settings(r.Def), Old: n.set}
	if err := a.Set.check(); err != nil {
		return err
	}
	d, ok := n.drv.(Reopener)
	if !ok {
		return Errorf(KindUnsupported, "Block format '%s' used by node '%s' does not support reopening files", n.typ.Name, n.name)
	}
	if a.Set.ReadOnly && !n.set.ReadOnly {
		if err := n.flush(); err != nil {
			return &Error{Kind: KindIO, Text: "Error flushing drive: " + text(err), Err: err}
		}
	}
	if err := d.PrepareReopen(a); err != nil {
		return err
	}
	old, oldOpts := n.set, n.opts
	n.set, n.opts = a.Set, o
	*undo = append(*undo, func() {
		n.set, n.opts = old, oldOpts
		d.AbortReopen(a)
	})
	*commit = append(*commit, func() {
		d.CommitReopen(a)
		_ = n.refreshLimits() // as good as they were when it was opened
	})
	if r.keepBacking {
		return nil
	}
	return g.reopenBacking(n, o, undo, commit)
}

// backingOption is implemented by options that have a backing file, by embedding
// GenericCOW.
type backingOption interface{ BackingRef() *RefOrNull }

// BackingRef returns what the options say of the backing file, nil for nothing.
func (o *GenericCOW) BackingRef() *RefOrNull { return o.Backing }

func (g *Graph) reopenBacking(n *Node, o *Options, undo, commit *[]func()) error {
	bo, ok := o.Branch.(backingOption)
	if !ok || bo.BackingRef() == nil {
		return nil
	}
	ref := bo.BackingRef()
	old := n.Backing()
	var to *Node
	switch {
	case ref.Definition != nil:
		return Errorf(KindInvalid, "The 'backing' option of node '%s' must name a node to be reopened", n.name)
	case ref.Reference != nil:
		if to = g.Node(*ref.Reference); to == nil {
			return Errorf(KindNotFound, "Cannot find device='%s' nor node-name='%s'", *ref.Reference, *ref.Reference)
		}
	}
	if to == old {
		return nil
	}
	if old != nil {
		old.Ref()
	}
	if err := g.SetBacking(n, to); err != nil {
		if old != nil {
			old.Unref()
		}
		return err
	}
	if old != nil {
		release := func() { old.Unref() }
		*undo = append(*undo, release) // the last to be undone
		*commit = append(*commit, release)
	}
	*undo = append(*undo, func() {
		_ = g.SetBacking(n, old) // it was there before
	})
	return nil
}

// SetReadOnly reopens a node, and below it its file, to be written or not: for
// jobs that write to backing files. It waits for requests under way.
func (g *Graph) SetReadOnly(ctx context.Context, n *Node, readOnly bool) error {
	if n.set.ReadOnly == readOnly {
		return nil
	}
	var list []Reopen
	for p := n; p != nil; p = p.Primary() {
		if p.set.ReadOnly == readOnly {
			break
		}
		set := p.set
		set.ReadOnly = readOnly
		// The options say what they said, but for what the settings have in their place.
		o := *p.opts
		o.ReadOnly = nil
		list = append(list, Reopen{Node: p, Options: &o, Def: set, keepBacking: true})
	}
	if !readOnly {
		slices.Reverse(list) // files become writable before what writes to them
	}
	return g.Reopen(ctx, list)
}

// InactivateAll hands all images over to another process, as the end of a
// migration does: everything is written back, and locks are given up. Nothing may
// be under way. It runs on the lane.
func (g *Graph) InactivateAll() error {
	for _, n := range g.topDown() {
		if n.inactive {
			continue
		}
		if i, ok := n.drv.(Inactivator); ok {
			if err := i.Inactivate(); err != nil {
				return err
			}
		}
		if err := n.flush(); err != nil {
			return err
		}
		for _, c := range n.Parents() {
			if c.owner == nil {
				if err := c.parent.Inactivate(c); err != nil {
					return err
				}
			}
		}
		n.inactive = true
		if err := g.refreshPerms(n); err != nil {
			return err
		}
	}
	return nil
}

// ActivateAll takes the images back, or over. It runs on the lane.
func (g *Graph) ActivateAll(ctx context.Context) error {
	list := g.topDown()
	for _, n := range slices.Backward(list) {
		if !n.inactive {
			continue
		}
		n.inactive = false
		if err := g.refreshPerms(n); err != nil {
			n.inactive = true
			return err
		}
		if i, ok := n.drv.(Inactivator); ok {
			if err := i.Activate(ctx); err != nil {
				n.inactive = true
				return err
			}
		}
		if err := n.RefreshLength(); err != nil {
			return err
		}
		for _, c := range n.Parents() {
			if c.owner == nil {
				if err := c.parent.Activate(c); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// topDown returns all nodes, parents before their children.
func (g *Graph) topDown() (list []*Node) {
	seen := map[*Node]bool{}
	var visit func(n *Node)
	visit = func(n *Node) {
		if seen[n] {
			return
		}
		seen[n] = true
		for _, c := range n.Children() {
			visit(c.Node())
		}
		list = append(list, n)
	}
	for _, n := range g.Nodes() {
		visit(n)
	}
	slices.Reverse(list)
	return list
}
