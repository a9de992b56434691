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
	c     *Chardev
	conn  Conn
	stop  bool // guarded by c.mu: the connection is over
	hung  bool // guarded by c.mu: the peer has gone, with input left or not
	watch sync.Once
	done  sync.WaitGroup // of writer and watcher
}

// hangup is a Conn that can tell that its peer has gone before all input is read.
type hangup interface {
	// waitHup waits until the peer has gone; it returns false when the connection
	// was closed.
	waitHup() bool
}

// breaker is a Conn in whose input there are line breaks.
type breaker interface {
	// takeBreak reports whether a break follows the bytes that were read last.
	takeBreak() bool
}

// serve runs a connection until it or the device ends, then closes it. It
// returns false when the device ends.
func (c *Chardev) serve(conn Conn) bool {
	s := &stream{c: c, conn: conn}
	fe := s.waitFrontend()
	if whole, ok := fe.(ConnFrontend); ok {
		s.end()
		more := c.serveWhole(whole, conn)
		s.done.Wait()
		return more
	}
	c.setConnected(true)
	s.done.Go(s.write)
	s.read()
	s.end()
	_ = conn.Close()
	s.done.Wait()
	c.setConnected(false)
	c.mu.Lock()
	defer c.mu.Unlock()
	return !c.closing
}

func (s *stream) end() {
	s.c.mu.Lock()
	s.stop = true
	s.c.cond.Broadcast()
	s.c.mu.Unlock()
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
	for s.c.fe == nil && !s.c.closing && len(s.c.out) == 0 && !s.hung {
		s.watchHup()
		s.c.cond.Wait()
	}
	return s.c.fe
}

// watchHup has somebody notice when the peer goes while nobody reads from it. It
// may be called again, and with the device's lock held.
func (s *stream) watchHup() {
	h, ok := s.conn.(hangup)
	if !ok {
		return
	}
	s.watch.Do(func() {
		s.done.Go(func() {
			if h.waitHup() {
				s.c.mu.Lock()
				s.hung = true
				s.c.cond.Broadcast()
				s.c.mu.Unlock()
			}
		})
	})
}

// over reports whether the peer has gone.
func (s *stream) over() bool {
	s.c.mu.Lock()
	defer s.c.mu.Unlock()
	return s.hung
}

func (s *stream) read() {
	var buf [4096]byte
	s.c.waitLate(&s.hung, s.watchHup)
	for {
		n := s.c.waitCredit(len(buf), &s.hung, s.watchHup)
		if n == 0 {
			s.salvage(nil)
			return
		}
		n, err := s.readConn(buf[:n])
		if rest := s.deliverAll(buf[:n]); len(rest) > 0 {
			s.salvage(rest)
			return
		}
		if b, ok := s.conn.(breaker); ok && b.takeBreak() {
			s.c.event(Break)
		}
		if err != nil {
			return
		}
	}
}

func (s *stream) readConn(p []byte) (int, error) {
	n, fds, err := s.conn.ReadMsg(p)
	for _, fd := range fds {
		_ = unix.Close(fd) // nobody here takes descriptors
	}
	return n, err
}

// salvage keeps p, and the input that the peer had sent before it went, for a
// front end that has not taken it yet.
func (s *stream) salvage(p []byte) {
	kept := append([]byte(nil), p...)
	var buf [4096]byte
	for len(kept) < lateLimit && s.over() {
		n, err := s.readConn(buf[:])
		kept = append(kept, buf[:n]...)
		if err != nil {
			break
		}
	}
	s.c.keepLate(kept)
}

// deliverAll hands p over in the pieces that the front end can take. It returns
// what is left when the connection or the device ends.
func (s *stream) deliverAll(p []byte) (rest []byte) {
	for len(p) > 0 {
		n := s.c.waitCredit(len(p), &s.hung, s.watchHup)
		if n == 0 {
			return p
		}
		s.c.deliver(p[:n])
		p = p[n:]
	}
	return nil
}

func (s *stream) write() {
	var buf [16 << 10]byte
	failed := false
	for {
		n := s.c.takeOutput(buf[:], &s.stop)
		if n == 0 {
			break
		}
		if _, err := s.conn.Write(buf[:n]); err != nil {
			failed = true
			break
		}
	}
	s.c.mu.Lock()
	if failed {
		s.c.out = s.c.out[:0]
	}
	s.stop, s.hung = true, s.hung || failed
	s.c.flushing = false
	s.c.cond.Broadcast()
	s.c.outIdle.Broadcast()
	s.c.mu.Unlock()
	if failed {
		s.c.roomMade()
		if _, ok := s.conn.(hangup); ok {
			return // read comes to the end by itself, and may find input before it
		}
	}
	_ = s.conn.Close() // ends read
}

// drain waits until output that was accepted has left, or for drainTime.
func (c *Chardev) drain() {
	expired := false
	defer afterDrain(func() {
		c.mu.Lock()
		expired = true
		c.outIdle.Broadcast()
		c.mu.Unlock()
	})()
	c.mu.Lock()
	defer c.mu.Unlock()
	for (len(c.out) > 0 || c.flushing) && c.connected && !expired {
		c.outIdle.Wait()
	}
}

// afterDrain calls fn after drainTime unless cancel is called before.
func afterDrain(fn func()) (cancel func()) {
	t := time.AfterFunc(drainTime, fn)
	return func() { t.Stop() }
}
