package block

import "context"

// Drain stops all users of the node, and theirs, from starting requests, and
// returns when none is under way. Calls nest; each is ended by Undrain. When ctx
// ends first nothing is drained. It runs on the lane, and no device's mutex may be
// held. While it is drained the node and its edges can be changed.
func (n *Node) Drain(ctx context.Context) error {
	n.drainBegin()
	if err := n.drainWait(ctx); err != nil {
		n.drainEnd()
		return err
	}
	return nil
}

// Undrain ends what Drain began.
func (n *Node) Undrain() { n.drainEnd() }

// DrainBegin is the first half of Drain: no user starts anything. A command that
// must not keep the lane waiting goes on with DrainWait on a goroutine of its own.
func (n *Node) DrainBegin() { n.drainBegin() }

// DrainWait is the second half of Drain; it may run anywhere.
func (n *Node) DrainWait(ctx context.Context) error { return n.drainWait(ctx) }

func (n *Node) drainBegin() {
	n.graph.mu.Lock()
	n.quiesce++
	first := n.quiesce == 1
	n.graph.mu.Unlock()
	if !first {
		return
	}
	for _, c := range n.Parents() {
		if !c.quiesced {
			c.quiesced = true
			c.parent.DrainBegin(c)
		}
	}
	if d, ok := n.drv.(Drainer); ok {
		d.DrainBegin()
	}
}

func (n *Node) drainWait(ctx context.Context) error {
	for _, c := range n.Parents() {
		if err := c.parent.DrainWait(ctx, c); err != nil {
			return err
		}
	}
	if d, ok := n.drv.(Drainer); ok {
		d.DrainWait()
	}
	return n.trk.waitIdle(ctx)
}

func (n *Node) drainEnd() {
	n.graph.mu.Lock()
	n.quiesce--
	last := n.quiesce == 0
	n.graph.mu.Unlock()
	if !last {
		return
	}
	if d, ok := n.drv.(Drainer); ok {
		d.DrainEnd()
	}
	for _, c := range n.Parents() {
		if c.quiesced {
			c.quiesced = false
			c.parent.DrainEnd(c)
		}
	}
}

// Quiesced reports whether the node is drained.
func (n *Node) Quiesced() bool { return n.quiesce > 0 }
