package nbd

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"time"

	"govmd/internal/block"
	"govmd/internal/block/nbd/wire"
	"govmd/internal/sock"
)

// config is where and how to connect.
type config struct {
	address  sock.Address
	names    *sock.Names
	creds    sock.TLSCreds // nil without TLS
	hostname string        // to be verified
	export   string
	context  string // the meta context whose status is shown
}

// handshakeTime bounds how long a server may take to be ready for requests.
const handshakeTime = 30 * time.Second

// connect makes a session.
func (c *config) connect(ctx context.Context) (*session, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, handshakeTime, errors.New("the NBD server does not answer"))
	defer cancel()
	conn, err := sock.Dial(ctx, c.address, c.names)
	if err != nil {
		return nil, err
	}
	// What the server leaves unanswered ends with ctx.
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	o := &wire.ClientOptions{Export: c.export, Contexts: []string{c.context}}
	if c.creds != nil {
		o.StartTLS = func() (io.ReadWriter, error) { return sock.DialTLS(ctx, conn, c.creds, c.hostname) }
	}
	rw, e, err := wire.Negotiate(conn, o)
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		_ = conn.Close()
		return nil, err
	}
	if !stop() {
		return nil, context.Cause(ctx)
	}
	return newSession(rw.(net.Conn), e, c.context), nil
}

// client is a connection that is made again when it is lost.
type client struct {
	config
	delay  time.Duration // for which requests wait for a new connection
	export wire.Export   // what the first connection promised

	ctx    context.Context // ends when the client does
	cancel context.CancelCauseFunc
	work   sync.WaitGroup // the connector

	mu      sync.Mutex // guards what follows
	changed sync.Cond  // cur, expired or closed
	cur     *session   // nil while there is none
	expired bool       // requests do not wait any more
	closed  bool
}

func newClient(cfg config, delay time.Duration, first *session) *client {
	c := &client{config: cfg, delay: delay, cur: first, export: *first.export}
	c.changed.L = &c.mu
	c.ctx, c.cancel = context.WithCancelCause(context.Background())
	c.work.Add(1)
	go c.connector(first)
	return c
}

// connector waits for the end of the connection and makes the next one.
func (c *client) connector(s *session) {
	defer c.work.Done()
	for {
		select {
		case <-s.ended:
		case <-c.ctx.Done():
			return
		}
		c.mu.Lock()
		c.cur, c.expired = nil, c.delay == 0
		c.mu.Unlock()
		expire := time.AfterFunc(c.delay, c.expire)
		s = c.reconnect()
		expire.Stop()
		if s == nil {
			return
		}
		c.mu.Lock()
		c.cur, c.expired = s, false
		c.changed.Broadcast()
		c.mu.Unlock()
	}
}

func (c *client) expire() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cur == nil {
		c.expired = true
		c.changed.Broadcast()
	}
}

// Waits between attempts to connect: they double.
const (
	firstWait = 100 * time.Millisecond
	longWait  = 16 * time.Second
)

// reconnect tries until it succeeds; nil when the client has ended.
func (c *client) reconnect() *session {
	for wait := firstWait; ; wait = min(2*wait, longWait) {
		s, err := c.connect(c.ctx)
		if err == nil {
			if c.same(s.export) {
				return s
			}
			// Another image is served there now: it must not be taken for the first.
			s.abandon()
		}
		select {
		case <-time.After(wait):
		case <-c.ctx.Done():
			return nil
		}
	}
}

// same reports whether an export can take the place of the first.
func (c *client) same(e *wire.Export) bool {
	need := c.export.Flags &^ e.Flags & (wire.FlagFlush | wire.FlagFUA | wire.FlagTrim | wire.FlagWriteZeroes | wire.FlagCache | wire.FlagFastZero)
	for name := range c.export.Contexts {
		if _, ok := e.Contexts[name]; !ok {
			return false
		}
	}
	return e.Size == c.export.Size && need == 0 && (c.export.Has(wire.FlagReadOnly) || !e.Has(wire.FlagReadOnly)) &&
		e.MinBlock <= max(c.export.MinBlock, 1) && (e.MaxBlock == 0 || c.export.MaxBlock != 0 && e.MaxBlock >= c.export.MaxBlock)
}

// abandon ends a session at once.
func (s *session) abandon() {
	_ = s.conn.Close()
	<-s.ended
}

// session returns the connection, for which it waits up to the delay.
func (c *client) session() (*session, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.cur == nil && !c.expired && !c.closed {
		c.changed.Wait()
	}
	if c.cur == nil || c.closed {
		return nil, block.ErrIO
	}
	return c.cur, nil
}

// lost waits until the connector has noticed that s is gone.
func (c *client) lost(s *session) {
	<-s.ended
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cur == s {
		c.cur, c.expired = nil, c.delay == 0
	}
}

// do carries a request out, again where the connection is lost in the middle of it.
func (c *client) do(r call) (extent, error) {
	for {
		s, err := c.session()
		if err != nil {
			return extent{}, err
		}
		ext, err := s.do(r)
		if err != errLost {
			return ext, err
		}
		c.lost(s)
	}
}

// Shutdown cuts the connection: requests under way fail, or wait for the next
// one. Any goroutine.
func (c *client) Shutdown() {
	c.mu.Lock()
	s := c.cur
	c.mu.Unlock()
	if s != nil {
		_ = s.conn.Close()
	}
}

// close ends the client; nothing is in flight.
func (c *client) close() {
	c.mu.Lock()
	c.closed = true
	c.changed.Broadcast()
	c.mu.Unlock()
	c.cancel(block.ErrCancelled)
	c.work.Wait()
	if s := c.cur; s != nil {
		_ = s.conn.SetWriteDeadline(time.Now().Add(time.Second))
		// A server that does not hear of the end notices it all the same.
		_ = s.send(call{cmd: wire.CmdDisc}, 0)
		s.abandon()
	}
}
