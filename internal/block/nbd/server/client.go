package server

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"

	"govmd/internal/block"
	"govmd/internal/block/nbd/wire"
)

const (
	// maxRequests is how many requests of a client are under way at once.
	maxRequests = 16
	// maxBytes bounds the memory of these; a single request has all of it at most.
	maxBytes = wire.MaxData
	// readBuffer is how much is read from a client at once, but for long data.
	readBuffer = 16 << 10
)

// client is a connection past the negotiation.
type client struct {
	offer      *offer
	size       int64    // as the client was told
	conn, raw  net.Conn // with TLS, and what was accepted
	structured bool
	contexts   contexts

	in   *bufio.Reader
	head [wire.RequestSize]byte
	free chan *request // requests that are not in use
	done chan *request // those whose replies are to be sent; there is room for all

	mu    sync.Mutex
	room  sync.Cond // used has shrunk
	used  int       // bytes, guarded by mu
	reply replies
}

func newClient(h *handshake) *client {
	c := &client{
		offer: h.offer, size: h.offer.export.Node().Length(), conn: h.conn, raw: h.raw,
		structured: h.structured, contexts: h.contexts,
		in:   bufio.NewReaderSize(h.conn, readBuffer),
		free: make(chan *request, maxRequests), done: make(chan *request, maxRequests),
	}
	c.room.L = &c.mu
	c.reply.init(h.conn)
	for range maxRequests {
		r := &request{c: c}
		r.Request = block.Request{Done: r.finished, Call: r.call, Owner: r}
		c.free <- r
	}
	return c
}

// serve takes requests until the connection ends, and returns when none is under way.
func (c *client) serve() {
	var sender sync.WaitGroup
	sender.Go(c.send)
	err := error(nil)
	for err == nil {
		err = c.take()
	}
	if !errors.Is(err, errDisconnect) {
		_ = c.raw.Close() // the sender does not wait for a client that has gone
	}
	for range maxRequests {
		<-c.free
	}
	close(c.done)
	sender.Wait()
	_ = c.conn.Close()
}

// errDisconnect ends a connection whose client wants no more than the replies to
// what it has asked for.
var errDisconnect = errors.New("the client disconnects")

// send sends replies. When one cannot be sent the connection ends.
func (c *client) send() {
	broken := false
	for r := range c.done {
		if !broken {
			err := c.reply.add(r)
			if err == nil && len(c.done) == 0 {
				err = c.reply.flush()
			}
			if err != nil {
				broken = true
				_ = c.raw.Close()
			}
		}
		c.recycle(r)
	}
}

// recycle makes a request free.
func (c *client) recycle(r *request) {
	if r.buffer != nil {
		r.buffer.Release()
		r.buffer = nil
	}
	c.mu.Lock()
	c.used -= r.bytes
	c.room.Signal()
	c.mu.Unlock()
	r.bytes = 0
	c.free <- r
}

// reserve waits until the request may have n bytes of memory, and gets them.
func (c *client) reserve(r *request, n int) {
	c.mu.Lock()
	for c.used+n > maxBytes {
		c.room.Wait()
	}
	c.used += n
	c.mu.Unlock()
	r.bytes, r.buffer = n, block.GetBuffer(n)
}

// take reads a request and sets it going. An error ends the connection.
func (c *client) take() error {
	if _, err := io.ReadFull(c.in, c.head[:]); err != nil {
		return err
	}
	be := binary.BigEndian
	if m := be.Uint32(c.head[:]); m != wire.RequestMagic {
		return fmt.Errorf("bad magic 0x%08x of a request", m)
	}
	r := <-c.free
	r.flags = be.Uint16(c.head[4:])
	r.cmd = wire.Command(be.Uint16(c.head[6:]))
	r.cookie = be.Uint64(c.head[8:])
	r.off = be.Uint64(c.head[16:])
	r.n = be.Uint32(c.head[24:])
	r.errno, r.text = 0, ""
	traceRequest.Emit(r.cmd, r.flags, r.off, r.n)
	err := c.begin(r)
	if err != nil {
		c.recycle(r)
	}
	return err
}

// begin checks a request and submits it; what cannot be done is answered. With an
// error the request has not begun, and the connection ends.
func (c *client) begin(r *request) error {
	switch {
	case r.cmd == wire.CmdDisc:
		return errDisconnect
	case r.cmd == wire.CmdWrite && r.n > wire.MaxData:
		return fmt.Errorf("a write of %d bytes", r.n) // not even passing over it is worth it
	}
	ok := r.check()
	if r.cmd == wire.CmdWrite {
		if !ok {
			if _, err := c.in.Discard(int(r.n)); err != nil {
				return err
			}
		} else {
			c.reserve(r, int(r.n))
			if _, err := io.ReadFull(c.in, r.buffer.B); err != nil {
				return err
			}
		}
	}
	if !ok {
		c.done <- r
		return nil
	}
	if r.cmd == wire.CmdRead {
		c.reserve(r, int(r.n))
	}
	r.submit()
	return nil
}
