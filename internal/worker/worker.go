// Package worker is a thread that serves queues, a device's own or those of all
// who share an iothread: a locked OS thread that waits in its own epoll for
// eventfds, which the guest (through the kernel), a vCPU thread or a back end
// signals.
//
// A goroutine in Go's own poller would do the same work, but would wait for the
// scheduler's attention first; a queue that must be quick has its own thread.
package worker

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// ErrClosed is returned for a worker that has ended.
var ErrClosed = errors.New("worker is closed")

// Worker runs the functions of its sources, one at a time, on one OS thread.
// The functions must return in bounded time: they never wait for storage, peers
// or the guest. They must not call methods of the worker or of its sources,
// other than Start and Source.Kick.
type Worker struct {
	name string
	ep   int
	tid  atomic.Int32
	done chan struct{}

	// run is held while functions run, so that whoever takes it knows that none
	// does. It comes before every lock that a function takes.
	run     sync.Mutex
	resumed sync.Cond // of run: paused has become 0, or the worker closes
	sources []*Source // by slot; nil where free
	paused  int
	closing bool
	quit    *Source
	polled  []*Source // those with ready; replaced, never changed

	polling atomic.Pointer[Polling]
	spin    int64 // how long it polls before it waits, in ns; of the thread alone

	startMu sync.Mutex // guards started and ended; a leaf, so that Start may come from anywhere
	started bool
	ended   bool // Close has begun: no thread is made any more
}

// Source is an eventfd and the function that runs after it is signalled.
// Signals that come before the function runs are served by one run.
type Source struct {
	w     *Worker
	fn    func()
	ready func() bool // see AddPolled; may be nil
	slot  int
	fd    int

	mu     sync.Mutex // guards the use of fd by Kick against Close
	closed bool
}

// batch is how many signals are taken from the kernel at a time; between two
// batches whoever waits for the worker gets his turn.
const batch = 16

// New returns a worker without a thread: Start makes that. name appears in the
// host's list of threads, cut to 15 bytes.
func New(name string) (*Worker, error) {
	w := &Worker{name: name, done: make(chan struct{})}
	w.resumed.L = &w.run
	var err error
	if w.ep, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return nil, fmt.Errorf("worker %s: epoll: %w", name, err)
	}
	if w.quit, err = w.Add(func() {}); err != nil {
		_ = unix.Close(w.ep)
		return nil, err
	}
	return w, nil
}

// Add returns a new source that has fn run on the worker's thread.
func (w *Worker) Add(fn func()) (*Source, error) { return w.AddPolled(fn, nil) }

// AddPolled is Add for a source that can be looked at: ready reports, at little
// cost, whether fn has something to do. It runs on the worker's thread.
func (w *Worker) AddPolled(fn func(), ready func() bool) (*Source, error) {
	w.run.Lock()
	defer w.run.Unlock()
	if w.closing {
		return nil, ErrClosed
	}
	fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		return nil, fmt.Errorf("worker %s: eventfd: %w", w.name, err)
	}
	s := &Source{w: w, fn: fn, ready: ready, slot: w.free(), fd: fd}
	// Edge-triggered: each signal is reported once without the counter being
	// read, which saves a system call; the counter does not overflow in practice
	// (2^64 signals), and would merely stay signalled.
	ev := unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLET, Fd: int32(s.slot), Pad: int32(fd)}
	if err := unix.EpollCtl(w.ep, unix.EPOLL_CTL_ADD, fd, &ev); err != nil {
		_ = unix.Close(fd)
		return nil, fmt.Errorf("worker %s: epoll: %w", w.name, err)
	}
	w.sources[s.slot] = s
	w.listPolled()
	return s, nil
}

func (w *Worker) free() int {
	for i, s := range w.sources {
		if s == nil {
			return i
		}
	}
	w.sources = append(w.sources, nil)
	return len(w.sources) - 1
}

// Start makes the thread. It may be called again and by anyone.
func (w *Worker) Start() {
	w.startMu.Lock()
	defer w.startMu.Unlock()
	if !w.started && !w.ended {
		w.started = true
		go w.loop()
	}
}

func (w *Worker) hasThread() bool {
	w.startMu.Lock()
	defer w.startMu.Unlock()
	return w.started
}

// Exclude calls fn, on the caller's goroutine, while no source's function runs.
func (w *Worker) Exclude(fn func()) {
	w.run.Lock()
	defer w.run.Unlock()
	fn()
}

// Pause returns when no function runs, and none will until Resume has been
// called as often as Pause. Signals are remembered.
func (w *Worker) Pause() {
	w.run.Lock()
	defer w.run.Unlock()
	w.paused++
}

// Resume ends what Pause began.
func (w *Worker) Resume() {
	w.run.Lock()
	defer w.run.Unlock()
	if w.paused--; w.paused == 0 {
		w.resumed.Broadcast()
	}
}

// Sync returns when every signal that came before the call has been served. On
// a worker that is paused or has no thread it returns at once.
func (w *Worker) Sync() {
	w.run.Lock()
	idle := w.paused > 0 || !w.hasThread() || w.closing
	w.run.Unlock()
	if idle {
		return
	}
	reached := make(chan struct{})
	s, err := w.Add(sync.OnceFunc(func() { close(reached) }))
	if err != nil {
		return
	}
	s.Kick() // ready sources are reported in the order in which they were signalled
	select {
	case <-reached:
	case <-w.done:
	}
	s.Close()
}

// Close ends the thread and gives all descriptors back. When it has returned no
// function runs or will run.
func (w *Worker) Close() {
	w.run.Lock()
	if w.closing {
		w.run.Unlock()
		return
	}
	w.closing = true
	w.resumed.Broadcast()
	w.run.Unlock()
	w.startMu.Lock()
	w.ended = true
	started := w.started
	w.startMu.Unlock()
	if started {
		w.quit.Kick()
		<-w.done
	} else {
		close(w.done)
	}
	w.run.Lock()
	defer w.run.Unlock()
	for _, s := range w.sources {
		if s != nil {
			s.release()
		}
	}
	_ = unix.Close(w.ep)
}

// TID returns the host's ID of the thread, 0 before it runs.
func (w *Worker) TID() int { return int(w.tid.Load()) }

func (w *Worker) loop() {
	runtime.LockOSThread() // and never unlock: the thread, with its name, ends with the goroutine
	defer close(w.done)
	w.tid.Store(int32(unix.Gettid()))
	// The name is for people who look at the host; that it cannot be set matters to nobody.
	_ = os.WriteFile(fmt.Sprintf("/proc/self/task/%d/comm", w.TID()), []byte(w.name), 0)

	var events [batch]unix.EpollEvent
	for {
		begin := now()
		timeout := -1
		if w.poll(begin) {
			timeout = 0 // others may be signalled too
		}
		n, err := unix.EpollWait(w.ep, events[:], timeout)
		if err != nil && err != unix.EINTR {
			return // the descriptor is ours and open: it does not happen
		}
		w.adapt(now() - begin)
		if !w.serve(events[:max(n, 0)]) {
			return
		}
	}
}

func (w *Worker) serve(events []unix.EpollEvent) bool {
	w.run.Lock()
	defer w.run.Unlock()
	for i := range events {
		for w.paused > 0 && !w.closing {
			w.resumed.Wait()
		}
		if w.closing {
			return false
		}
		// A source may have gone, and its slot been taken, since the kernel
		// reported it: the descriptor tells. A new owner of both merely runs once more.
		if s := w.sources[events[i].Fd]; s != nil && s.fd == int(events[i].Pad) {
			s.fn()
		}
	}
	return !w.closing
}

// FD returns the eventfd, for the kernel to signal. The source owns it.
func (s *Source) FD() int { return s.fd }

var one = [8]byte{1}

// Kick signals the source. It does not block, and does nothing once the source is closed.
func (s *Source) Kick() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.closed {
		_, _ = unix.Write(s.fd, one[:]) // it fails only on a full counter, which is signalled
	}
}

// Close takes the source out of its worker: when it has returned, its function
// does not run, nor will it.
func (s *Source) Close() {
	s.w.run.Lock()
	defer s.w.run.Unlock()
	s.release()
}

func (s *Source) release() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return
	}
	s.closed = true
	// Others (KVM) may hold the descriptor's file, so closing alone would not end the wait.
	_ = unix.EpollCtl(s.w.ep, unix.EPOLL_CTL_DEL, s.fd, nil)
	_ = unix.Close(s.fd)
	s.w.sources[s.slot] = nil
	s.w.listPolled()
}
