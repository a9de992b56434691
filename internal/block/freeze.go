package block

// FreezeChain keeps the edges from top down to bottom as they are until ThawChain:
// to lead one of them elsewhere is refused. It fails when one is frozen already.
func FreezeChain(top, bottom *Node) error {
	for n := top; n != bottom; n = n.BackingChainNext() {
		if c := n.chainChild(); c.frozen > 0 {
			return Errorf(KindInUse, "Cannot change '%s' link from '%s' to '%s'", c.name, n.name, c.Node().name)
		}
	}
	for n := top; n != bottom; n = n.BackingChainNext() {
		n.chainChild().frozen++
	}
	return nil
}

// ThawChain ends what FreezeChain began.
func ThawChain(top, bottom *Node) {
	for n := top; n != bottom; n = n.BackingChainNext() {
		n.chainChild().frozen--
	}
}

// chainChild returns the edge to BackingChainNext.
func (n *Node) chainChild() *Child {
	if c := n.filtered(); c != nil {
		return c
	}
	return n.BackingChild()
}
