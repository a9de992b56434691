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
	direct  direct   // the back end, if it takes output at once
	mux     *mux     // nil unless front ends share the device
	log     *logFile // nil unless output is logged
	uses    *uses

	mu        sync.Mutex // guards what follows; neither end is called with it held
	fe        Frontend
	port      *port // fe's
	turn      int   // counts what may give new input credit: Attach and AcceptInput
	connected bool
	told      bool   // fe believes that connected is true
	out       []byte // output that waits for the back end
	flushing  bool   // the back end's writer has taken output and not yet written it
	short     bool   // the last Write was short
	closing   bool
	cond      *sync.Cond // out, fe, calling or closing has changed; also input credit
	calling   int        // calls into the front end that are under way
	outIdle   *sync.Cond
	conn      Conn // what a ConnFrontend serves
	late      lateInput

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

// direct is a back end that takes output at once. It is called with the device's
// lock held and must not block.
type direct interface{ output(p []byte) }

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
	c.direct, _ = b.(direct)
	c.cond = sync.NewCond(&c.mu)
	c.outIdle = sync.NewCond(&c.mu)
	return c
}

// ID returns the device's name.
func (c *Chardev) ID() string { return c.id }

// Filename describes the back end, as query-chardev does.
func (c *Chardev) Filename() string { return c.backend.describe() }

// Kind returns the name of the back end: "socket".
func (c *Chardev) Kind() string {
	switch b := c.backend.(type) {
	case *socketBackend:
		return "socket"
	case *ptyBackend:
		return "pty"
	default:
		return b.describe()
	}
}

// PTY returns the name of the terminal that is to be opened to use the device,
// "" when its back end is not a pty.
func (c *Chardev) PTY() string {
	if b, ok := c.backend.(*ptyBackend); ok {
		return b.name
	}
	return ""
}

// FrontendOpen reports whether a guest or monitor has its side open.
func (c *Chardev) FrontendOpen() bool {
	if c.mux != nil {
		return c.mux.open()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.fe != nil && c.port.isOpen()
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
	p := &port{fe: fe, open: true}
	if err := c.take(p, false); err != nil {
		return nil, err
	}
	return p, nil
}

// take makes p the hold of c's front end. told is what the front end believes of
// the other side.
func (c *Chardev) take(p *port, told bool) error {
	c.mu.Lock()
	if c.fe != nil || c.closing {
		c.mu.Unlock()
		return fmt.Errorf("Device '%s' is in use", c.id)
	}
	c.fe, c.port, c.told = p.fe, p, told
	p.c.Store(c)
	c.turn++
	c.cond.Broadcast()
	c.mu.Unlock()
	c.tell()
	return nil
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

// tell tells the front end whether the other side is there, if it does not know.
func (c *Chardev) tell() {
	c.call(func(fe Frontend) {
		_, whole := fe.(ConnFrontend)
		for {
			c.mu.Lock()
			if c.fe != fe || whole || c.told == c.connected {
				c.mu.Unlock()
				return
			}
			c.told = c.connected
			ev := Closed
			if c.told {
				ev = Opened
			}
			c.mu.Unlock()
			fe.ChardevEvent(ev)
		}
	})
}

// close ends the device. The front end is told that the other side has gone.
func (c *Chardev) close() {
	traceClose.Emit(c.id)
	// Output that was accepted is given a chance: what a guest last said
	// before the end is what people want to read.
	c.drain()
	c.mu.Lock()
	c.closing = true
	c.cond.Broadcast()
	c.mu.Unlock()
	c.backend.stop()
	c.late.done.Wait()
	if c.log != nil {
		c.log.close()
	}
	if c.uses != nil && c.uses.begun {
		c.uses.end()
	}
}

// setConnected notes that the other side has come or gone and tells the front end.
func (c *Chardev) setConnected(on bool) {
	traceConnected.Emit(c.id, on)
	c.mu.Lock()
	c.connected = on
	if !on {
		c.out = c.out[:0]
	}
	c.mu.Unlock()
	c.tell()
	if !on {
		c.roomMade()
	}
}

// waitCredit waits until the front end can take input and returns how much, at
// most max; 0 means that the device or the connection (per stop) is closing. Each
// time it has to wait it calls stalled before.
func (c *Chardev) waitCredit(max int, stop *bool, stalled func()) int {
	for {
		n := 0
		c.mu.Lock()
		seen := c.turn
		c.mu.Unlock()
		c.call(func(fe Frontend) { n = fe.CanReceive() })
		if n > 0 {
			return min(n, max)
		}
		stalled()
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
	traceInput.Emit(c.id, len(p))
	c.call(func(fe Frontend) { fe.Receive(p) })
}

// event tells the front end of something that is no change of the connection.
func (c *Chardev) event(ev Event) {
	traceEvent.Emit(c.id, ev)
	c.call(func(fe Frontend) { fe.ChardevEvent(ev) })
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
	traceOutput.Emit(c.id, n)
	c.out = c.out[:copy(c.out, c.out[n:])]
	c.flushing = true
	c.mu.Unlock()
	c.roomMade()
	return n
}

// roomMade tells a front end whose Write was short that it may go on.
func (c *Chardev) roomMade() {
	c.mu.Lock()
	var fn func()
	if c.short && len(c.out) <= outputLimit/2 && (c.log == nil || c.log.hasRoom()) {
		c.short = false
		if c.port != nil {
			fn = c.port.writable()
		}
	}
	c.mu.Unlock()
	if fn != nil {
		c.call(func(Frontend) { fn() })
	}
}

// write takes output; see Port.Write.
func (c *Chardev) write(b []byte) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := len(b)
	queued := c.direct == nil && c.connected && !c.closing
	if queued {
		n = min(n, outputLimit-len(c.out))
	}
	if c.log != nil {
		n = c.log.append(b[:n])
	}
	if n < len(b) {
		c.short = true
	}
	switch {
	case n == 0:
	case c.direct != nil:
		c.direct.output(b[:n])
	case queued:
		c.out = append(c.out, b[:n]...)
		c.cond.Broadcast()
	}
	return n
}

// release ends p's hold.
func (c *Chardev) release(p *port) {
	c.mu.Lock()
	if c.port != p {
		c.mu.Unlock()
		return
	}
	c.fe, c.port, c.short, c.told = nil, nil, false, false
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
