package chardev

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"golang.org/x/sys/unix"
)

// stdioBackend is the program's standard input and output. They may be shared
// with the shell that started it, so that O_NONBLOCK cannot be set on them; they
// are polled together with an eventfd that ends the wait.
type stdioBackend struct {
	cfg  StdioConfig
	c    *Chardev
	conn *stdioConn
	tty  *terminal
	done sync.WaitGroup
}

func (b *stdioBackend) start(_ context.Context, c *Chardev) error {
	wake, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		return fmt.Errorf("stdio: eventfd: %w", err)
	}
	b.c = c
	b.conn = &stdioConn{wake: wake}
	b.tty = rawTerminal(0, b.cfg.Signal)
	c.setConnected(true) // from the first byte on
	b.done.Add(1)
	go func() {
		defer b.done.Done()
		defer unix.Close(wake)
		c.serve(b.conn)
	}()
	return nil
}

func (b *stdioBackend) stop() {
	_ = b.conn.Close()
	b.done.Wait()
	b.tty.close()
}

// abandon implements abandoner.
func (b *stdioBackend) abandon() { b.tty.restore() }

func (b *stdioBackend) describe() string { return "stdio" }

// stdioConn is standard input and output as one connection.
type stdioConn struct {
	wake   int
	mu     sync.Mutex
	closed bool
	ended  bool // input is at its end; output goes on
}

// ready waits until fd can do what events say, or the connection is closed.
func (s *stdioConn) ready(fd int, events int16) error {
	pfd := [2]unix.PollFd{{Fd: int32(fd), Events: events}, {Fd: int32(s.wake), Events: unix.POLLIN}}
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

func (s *stdioConn) Read(p []byte) (int, error) {
	for {
		fd := 0
		if s.ended {
			fd = -1 // poll ignores it: wait for the end of the connection
		}
		if err := s.ready(fd, unix.POLLIN); err != nil {
			return 0, err
		}
		n, err := unix.Read(0, p)
		switch {
		case errors.Is(err, unix.EINTR) || errors.Is(err, unix.EAGAIN):
		case err != nil || n == 0:
			s.ended = true
		default:
			return n, nil
		}
	}
}

func (s *stdioConn) ReadMsg(p []byte) (int, []int, error) {
	n, err := s.Read(p)
	return n, nil, err
}

func (s *stdioConn) Write(p []byte) (int, error) {
	done := 0
	for done < len(p) {
		if err := s.ready(1, unix.POLLOUT); err != nil {
			return done, err
		}
		n, err := unix.Write(1, p[done:min(len(p), done+ioChunk)])
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

func (s *stdioConn) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil
	}
	s.closed = true
	one := [8]byte{1}
	_, err := unix.Write(s.wake, one[:])
	return err
}

// ioChunk is what a pipe that polls as writable takes without blocking (PIPE_BUF).
const ioChunk = 4096
