package rngbackend

import (
	"errors"
	"fmt"
	"sync"

	"golang.org/x/sys/unix"

	"govmd/internal/fd"
	"govmd/internal/object"
	"govmd/internal/qmp"
)

// Random reads a file: a device such as /dev/hwrng, a FIFO, or anything else.
type Random struct {
	object.Node
	filename string
	files    *fd.Table // where the file is opened from

	mu   sync.Mutex // guards fd and conns
	fd   int        // -1: not open
	wake int        // eventfd that ends the reader's wait
	list []*randomConn
	dead bool          // at the end of the file, or closed
	done chan struct{} // of the reader; nil while there is none
}

// Complete opens the file, once all properties are set. Connect does so too.
func (r *Random) Complete(others *object.Collection) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if others != nil {
		r.files, _ = object.Service[*fd.Table](others)
	}
	return r.openLocked()
}

func (r *Random) openLocked() error {
	if r.fd >= 0 {
		return nil
	}
	if r.filename == "" {
		return errors.New("Parameter 'filename' expects a valid filename")
	}
	fd, err := r.files.OpenFD(r.filename, unix.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return qmp.ClassErrorf(qmp.ClassGeneric, "Could not open '%s': %s", r.filename, qmp.Strerror(err))
	}
	wake, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		_ = r.files.CloseFD(fd)
		return fmt.Errorf("rng-random: eventfd: %w", err)
	}
	r.fd, r.wake, r.dead = fd, wake, false
	r.Freeze()
	return nil
}

// Close ends the source; its users get nothing any more.
func (r *Random) Close() {
	r.mu.Lock()
	if r.fd < 0 {
		r.mu.Unlock()
		return
	}
	r.dead = true
	done := r.done
	r.mu.Unlock()
	if done != nil {
		r.kick()
		<-done
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	_ = r.files.CloseFD(r.fd)
	_ = unix.Close(r.wake)
	r.fd = -1
	r.Thaw()
}

func (r *Random) kick() {
	one := [8]byte{1}
	_, _ = unix.Write(r.wake, one[:])
}

// Connect implements Backend.
func (r *Random) Connect(deliver func(p []byte)) (Conn, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.dead {
		return nil, errClosed
	}
	if err := r.openLocked(); err != nil {
		return nil, err
	}
	return &randomConn{r: r, deliver: deliver}, nil
}

type randomConn struct {
	r *Random

	mu      sync.Mutex // guards what follows, and deliver's run against Close; before r.mu
	deliver func([]byte)
	closed  bool
	want    int // bytes asked for and not delivered
	buf     [MaxRequest]byte
}

// Request implements Conn. What can be read at once is delivered at once; only
// a file that makes its readers wait needs a goroutine.
func (c *randomConn) Request(n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed || c.want > 0 || n <= 0 {
		return
	}
	c.want = min(n, len(c.buf))
	if c.tryLocked() == again {
		c.r.enqueue(c)
	}
}

// Close implements Conn.
func (c *randomConn) Close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	c.want = 0
}

type outcome int

const (
	delivered outcome = iota
	again             // nothing to read just now
	over              // nothing will come
)

// tryLocked reads and delivers. The file is non-blocking.
func (c *randomConn) tryLocked() outcome {
	if c.closed || c.want == 0 {
		return over
	}
	n, err := c.r.read(c.buf[:c.want])
	switch {
	case n > 0:
		c.want = 0
		c.deliver(c.buf[:n])
		return delivered
	case err == unix.EAGAIN || err == unix.EINTR:
		return again
	}
	return over // the request stays for ever: the guest waits
}

// read reads without waiting. At the end of the file the source is dead.
func (r *Random) read(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.dead || r.fd < 0 {
		return 0, errClosed
	}
	n, err := unix.Read(r.fd, p)
	if n == 0 && err == nil {
		r.dead = true
	}
	return n, err
}

// enqueue has the reader serve c when the file has more.
func (r *Random) enqueue(c *randomConn) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.dead {
		return
	}
	r.list = append(r.list, c)
	if r.done == nil {
		r.done = make(chan struct{})
		go r.serve(r.done)
	}
}

// serve waits for the file and hands its bytes to those who wait, in turn. It
// ends when nobody waits.
func (r *Random) serve(done chan struct{}) {
	defer close(done)
	timeout := -1
	for {
		fds := [2]unix.PollFd{{Fd: int32(r.fd), Events: unix.POLLIN}, {Fd: int32(r.wake), Events: unix.POLLIN}}
		wait := fds[:]
		if timeout >= 0 {
			// A file that poll knows nothing of always looks ready: look again later.
			wait = fds[1:]
		}
		_, _ = unix.Poll(wait, timeout)
		timeout = -1
		r.mu.Lock()
		if r.dead || len(r.list) == 0 {
			r.list, r.done = nil, nil
			r.mu.Unlock()
			return
		}
		c := r.list[0]
		r.mu.Unlock()

		c.mu.Lock()
		got := c.tryLocked()
		c.mu.Unlock()

		r.mu.Lock()
		if got == again {
			timeout = retry
		} else {
			r.list = append(r.list[:0], r.list[1:]...)
		}
		last := len(r.list) == 0
		if last {
			r.done = nil
		}
		r.mu.Unlock()
		if last {
			return
		}
	}
}

// retry is how many milliseconds pass before a file that is always "ready" is
// read again.
const retry = 20
