// Package socket has the network back ends that are connections to other programs: a
// stream of frames, each behind its length in four bytes, the highest first.
package socket

import (
	"bufio"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"sync"

	"govmd/internal/memory"
	vnet "govmd/internal/net"
	"govmd/internal/sock"
)

const (
	// maxFrame is the longest frame that a peer may send; with a longer one it is none.
	maxFrame = 68 << 10
	// maxPending is how many bytes wait for a peer that does not read.
	maxPending = 256 << 10
	prefix     = 4
)

// Stream is the back end.
type Stream struct {
	net   *vnet.Net
	id    string
	kind  string
	addr  sock.Address
	ln    *sock.Listener // nil: a client
	link  *vnet.Link
	ctx   context.Context
	end   context.CancelFunc
	ended sync.WaitGroup
	room  chan struct{} // capacity 1: the card takes frames again

	mu      sync.Mutex // guards what follows
	conn    net.Conn   // nil: nobody
	pending []byte     // what is to be sent
	full    bool       // somebody waits for room in it
	work    sync.Cond  // there is something to send, or conn has changed
	info    string
}

// openStream connects, or listens.
func openStream(o *vnet.Opened, kind string, a sock.Address, server bool) (vnet.Backend, error) {
	names, unused, err := o.Names(a)
	if err != nil {
		return nil, err
	}
	defer unused()
	s := &Stream{net: o.Net, id: o.ID, kind: kind, addr: a, room: make(chan struct{}, 1), info: "listening"}
	s.work.L = &s.mu
	if server {
		if s.ln, err = sock.Listen(o.Ctx, a, names); err != nil {
			return nil, err
		}
	} else {
		conn, err := sock.Dial(o.Ctx, a, names)
		if err != nil {
			return nil, err
		}
		s.conn = conn
	}
	s.ctx, s.end = context.WithCancel(context.Background())
	return s, nil
}

// Type implements net.Backend.
func (s *Stream) Type() string { return s.kind }

// Info implements net.Backend.
func (s *Stream) Info() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.info
}

// Queues implements net.Backend.
func (*Stream) Queues() int { return 1 }

// HasHeader implements net.Backend.
func (*Stream) HasHeader() bool { return false }

// SetHeader implements net.Backend.
func (*Stream) SetHeader(int, vnet.Offloads) {}

// Start implements net.Backend.
func (s *Stream) Start(l *vnet.Link) {
	s.link = l
	s.ended.Go(s.run)
}

// Wake implements net.Backend.
func (s *Stream) Wake(int) {
	select {
	case s.room <- struct{}{}:
	default:
	}
}

// Close implements net.Backend.
func (s *Stream) Close() {
	s.end()
	if s.ln != nil {
		_ = s.ln.Close()
	}
	s.mu.Lock()
	if s.conn != nil {
		sock.Shutdown(s.conn)
	}
	s.mu.Unlock()
	s.ended.Wait()
}

// run serves connections, one after the other.
func (s *Stream) run() {
	if s.ln == nil {
		s.mu.Lock()
		conn := s.conn
		s.mu.Unlock()
		s.serve(conn)
		return
	}
	for {
		conn, err := s.ln.Accept()
		if err != nil {
			return // closed, or the host is out of descriptors
		}
		s.serve(conn)
	}
}

// serve has frames pass until the connection ends.
func (s *Stream) serve(conn net.Conn) {
	s.mu.Lock()
	if s.ctx.Err() != nil {
		s.mu.Unlock()
		_ = conn.Close()
		return
	}
	s.conn, s.info = conn, "connection from "+conn.RemoteAddr().String()
	if s.ln == nil {
		s.info = "connect to " + s.addr.String()
	}
	s.mu.Unlock()
	if s.kind == "stream" {
		s.net.Publish(vnet.StreamConnectedEvent{ID: s.id, Addr: s.addr})
	}
	var writer sync.WaitGroup
	writer.Go(func() { s.write(conn) })
	s.read(conn)
	_ = conn.Close()
	s.mu.Lock()
	s.conn, s.pending, s.info = nil, s.pending[:0], "disconnected"
	full := s.full
	s.full = false
	s.work.Broadcast()
	s.mu.Unlock()
	writer.Wait()
	if full {
		s.link.WakeCard(0) // what is sent is lost, and waits no more
	}
	if s.kind == "stream" {
		s.net.Publish(vnet.StreamDisconnectedEvent{ID: s.id})
	}
}

// read delivers frames until the connection ends.
func (s *Stream) read(conn net.Conn) {
	in := bufio.NewReaderSize(conn, maxFrame+prefix)
	buf := make([]byte, maxFrame)
	frame := make([][]byte, 1)
	var head [prefix]byte
	for {
		if _, err := io.ReadFull(in, head[:]); err != nil {
			return
		}
		n := binary.BigEndian.Uint32(head[:])
		if n > maxFrame {
			s.net.Env.Warn(fmt.Sprintf("netdev '%s': the peer sends a frame of %d bytes: it is no peer", s.id, n))
			return
		}
		if _, err := io.ReadFull(in, buf[:n]); err != nil {
			return
		}
		frame[0] = buf[:n]
		for !s.link.Deliver(0, 0, frame) {
			select {
			case <-s.room:
			case <-s.ctx.Done():
				return
			}
		}
	}
}

// Send implements net.Backend.
func (s *Stream) Send(_ int, frame [][]byte) bool {
	n := 0
	for _, p := range frame {
		n += len(p)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.conn == nil || n > maxFrame:
		return true // nobody is there to take it
	case len(s.pending)+prefix+n > maxPending:
		s.full = true
		return false
	}
	start := len(s.pending)
	s.pending = binary.BigEndian.AppendUint32(s.pending, uint32(n))
	for _, p := range frame {
		at := len(s.pending)
		s.pending = grow(s.pending, len(p))
		if memory.Copy(s.pending[at:], p) != nil {
			s.pending = s.pending[:start] // the memory has gone, and the frame with it
			return true
		}
	}
	s.work.Signal()
	return true
}

// grow returns p with n more bytes.
func grow(p []byte, n int) []byte {
	if cap(p)-len(p) < n {
		p = append(make([]byte, 0, maxPending), p...)
	}
	return p[:len(p)+n]
}

// write sends what is pending until the connection ends.
func (s *Stream) write(conn net.Conn) {
	var out []byte
	for {
		s.mu.Lock()
		for len(s.pending) == 0 && s.conn == conn {
			s.work.Wait()
		}
		if s.conn != conn {
			s.mu.Unlock()
			return
		}
		out, s.pending = s.pending, out[:0]
		full := s.full
		s.full = false
		s.mu.Unlock()
		if full {
			s.link.WakeCard(0)
		}
		if _, err := conn.Write(out); err != nil {
			sock.Shutdown(conn) // the reader ends
			return
		}
	}
}
