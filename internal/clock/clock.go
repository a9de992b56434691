// Package clock provides the clocks of a virtual machine and timers on them.
//
// There are three: Virtual counts only while the machine runs, is part of the
// saved state, and is stepped by hand under qtest; Host is the host's wall
// clock; Realtime is the host's monotonic clock and never stops.
package clock

import (
	"container/heap"
	"sync"
	"time"
)

// Kind says what a clock follows.
type Kind int

// The kinds of clock.
const (
	Virtual  Kind = iota // guest time: stops with the machine
	Host                 // wall clock, nanoseconds since 1970-01-01 UTC
	Realtime             // monotonic, never stops
)

// Set holds the three clocks of one machine and the thread that expires their timers.
type Set struct {
	Virtual, Host, Realtime *Clock

	waker waker
	done  chan struct{}
	once  sync.Once
}

// Clock tells the time in nanoseconds and runs timers.
type Clock struct {
	kind Kind
	set  *Set

	mu      sync.Mutex
	running bool  // Virtual only; the others always run
	manual  bool  // Virtual under qtest: moves only by Advance
	offset  int64 // guest time = source() + offset while running
	stopped int64 // guest time while not running
	timers  timerHeap
}

// Timer calls a function when its clock reaches a deadline. Re-arming does not
// allocate. Make one with Clock.NewTimer.
type Timer struct {
	clock    *Clock
	name     string
	fn       func()
	deadline int64
	index    int // in clock.timers, or -1

	firing sync.Mutex // held while fn runs
}

var boot = time.Now()

func (c *Clock) source() int64 {
	if c.kind == Host {
		return time.Now().UnixNano()
	}
	return int64(time.Since(boot))
}

func (c *Clock) nowLocked() int64 {
	if c.kind == Virtual && (c.manual || !c.running) {
		return c.stopped
	}
	return c.source() + c.offset
}

// Now returns the time in nanoseconds.
func (c *Clock) Now() int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.nowLocked()
}

// Running reports whether the clock advances by itself.
func (c *Clock) Running() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.kind != Virtual || (c.running && !c.manual)
}

// Start lets a stopped virtual clock go on from where it stopped.
func (c *Clock) Start() {
	c.mu.Lock()
	if !c.running {
		c.running = true
		c.offset = c.stopped - c.source()
	}
	c.mu.Unlock()
	c.set.waker.wake()
}

// Stop halts the virtual clock: its timers do not fire until Start.
func (c *Clock) Stop() {
	c.mu.Lock()
	if c.running {
		c.stopped = c.nowLocked()
		c.running = false
	}
	c.mu.Unlock()
}

// SetNow sets the virtual clock, as loading a saved state does.
func (c *Clock) SetNow(ns int64) {
	c.mu.Lock()
	c.stopped = ns
	c.offset = ns - c.source()
	c.mu.Unlock()
	c.set.waker.wake()
}

// SetManual makes the virtual clock move only by Advance, as qtest wants it.
func (c *Clock) SetManual() {
	c.mu.Lock()
	c.stopped = c.nowLocked()
	c.manual = true
	c.mu.Unlock()
}

// Advance moves a manual clock to the time to and runs, on the caller's
// goroutine, what expires on the way, each timer seeing its own deadline as the
// current time. A time in the past changes nothing.
func (c *Clock) Advance(to int64) {
	for {
		c.mu.Lock()
		if len(c.timers) == 0 || c.timers[0].deadline > to {
			if to > c.stopped {
				c.stopped = to
			}
			c.mu.Unlock()
			return
		}
		t := c.timers[0]
		if t.deadline > c.stopped {
			c.stopped = t.deadline
		}
		heap.Pop(&c.timers)
		c.mu.Unlock()
		t.fire()
	}
}

// NextDeadline returns the earliest deadline of any armed timer.
func (c *Clock) NextDeadline() (ns int64, armed bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.timers) == 0 {
		return 0, false
	}
	return c.timers[0].deadline, true
}

// NewTimer returns an unarmed timer. fn runs on the clock set's own thread (or,
// on a manual clock, inside Advance) with no lock held; it must be quick and
// must not wait for anything. It may take its device's mutex and re-arm timers.
// A call may be under way while another goroutine stops or re-arms the timer:
// fn checks its device's state under the device's mutex.
func (c *Clock) NewTimer(name string, fn func()) *Timer {
	return &Timer{clock: c, name: name, fn: fn, index: -1}
}

// Set arms the timer for the given clock time, replacing any earlier deadline.
// A deadline that has passed fires at once, but never inside Set.
func (t *Timer) Set(deadline int64) {
	c := t.clock
	c.mu.Lock()
	t.deadline = deadline
	if t.index >= 0 {
		heap.Fix(&c.timers, t.index)
	} else {
		heap.Push(&c.timers, t)
	}
	first := t.index == 0
	c.mu.Unlock()
	if first {
		c.set.waker.wake()
	}
}

// Stop disarms the timer. It does not wait for a call that is under way.
func (t *Timer) Stop() {
	c := t.clock
	c.mu.Lock()
	if t.index >= 0 {
		heap.Remove(&c.timers, t.index)
	}
	c.mu.Unlock()
}

// Close disarms the timer and waits for a call that is under way. It must not
// be called from the timer's function nor with a lock held that fn takes.
func (t *Timer) Close() {
	t.Stop()
	t.firing.Lock()
	t.firing.Unlock() //nolint:staticcheck // the wait is the point
	t.Stop()
}

// Deadline returns when the timer will fire. It is the timer's saved state.
func (t *Timer) Deadline() (ns int64, armed bool) {
	t.clock.mu.Lock()
	defer t.clock.mu.Unlock()
	return t.deadline, t.index >= 0
}

func (t *Timer) fire() {
	t.firing.Lock()
	defer t.firing.Unlock()
	t.fn()
}

// expire runs all due timers and returns how long to sleep until the next, or
// a negative value when none is armed.
func (c *Clock) expire() int64 {
	for {
		c.mu.Lock()
		if len(c.timers) == 0 || c.manual || (c.kind == Virtual && !c.running) {
			c.mu.Unlock()
			return -1
		}
		t := c.timers[0]
		if wait := t.deadline - c.nowLocked(); wait > 0 {
			c.mu.Unlock()
			return wait
		}
		heap.Pop(&c.timers)
		c.mu.Unlock()
		t.fire()
	}
}

type timerHeap []*Timer

func (h timerHeap) Len() int           { return len(h) }
func (h timerHeap) Less(i, j int) bool { return h[i].deadline < h[j].deadline }
func (h timerHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i, j
}
func (h *timerHeap) Push(x any) {
	t := x.(*Timer)
	t.index = len(*h)
	*h = append(*h, t)
}
func (h *timerHeap) Pop() any {
	old := *h
	t := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	t.index = -1
	return t
}
