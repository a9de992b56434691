package chardev

import (
	"errors"
	"fmt"
	"io"
	"sync"

	"golang.org/x/sys/unix"
)

// ioChunk is what a pipe that polls as writable takes without blocking (PIPE_BUF).
const ioChunk = 4096

// fdConn is a descriptor for input and one for output as a connection. They may
// be shared with other processes, so that O_NONBLOCK cannot be set on them: they
// are polled together with an eventfd that ends the wait.
type fdConn struct {
	in, out int  // in is -1 when there is no input
	hup     bool // the end of the input, or a hang-up, is the end of the connection
	wake    int

	mu     sync.Mutex
	closed bool
	ended  bool // input is at its end; output goes on. The reader's
}

func newFDConn(in, out int) (*fdConn, error) {
	wake, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		return nil, fmt.Errorf("eventfd: %w", err)
	}
	return &fdConn{in: in, out: out, wake: wake}, nil
}

// release follows the last use of the connection. The descriptors are their
// owner's.
func (c *fdConn) release() { _ = unix.Close(c.wake) }

// ready waits until fd can do what events say, or is hung up; it returns an error
// when the connection is closed.
func (c *fdConn) ready(fd int, events int16) error { return pollOrWake(fd, events, c.wake) }

// pollOrWake waits until one of events, an error or a hang-up happens to fd; it
// returns an error when the eventfd wake is written to before.
func pollOrWake(fd int, events int16, wake int) error {
	pfd := [2]unix.PollFd{{Fd: int32(fd), Events: events}, {Fd: int32(wake), Events: unix.POLLIN}}
	for {
		if _, err := unix.Ppoll(pfd[:], nil, nil); err != nil && !errors.Is(err, unix.EINTR) {
			return err
		}
		if pfd[1].Revents != 0 {
			return io.ErrClosedPipe
		}
		if pfd[0].Revents != 0 {
			return nil
		}
	}
}

// Read implements Conn. At the end of the input it waits for the end of the
// connection, unless the one is the other.
func (c *fdConn) Read(p []byte) (int, error) {
	for {
		fd := c.in
		if c.ended {
			fd = -1 // poll ignores it
		}
		if err := c.ready(fd, unix.POLLIN); err != nil {
			return 0, err
		}
		n, err := unix.Read(fd, p)
		switch {
		case errors.Is(err, unix.EINTR) || errors.Is(err, unix.EAGAIN):
		case err == nil && n > 0:
			return n, nil
		case c.hup:
			return 0, io.EOF
		default:
			c.ended = true
		}
	}
}

// ReadMsg implements Conn.
func (c *fdConn) ReadMsg(p []byte) (int, []int, error) {
	n, err := c.Read(p)
	return n, nil, err
}

// Write implements Conn.
func (c *fdConn) Write(p []byte) (int, error) {
	done := 0
	for done < len(p) {
		if err := c.ready(c.out, unix.POLLOUT); err != nil {
			return done, err
		}
		n, err := unix.Write(c.out, p[done:min(len(p), done+ioChunk)])
		if errors.Is(err, unix.EINTR) || errors.Is(err, unix.EAGAIN) {
			continue
		}
		if err != nil {
			return done, err
		}
		done += n
	}
	return done, nil
}

// Close implements Conn: it ends what waits.
func (c *fdConn) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return nil
	}
	c.closed = true
	one := [8]byte{1}
	_, err := unix.Write(c.wake, one[:])
	return err
}

// hupConn is an fdConn whose peer can hang up.
type hupConn struct{ *fdConn }

// waitHup implements hangup.
func (c hupConn) waitHup() bool {
	return c.ready(c.in, 0) == nil // a hang-up is reported without being asked for
}
