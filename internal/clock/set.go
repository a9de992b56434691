package clock

import (
	"fmt"
	"math"
	"runtime"
	"sync"

	"golang.org/x/sys/unix"
)

// New starts the clocks. The virtual clock is stopped at 0.
func New() (*Set, error) {
	s := &Set{done: make(chan struct{})}
	if err := s.waker.open(); err != nil {
		return nil, fmt.Errorf("clock thread: %w", err)
	}
	s.Virtual = newClock(Virtual, monotonic, s.waker.wake)
	s.Host = newClock(Host, wallTime, s.waker.wake)
	s.Realtime = newClock(Realtime, monotonic, s.waker.wake)
	go s.run()
	return s, nil
}

// Close ends the clock thread and waits for it; no timer fires afterwards. It
// must not be called from a timer's function.
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
	// Sleeps end when they should, not up to 50 us later.
	_ = unix.Prctl(unix.PR_SET_TIMERSLACK, 1, 0, 0, 0)
	defer unix.Prctl(unix.PR_SET_TIMERSLACK, 0, 0, 0, 0) // the default again
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
	jumps   int // readable when the wall clock has been set; -1 where there is no such thing
	stopped chan struct{}

	mu     sync.Mutex // guards closed and the use of fd by wake
	closed bool
}

func (w *waker) open() (err error) {
	w.fd, err = unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	w.stopped = make(chan struct{})
	if w.jumps, _ = unix.TimerfdCreate(unix.CLOCK_REALTIME, unix.TFD_CLOEXEC|unix.TFD_NONBLOCK); w.jumps >= 0 {
		w.watchJumps()
	}
	return err
}

// watchJumps has the descriptor become readable when the wall clock is set, or
// has gone on while the host slept: deadlines on it are then nearer or further
// than the sleep that they began with. Its own deadline never comes.
func (w *waker) watchJumps() {
	far := unix.ItimerSpec{Value: unix.Timespec{Sec: math.MaxInt64}}
	_ = unix.TimerfdSettime(w.jumps, unix.TFD_TIMER_ABSTIME|unix.TFD_TIMER_CANCEL_ON_SET, &far, nil)
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

// close gives the descriptors back; a timer set after that wakes nobody.
func (w *waker) close() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.closed = true
	_ = unix.Close(w.fd)
	if w.jumps >= 0 {
		_ = unix.Close(w.jumps)
	}
}

// sleep waits ns nanoseconds (for ever when negative), until wake, or until the
// wall clock is set. It returns false when the set is closing.
func (w *waker) sleep(ns int64) bool {
	var ts *unix.Timespec
	if ns >= 0 {
		t := unix.NsecToTimespec(ns)
		ts = &t
	}
	pfd := [2]unix.PollFd{{Fd: int32(w.fd), Events: unix.POLLIN}, {Fd: int32(w.jumps), Events: unix.POLLIN}}
	if n, _ := unix.Ppoll(pfd[:], ts, nil); n > 0 {
		var buf [8]byte
		if pfd[0].Revents != 0 {
			_, _ = unix.Read(w.fd, buf[:])
		}
		if pfd[1].Revents != 0 {
			_, _ = unix.Read(w.jumps, buf[:]) // ECANCELED
			w.watchJumps()
		}
	}
	select {
	case <-w.stopped:
		return false
	default:
		return true
	}
}
