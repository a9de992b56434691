package chardev

import (
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// drainTime is how long the end of a device waits for output that a peer has
// not read yet.
const drainTime = time.Second

// stream serves one connection for a Chardev: input to the front end, output to
// the peer.
type stream struct {
	c    *Chardev
	conn Conn
	stop bool // guarded by c.mu: the connection is over
}

// serve runs a connection until it or the device ends, then closes it. It
// returns false when the device ends.
func (c *Chardev) serve(conn Conn) bool {
	s := &stream{c: c, conn: conn}
	fe := s.waitFrontend()
	if whole, ok := fe.(ConnFrontend); ok {
		return c.serveWhole(whole, conn)
	}
	c.setConnected(true)
	var writer sync.WaitGroup
	writer.Add(1)
	go func() {
		defer writer.Done()
		s.write()
	}()
	s.read()
	c.mu.Lock()
	s.stop = true
	c.cond.Broadcast()
	c.mu.Unlock()
	_ = conn.Close()
	writer.Wait()
	c.setConnected(false)
	c.mu.Lock()
	defer c.mu.Unlock()
	return !c.closing
}

// serveWhole hands a connection over.
func (c *Chardev) serveWhole(fe ConnFrontend, conn Conn) bool {
	c.mu.Lock()
	c.connected, c.conn = true, conn
	gone := c.fe != Frontend(fe) // detached just now
	c.calling++
	c.mu.Unlock()
	if !gone {
		fe.ServeConn(conn)
	}
	_ = conn.Close()
	c.called()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.connected, c.conn = false, nil
	return !c.closing
}

// waitFrontend gives a device that has no front end yet the time to get one, so
// that a connection which comes early is served in the right way. What a front
// end that has gone already has written is reason enough to begin.
func (s *stream) waitFrontend() Frontend {
	s.c.mu.Lock()
	defer s.c.mu.Unlock()
	for s.c.fe == nil && !s.c.closing && len(s.c.out) == 0 {
		s.c.cond.Wait()
	}
	return s.c.fe
}

func (s *stream) read() {
	var buf [4096]byte
	for {
		n := s.c.waitCredit(len(buf), &s.stop)
		if n == 0 {
			return
		}
		n, fds, err := s.conn.ReadMsg(buf[:n])
		for _, fd := range fds {
			_ = unix.Close(fd) // nobody here takes descriptors
		}
		if n > 0 {
			s.c.deliverAll(buf[:n], &s.stop)
		}
		if err != nil {
			return
		}
	}
}

// deliverAll hands p over in the pieces that the front end can take.
func (c *Chardev) deliverAll(p []byte, stop *bool) {
	for len(p) > 0 {
		n := c.waitCredit(len(p), stop)
		if n == 0 {
			return
		}
		c.deliver(p[:n])
		p = p[n:]
	}
}

func (s *stream) write() {
	var buf [16 << 10]byte
	for {
		n := s.c.takeOutput(buf[:], &s.stop)
		if n == 0 {
			break
		}
		if _, err := s.conn.Write(buf[:n]); err != nil {
			s.c.mu.Lock()
			s.c.out = s.c.out[:0]
			s.c.mu.Unlock()
			s.c.roomMade()
			break
		}
	}
	s.c.mu.Lock()
	s.stop = true
	s.c.flushing = false
	s.c.cond.Broadcast()
	s.c.outIdle.Broadcast()
	s.c.mu.Unlock()
	_ = s.conn.Close() // ends read
}

// drain waits until output that was accepted has left, or for drainTime.
func (c *Chardev) drain() {
	expired := false
	t := time.AfterFunc(drainTime, func() {
		c.mu.Lock()
		expired = true
		c.outIdle.Broadcast()
		c.mu.Unlock()
	})
	defer t.Stop()
	c.mu.Lock()
	defer c.mu.Unlock()
	for (len(c.out) > 0 || c.flushing) && c.connected && !expired {
		c.outIdle.Wait()
	}
}
