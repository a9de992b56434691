package chardev

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"

	"golang.org/x/sys/unix"

	"govmd/internal/sock"
)

// ptyBackend is a new terminal that somebody can open: its other end is the
// device. Whether anybody has it open is known from the file system, which says
// when it is opened, and from a hang-up.
type ptyBackend struct {
	name    string // of the terminal to open
	master  int
	inotify int
	life    *fdConn // closed by stop
	done    sync.WaitGroup

	mu      sync.Mutex
	conn    *fdConn
	stopped bool
}

func (b *ptyBackend) start(_ context.Context, c *Chardev) (err error) {
	b.inotify = -1
	if b.master, b.name, err = openPTY(); err != nil {
		return fmt.Errorf("Failed to create PTY: %w", sock.SystemText(err))
	}
	fail := func(err error) error {
		b.closeAll()
		return err
	}
	if b.inotify, err = unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK); err != nil {
		return fail(fmt.Errorf("pty: inotify: %w", err))
	}
	if _, err = unix.InotifyAddWatch(b.inotify, b.name, unix.IN_OPEN); err != nil {
		return fail(fmt.Errorf("pty: watching %s: %w", b.name, err))
	}
	if b.life, err = newFDConn(b.inotify, -1); err != nil {
		return fail(fmt.Errorf("pty: %w", err))
	}
	b.done.Go(func() {
		for b.waitOpen() && b.serve(c) {
		}
	})
	return nil
}

// openPTY makes a terminal in raw mode. Its master says that it is hung up until
// somebody opens it.
func openPTY() (master int, name string, err error) {
	master, err = unix.Open("/dev/ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return -1, "", err
	}
	slave := -1
	n, err := unix.IoctlGetInt(master, unix.TIOCGPTN)
	if err == nil {
		name = "/dev/pts/" + strconv.Itoa(n)
		err = unix.IoctlSetPointerInt(master, unix.TIOCSPTLCK, 0)
	}
	if err == nil {
		slave, err = unix.Open(name, unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	}
	if err == nil {
		var t *unix.Termios
		if t, err = unix.IoctlGetTermios(slave, unix.TCGETS); err == nil {
			makeRaw(t)
			err = unix.IoctlSetTermios(slave, unix.TCSETS, t)
		}
		_ = unix.Close(slave)
	}
	if err != nil {
		_ = unix.Close(master)
		return -1, "", err
	}
	return master, name, nil
}

// waitOpen waits until somebody has the terminal open; false means the end.
func (b *ptyBackend) waitOpen() bool {
	for {
		var events [4096]byte
		for {
			if _, err := unix.Read(b.inotify, events[:]); err != nil && !errors.Is(err, unix.EINTR) {
				break // none left
			}
		}
		pfd := [1]unix.PollFd{{Fd: int32(b.master)}}
		if _, err := unix.Poll(pfd[:], 0); err == nil && pfd[0].Revents&unix.POLLHUP == 0 {
			return true
		}
		if err := b.life.ready(b.inotify, unix.POLLIN); err != nil {
			return false
		}
	}
}

// serve serves who has opened the terminal until nobody has it open any more.
func (b *ptyBackend) serve(c *Chardev) bool {
	conn, err := newFDConn(b.master, b.master)
	if err != nil {
		return false
	}
	defer conn.release()
	conn.hup = true
	b.mu.Lock()
	if b.stopped {
		b.mu.Unlock()
		return false
	}
	b.conn = conn
	b.mu.Unlock()
	more := c.serve(hupConn{conn})
	b.mu.Lock()
	b.conn = nil
	b.mu.Unlock()
	return more
}

func (b *ptyBackend) stop() {
	b.mu.Lock()
	b.stopped = true
	if b.conn != nil {
		_ = b.conn.Close()
	}
	b.mu.Unlock()
	_ = b.life.Close()
	b.done.Wait()
	b.life.release()
	b.closeAll()
}

func (b *ptyBackend) closeAll() {
	_ = unix.Close(b.master)
	if b.inotify >= 0 {
		_ = unix.Close(b.inotify)
	}
}

func (b *ptyBackend) describe() string { return "pty:" + b.name }
