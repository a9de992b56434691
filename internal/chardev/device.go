package chardev

import (
	"context"
	"fmt"
	"sync"
)

// outputLimit is how many bytes of output wait for a slow back end. More makes
// Write short, which the front end shows to its guest as a busy transmitter.
const outputLimit = 64 << 10

// Chardev is one character device. Its back end feeds input in and takes output
// away; see the package comment.
type Chardev struct {
	id      string
	backend backend
	mux     *mux // nil unless front ends share the device

	mu        sync.Mutex // guards what follows; neither end is called with it held
	fe        Frontend
	turn      int // counts what may give new input credit: Attach and AcceptInput
	connected bool
	feOpen    bool
	out       []byte // output that waits for the back end
	flushing  bool   // the back end's writer has taken output and not yet written it
	onRoom    func()
	short     bool // the last Write was short
	closing   bool
	discard   bool       // output goes nowhere
	cond      *sync.Cond // out, fe, calling or closing has changed; also input credit
	calling   int        // calls into the front end that are under way
	outIdle   *sync.Cond
	conn      Conn // what a ConnFrontend serves

	calls sync.Mutex // held while the front end is called: never two calls at once
}

// backend is what a kind of character device adds.
type backend interface {
	// start begins service: it opens what can fail and returns an error for it.
	// It calls methods of c from goroutines of its own. When ctx ends first it
	// gives up; after an error stop is not called.
	start(ctx context.Context, c *Chardev) error
	// stop ends all goroutines; no method of c is called after it has returned.
	stop()
	// describe returns the "filename" that query-chardev shows.
	describe() string
}

// waiter is a back end whose start is complete when its peer is there.
type waiter interface {
	wait(ctx context.Context) error
}

// abandoner is a back end that has changed something on the host which outlives
// the process. abandon puts it back at once; it may be called beside any other
// method.
type abandoner interface{ abandon() }

func newChardev(id string, b backend) *Chardev {
	c := &Chardev{id: id, backend: b}
	c.cond = sync.NewCond(&c.mu)
	c.outIdle = sync.NewCond(&c.mu)
	return c
}

// ID returns the device's name.
func (c *Chardev) ID() string { return c.id }

// Filename describes the back end, as query-chardev does.
func (c *Chardev) Filename() string { return c.backend.describe() }

// FrontendOpen reports whether a guest or monitor has its side open.
func (c *Chardev) FrontendOpen() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.fe != nil && c.feOpen
}

// InUse reports whether a front end is attached.
func (c *Chardev) InUse() bool {
	if c.mux != nil {
		return len(c.mux.present()) > 0
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.fe != nil
}

// Attach makes fe the front end. A device has at most one, unless it is a
// multiplexer.
func (c *Chardev) Attach(fe Frontend) (Port, error) {
	if c.mux != nil {
		return c.mux.attach(fe)
	}
	return c.attachDirect(fe)
}

func (c *Chardev) attachDirect(fe Frontend) (Port, error) {
	c.mu.Lock()
	if c.fe != nil || c.closing {
		c.mu.Unlock()
		return nil, fmt.Errorf("Device '%s' is in use", c.id)
	}
	c.fe = fe
	c.feOpen = true
	c.turn++
	connected := c.connected
	c.cond.Broadcast()
	c.mu.Unlock()
	if _, whole := fe.(ConnFrontend); connected && !whole {
		c.call(func(fe Frontend) { fe.ChardevEvent(Opened) })
	}
	return &port{c}, nil
}

// call runs fn with the front end, if there is one, in such a way that Detach
// can wait for it.
func (c *Chardev) call(fn func(Frontend)) bool {
	c.mu.Lock()
	fe := c.fe
	if fe == nil {
		c.mu.Unlock()
		return false
	}
	c.calling++
	c.mu.Unlock()
	c.calls.Lock()
	fn(fe)
	c.calls.Unlock()
	c.called()
	return true
}

func (c *Chardev) called() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.calling--
	c.cond.Broadcast()
}

// close ends the device. The front end is told that the other side has gone.
func (c *Chardev) close() {
	// Output that was accepted is given a chance: what a guest last said
	// before the end is what people want to read.
	c.drain()
	c.mu.Lock()
	c.closing = true
	c.cond.Broadcast()
	c.mu.Unlock()
	c.backend.stop()
	if c.mux != nil {
		c.mux.close()
	}
}

// setConnected notes that the other side has come or gone and tells the front end.
func (c *Chardev) setConnected(on bool) {
	c.mu.Lock()
	changed := c.connected != on
	c.connected = on
	if !on {
		c.out = c.out[:0]
	}
	c.mu.Unlock()
	if changed {
		ev := Closed
		if on {
			ev = Opened
		}
		c.call(func(fe Frontend) { fe.ChardevEvent(ev) })
		if !on {
			c.roomMade()
		}
	}
}

// waitCredit waits until the front end can take input and returns how much, at
// most max; 0 means that the device or the connection (per stop) is closing.
func (c *Chardev) waitCredit(max int, stop *bool) int {
	for {
		n := 0
		c.mu.Lock()
		seen := c.turn
		c.mu.Unlock()
		c.call(func(fe Frontend) { n = fe.CanReceive() })
		if n > 0 {
			return min(n, max)
		}
		c.mu.Lock()
		if c.closing || *stop {
			c.mu.Unlock()
			return 0
		}
		if c.turn == seen {
			c.cond.Wait()
		}
		c.mu.Unlock()
	}
}

// deliver hands input to the front end.
func (c *Chardev) deliver(p []byte) {
	c.call(func(fe Frontend) { fe.Receive(p) })
}

// takeOutput waits for output and moves up to len(p) bytes of it into p. It
// returns 0 when the device or the connection is closing and nothing is left.
func (c *Chardev) takeOutput(p []byte, stop *bool) int {
	c.mu.Lock()
	c.flushing = false
	for len(c.out) == 0 {
		c.outIdle.Broadcast()
		if c.closing || *stop {
			c.mu.Unlock()
			return 0
		}
		c.cond.Wait()
	}
	n := copy(p, c.out)
	c.out = c.out[:copy(c.out, c.out[n:])]
	c.flushing = true
	c.mu.Unlock()
	c.roomMade()
	return n
}

// roomMade tells a front end whose Write was short that it may go on.
func (c *Chardev) roomMade() {
	c.mu.Lock()
	fn := c.onRoom
	if !c.short || len(c.out) > outputLimit/2 {
		fn = nil
	} else {
		c.short = false
	}
	c.mu.Unlock()
	if fn != nil {
		c.call(func(Frontend) { fn() })
	}
}

// port is the front end's side of a Chardev.
type port struct{ c *Chardev }

func (p *port) Write(b []byte) int {
	c := p.c
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.connected || c.closing || c.discard {
		return len(b)
	}
	n := min(len(b), outputLimit-len(c.out))
	if n < len(b) {
		c.short = true
	}
	if n > 0 {
		c.out = append(c.out, b[:n]...)
		c.cond.Broadcast()
	}
	return n
}

func (p *port) OnWritable(fn func()) {
	p.c.mu.Lock()
	p.c.onRoom = fn
	p.c.mu.Unlock()
}

func (p *port) AcceptInput() {
	p.c.mu.Lock()
	p.c.turn++
	p.c.cond.Broadcast()
	p.c.mu.Unlock()
}

func (p *port) Connected() bool {
	p.c.mu.Lock()
	defer p.c.mu.Unlock()
	return p.c.connected
}

func (p *port) SendBreak() {
	if b, ok := p.c.backend.(interface{ sendBreak() }); ok {
		b.sendBreak()
	}
}

func (p *port) SetOpen(open bool) {
	p.c.mu.Lock()
	p.c.feOpen = open
	p.c.mu.Unlock()
}

func (p *port) SetParams(l LineParams) {
	if b, ok := p.c.backend.(interface{ setParams(LineParams) }); ok {
		b.setParams(l)
	}
}

func (p *port) Detach() {
	c := p.c
	c.mu.Lock()
	c.fe, c.onRoom, c.short = nil, nil, false
	conn := c.conn
	c.cond.Broadcast()
	c.mu.Unlock()
	if conn != nil {
		_ = conn.Close() // ends ServeConn
	}
	c.waitIdle()
}

// waitIdle waits until no call into a front end is under way.
func (c *Chardev) waitIdle() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.calling > 0 {
		c.cond.Wait()
	}
}
