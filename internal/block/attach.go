package block

import (
	"fmt"
	"slices"
)

// Attach makes parent a user of n, with permissions; it is refused when they
// conflict with another user's. The edge takes a reference of its own.
func (g *Graph) Attach(parent Parent, name string, role Role, n *Node, perm, shared Perm) (*Child, error) {
	return g.attach(parent, nil, name, role, n, perm, shared)
}

func (g *Graph) attach(parent Parent, owner *Node, name string, role Role, n *Node, perm, shared Perm) (*Child, error) {
	c := &Child{graph: g, parent: parent, owner: owner, name: name, role: role, perm: perm, shared: shared}
	c.node.Store(n)
	g.mu.Lock()
	if n.closing {
		g.mu.Unlock()
		return nil, Errorf(KindInUse, "Node '%s' is being closed", n.name)
	}
	n.refs++
	n.parents = append(n.parents, c)
	if owner != nil {
		owner.children = append(owner.children, c)
	}
	g.mu.Unlock()
	if err := g.refreshPerms(n); err != nil {
		g.mu.Lock()
		n.parents = slices.DeleteFunc(n.parents, func(x *Child) bool { return x == c })
		if owner != nil {
			owner.children = slices.DeleteFunc(owner.children, func(x *Child) bool { return x == c })
		}
		n.refs-- // the caller has one, too
		g.mu.Unlock()
		return nil, err
	}
	if owner != nil && role&RoleCOW != 0 {
		owner.backing.Store(c)
	}
	if n.quiesce > 0 {
		c.quiesced = true
		parent.DrainBegin(c)
	}
	return c, nil
}

// Detach ends a use of a node and gives the edge's reference back.
func (g *Graph) Detach(c *Child) { g.detach(c) }

func (g *Graph) detach(c *Child) {
	n := c.Node()
	g.mu.Lock()
	n.parents = slices.DeleteFunc(n.parents, func(x *Child) bool { return x == c })
	if c.owner != nil {
		c.owner.children = slices.DeleteFunc(c.owner.children, func(x *Child) bool { return x == c })
	}
	g.mu.Unlock()
	if c.owner != nil && c.role&RoleCOW != 0 {
		c.owner.backing.CompareAndSwap(c, nil)
	}
	if c.quiesced {
		c.quiesced = false
		c.parent.DrainEnd(c)
	}
	// With fewer users nothing can conflict; a lock that cannot be given back is no harm.
	_ = g.refreshPerms(n)
	n.Unref()
}

// SetPerms changes what a parent does, and lets others do, to its child.
func (c *Child) SetPerms(perm, shared Perm) error {
	g := c.graph
	g.mu.Lock()
	oldPerm, oldShared := c.perm, c.shared
	c.perm, c.shared = perm, shared
	g.mu.Unlock()
	if err := g.refreshPerms(c.Node()); err != nil {
		g.mu.Lock()
		c.perm, c.shared = oldPerm, oldShared
		g.mu.Unlock()
		return err
	}
	return nil
}

// Replace makes the edge lead to another node, under drain of both. When the
// permissions conflict nothing has changed.
func (c *Child) Replace(to *Node) error {
	g, from := c.graph, c.Node()
	if from == to {
		return nil
	}
	if c.frozen > 0 {
		return Errorf(KindInUse, "Cannot change '%s' link to '%s'", c.name, from.name)
	}
	if c.owner != nil && to.reaches(c.owner) {
		return Errorf(KindInvalid, "Making '%s' a %s child of '%s' would create a cycle", to.name, c.name, c.owner.name)
	}
	g.move(c, from, to)
	first, second := to, from
	if from.reaches(to) { // what from wanted of it for c goes as c comes
		first, second = from, to
	}
	err := g.refreshPerms(first)
	if err == nil {
		if err = g.refreshPerms(second); err == nil {
			from.Unref()
			return nil
		}
	}
	g.move(c, to, from)
	to.Unref()
	_ = g.refreshPerms(from) // they were all right before
	_ = g.refreshPerms(to)
	return err
}

// move leads c from one node to the other, and takes a reference to the latter.
func (g *Graph) move(c *Child, from, to *Node) {
	if to.quiesce > 0 && !c.quiesced {
		c.quiesced = true
		c.parent.DrainBegin(c)
	}
	g.mu.Lock()
	from.parents = slices.DeleteFunc(from.parents, func(x *Child) bool { return x == c })
	to.parents = append(to.parents, c)
	to.refs++
	c.node.Store(to)
	g.mu.Unlock()
	if to.quiesce == 0 && c.quiesced {
		c.quiesced = false
		c.parent.DrainEnd(c)
	}
	if from.Length() != to.Length() {
		c.parent.ChildResized(c)
	}
}

// ReplaceNode makes all users of from use to, but those that to itself uses, those that
// skip names and those that stay (Stayer). It is all or nothing. Both are drained by
// the caller.
func (g *Graph) ReplaceNode(from, to *Node, skip func(*Child) bool) error {
	var done []*Child
	from.Ref()
	defer from.Unref()
	for _, c := range from.Parents() {
		if _, stays := c.parent.(Stayer); stays || c.owner != nil && to.reaches(c.owner) || skip != nil && skip(c) {
			continue
		}
		if err := c.Replace(to); err != nil {
			for i := len(done) - 1; i >= 0; i-- {
				if undo := done[i].Replace(from); undo != nil {
					err = fmt.Errorf("%w (and node '%s' could not be put back: %w)", err, from.name, undo)
				}
			}
			return err
		}
		done = append(done, c)
	}
	return nil
}

// SetBacking makes to the backing file of n, or nothing when to is nil. n is
// drained by the caller; its image file is not touched (BackingChanger does that).
func (g *Graph) SetBacking(n, to *Node) error {
	c := n.BackingChild()
	switch {
	case c == nil && to == nil:
		return nil
	case c != nil && c.frozen > 0:
		return Errorf(KindInUse, "Cannot change '%s' link from '%s' to '%s'", c.name, n.name, c.Node().name)
	case to == nil:
		g.detach(c)
		return nil
	case c != nil:
		return c.Replace(to)
	case to.reaches(n):
		return Errorf(KindInvalid, "Making '%s' a backing child of '%s' would create a cycle", to.name, n.name)
	}
	_, err := g.attachChild(n, "backing", RoleCOW, to)
	return err
}

func (g *Graph) attachChild(n *Node, name string, role Role, child *Node) (*Child, error) {
	perm, shared := n.childPerm(nil, role, n.perm, n.shared)
	return g.attach(nodeParent{n}, n, name, role, child, perm, shared)
}

// reaches reports whether target is n or below it.
func (n *Node) reaches(target *Node) bool {
	if n == target {
		return true
	}
	for _, c := range n.Children() {
		if c.Node().reaches(target) {
			return true
		}
	}
	return false
}
