package block

// permChange is what refreshPerms wants to make of a node and its edges.
type permChange struct {
	node         *Node
	perm, shared Perm
	edges        []edgeChange
	checked      bool // the driver waits for SetPerm or AbortPerm
}

type edgeChange struct {
	c            *Child
	perm, shared Perm
}

// refreshPerms works out anew what n's users want of it, and of what is below:
// either all of it comes into effect, or nothing and the error says who conflicts.
func (g *Graph) refreshPerms(n *Node) error {
	edges := map[*Child]edgeChange{}
	var changes []*permChange
	err := g.planPerms(n, edges, &changes)
	if err == nil {
		for _, ch := range changes {
			if p, ok := ch.node.drv.(Permitter); ok {
				if err = p.CheckPerm(ch.perm, ch.shared); err != nil {
					break
				}
				ch.checked = true
			}
		}
	}
	if err != nil {
		for _, ch := range changes {
			if ch.checked {
				ch.node.drv.(Permitter).AbortPerm()
			}
		}
		return err
	}
	for _, ch := range changes {
		if ch.checked {
			ch.node.drv.(Permitter).SetPerm(ch.perm, ch.shared)
		}
		g.mu.Lock()
		ch.node.perm, ch.node.shared = ch.perm, ch.shared
		for _, e := range ch.edges {
			e.c.perm, e.c.shared = e.perm, e.shared
		}
		g.mu.Unlock()
	}
	return nil
}

// RefreshPerms works out anew what the node needs of its children, which its driver
// has come to see in another way. When that conflicts nothing has changed.
func (n *Node) RefreshPerms() error { return n.graph.refreshPerms(n) }

// planPerms plans for n and then for its children. A node that is reached twice
// is planned again: the later plan, which knows more, comes into effect last.
func (g *Graph) planPerms(n *Node, edges map[*Child]edgeChange, changes *[]*permChange) error {
	parents := n.Parents()
	of := func(c *Child) (Perm, Perm) {
		if e, ok := edges[c]; ok {
			return e.perm, e.shared
		}
		return c.Perms()
	}
	ch := &permChange{node: n, shared: PermAll}
	for i, a := range parents {
		pa, sa := of(a)
		ch.perm |= pa
		ch.shared &= sa
		for _, b := range parents[:i] {
			pb, sb := of(b)
			if bad := pa &^ sb; bad != 0 {
				return permConflict(n, a, b, bad)
			}
			if bad := pb &^ sa; bad != 0 {
				return permConflict(n, b, a, bad)
			}
		}
	}
	if bad := ch.perm & (PermWrite | PermUnchanged); bad != 0 && n.set.ReadOnly {
		if ch.perm&PermWrite != 0 {
			return Errorf(KindInUse, "Block node is read-only")
		}
		return Errorf(KindInUse, "Read-only block node '%s' cannot support read-write users", n.name)
	}
	*changes = append(*changes, ch)
	for _, c := range n.Children() {
		perm, shared := n.childPerm(c, c.role, ch.perm, ch.shared)
		e := edgeChange{c: c, perm: perm, shared: shared}
		ch.edges = append(ch.edges, e)
		edges[c] = e
		if err := g.planPerms(c.Node(), edges, changes); err != nil {
			return err
		}
	}
	return nil
}

func (n *Node) childPerm(c *Child, role Role, perm, shared Perm) (Perm, Perm) {
	if p, ok := n.drv.(ChildPermitter); ok {
		perm, shared = p.ChildPerm(c, role, perm, shared)
	} else {
		perm, shared = DefaultChildPerm(n, role, perm, shared)
	}
	if n.set.ForceShare {
		shared = PermAll
	}
	return perm, shared
}

// Wanted returns what all users of the node do to it.
func (n *Node) Wanted() Perm {
	n.graph.mu.Lock()
	defer n.graph.mu.Unlock()
	return n.perm
}

func permConflict(n *Node, user, other *Child, bad Perm) error {
	return Errorf(KindInUse, "Permission conflict on node '%s': permissions '%s' are both required by %s (uses node '%s' as '%s' child) and unshared by %s (uses node '%s' as '%s' child).",
		n.name, bad, user.parent.ParentName(), n.name, user.name, other.parent.ParentName(), n.name, other.name)
}
