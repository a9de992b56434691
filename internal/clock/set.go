package clock

import (
	"fmt"
	"runtime"
	"sync"

	"golang.org/x/sys/unix"
)

// New starts the clocks. The virtual clock is stopped at 0.
func New() (*Set, error) {
	s := &Set{done: make(chan struct{})}
	s.Virtual = &Clock{kind: Virtual, set: s}
	s.Host = &Clock{kind: Host, set: s}
	s.Realtime = &Clock{kind: Realtime, set: s}
	if err := s.waker.open(); err != nil {
		return nil, fmt.Errorf("clock thread: %w", err)
	}
	go s.run()
	return s, nil
}

// Close ends the clock thread and waits for it; no timer fires afterwards.
func (s *Set) Close() {
	s.once.Do(func() {
		s.waker.stop()
		<-s.done
		s.waker.close()
	})
}

// run expires timers on a thread of its own: Go's timers round up to a
// millisecond when the process is idle, and a guest's periodic timer cannot.
func (s *Set) run() {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	defer close(s.done)
	for {
		next := int64(-1)
		for _, c := range []*Clock{s.Virtual, s.Host, s.Realtime} {
			if w := c.expire(); w >= 0 && (next < 0 || w < next) {
				next = w
			}
		}
		if !s.waker.sleep(next) {
			return
		}
	}
}

// waker is an eventfd that ends a timed sleep early.
type waker struct {
	fd      int
	stopped chan struct{}

	mu     sync.Mutex // guards closed and the use of fd by wake
	closed bool
}

func (w *waker) open() (err error) {
	w.fd, err = unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	w.stopped = make(chan struct{})
	return err
}

func (w *waker) wake() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return
	}
	one := [8]byte{1}
	_, _ = unix.Write(w.fd, one[:]) // EAGAIN means that a wake is pending already
}

func (w *waker) stop() {
	close(w.stopped)
	w.wake()
}

// close gives the descriptor back; a timer set after that wakes nobody.
func (w *waker) close() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.closed = true
	_ = unix.Close(w.fd)
}

// sleep waits ns nanoseconds (for ever when negative) or until wake. It returns
// false when the set is closing.
func (w *waker) sleep(ns int64) bool {
	var ts *unix.Timespec
	if ns >= 0 {
		t := unix.NsecToTimespec(ns)
		ts = &t
	}
	pfd := [1]unix.PollFd{{Fd: int32(w.fd), Events: unix.POLLIN}}
	if n, _ := unix.Ppoll(pfd[:], ts, nil); n > 0 {
		var buf [8]byte
		_, _ = unix.Read(w.fd, buf[:])
	}
	select {
	case <-w.stopped:
		return false
	default:
		return true
	}
}
