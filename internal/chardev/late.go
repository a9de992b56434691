package chardev

import "sync"

// lateLimit is how many bytes of input are kept of a peer that has gone before the
// front end took them.
const lateLimit = 64 << 10

// lateInput is input of peers that have gone. A front end that takes none must not
// keep its device from noticing that, nor from serving the next peer; yet what was
// sent shall arrive, before what the next peer sends.
type lateInput struct {
	input []byte // guarded by the device's mu
	busy  bool   // a goroutine delivers it; guarded by the device's mu
	done  sync.WaitGroup
}

// keepLate keeps p for the front end. What is above the limit is lost.
func (c *Chardev) keepLate(p []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	l := &c.late
	l.input = append(l.input, p[:min(len(p), lateLimit-len(l.input))]...)
	if len(l.input) == 0 || l.busy || c.closing {
		return
	}
	l.busy = true
	l.done.Go(c.deliverLate)
}

func (c *Chardev) deliverLate() {
	var never bool
	var buf [1024]byte
	for {
		n := c.waitCredit(len(buf), &never, func() {})
		c.mu.Lock()
		n = min(n, len(c.late.input))
		copy(buf[:], c.late.input[:n])
		c.late.input = c.late.input[:copy(c.late.input, c.late.input[n:])]
		if n == 0 {
			c.late.busy = false
			c.cond.Broadcast()
			c.mu.Unlock()
			return
		}
		c.mu.Unlock()
		c.deliver(buf[:n])
	}
}

// waitLate waits until the input of the peers before has been delivered; stop and
// stalled as for waitCredit.
func (c *Chardev) waitLate(stop *bool, stalled func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.late.busy && !c.closing && !*stop {
		stalled()
		c.cond.Wait()
	}
}
