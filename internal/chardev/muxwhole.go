package chardev

import (
	"io"
	"sync"
)

// muxConn is a multiplexer as a connection, for a ConnFrontend that shares a
// device with others: a monitor beside a console.
type muxConn struct {
	port *muxPort

	mu      sync.Mutex // guards what follows
	changed *sync.Cond
	input   []byte
	closed  bool
}

// wholeMember is a ConnFrontend as one of a multiplexer's front ends.
type wholeMember struct {
	fe   ConnFrontend
	port *muxPort
	done sync.WaitGroup

	mu   sync.Mutex // guards conn
	conn *muxConn   // what is served now
}

// wholePort is a muxPort whose Detach ends the connection.
type wholePort struct {
	*muxPort
	w *wholeMember
}

func (m *mux) attachWhole(fe ConnFrontend) (Port, error) {
	w := &wholeMember{fe: fe}
	w.port = &muxPort{m: m, fe: w, patient: true}
	w.port.onRoom = w.room
	if err := m.join(w.port); err != nil {
		return nil, err
	}
	return &wholePort{w.port, w}, nil
}

// Detach implements Port.
func (p *wholePort) Detach() {
	p.muxPort.Detach()
	p.w.end()
	p.w.done.Wait()
}

// ChardevEvent implements Frontend.
func (w *wholeMember) ChardevEvent(ev Event) {
	switch ev {
	case Opened:
		w.end()
		c := &muxConn{port: w.port}
		c.changed = sync.NewCond(&c.mu)
		w.mu.Lock()
		w.conn = c
		w.mu.Unlock()
		w.done.Go(func() {
			w.fe.ServeConn(c)
			_ = c.Close()
		})
	case Closed:
		w.end()
	}
	w.fe.ChardevEvent(ev)
}

func (w *wholeMember) current() *muxConn {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.conn
}

func (w *wholeMember) end() {
	if c := w.current(); c != nil {
		_ = c.Close()
	}
}

func (w *wholeMember) room() {
	if c := w.current(); c != nil {
		c.mu.Lock()
		c.changed.Broadcast()
		c.mu.Unlock()
	}
}

// wholeInput is how many bytes of input wait to be read.
const wholeInput = 4096

// CanReceive implements Frontend.
func (w *wholeMember) CanReceive() int {
	c := w.current()
	if c == nil {
		return 0
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return wholeInput // to nowhere
	}
	return wholeInput - len(c.input)
}

// Receive implements Frontend.
func (w *wholeMember) Receive(p []byte) {
	c := w.current()
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.closed {
		c.input = append(c.input, p...)
		c.changed.Broadcast()
	}
}

// Read implements Conn.
func (c *muxConn) Read(p []byte) (int, error) {
	c.mu.Lock()
	for len(c.input) == 0 && !c.closed {
		c.changed.Wait()
	}
	n := copy(p, c.input)
	c.input = c.input[:copy(c.input, c.input[n:])]
	c.mu.Unlock()
	if n == 0 {
		return 0, io.EOF
	}
	c.port.AcceptInput()
	return n, nil
}

// ReadMsg implements Conn.
func (c *muxConn) ReadMsg(p []byte) (int, []int, error) {
	n, err := c.Read(p)
	return n, nil, err
}

// Write implements Conn. It waits for room.
func (c *muxConn) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	done := 0
	for {
		if c.closed {
			return done, io.ErrClosedPipe
		}
		if done += c.port.Write(p[done:]); done == len(p) {
			return done, nil
		}
		c.changed.Wait()
	}
}

// Close implements Conn.
func (c *muxConn) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	c.changed.Broadcast()
	return nil
}
