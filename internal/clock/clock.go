// Package clock provides the clocks of a virtual machine and timers on them.
//
// There are three: Virtual counts only while the machine runs, is part of the
// saved state, and is stepped by hand under qtest; Host is the host's wall
// clock; Realtime is the host's monotonic clock and never stops.
package clock

import (
	"container/heap"
	"math"
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
	kind   Kind
	source func() int64
	wake   func() // has the set's thread look at the timers again

	mu      sync.Mutex
	idle    *sync.Cond // calling has become 0, or a timer's
	running bool       // Virtual only; the others always run
	manual  bool       // Virtual under qtest: moves only by Advance
	offset  int64      // guest time = source() + offset while running
	stopped int64      // guest time while not running
	timers  timerHeap
	armed   uint64 // counts Set, which breaks ties between deadlines
	calling int    // functions of timers that are under way
	// watched is the deadline before which a timer must be set for the thread
	// to be woken: what it sleeps until, or never while it is awake.
	watched int64
}

// Values of watched that are no deadline: nothing is before the one, everything
// before the other.
const (
	nothing    = math.MinInt64
	everything = math.MaxInt64
)

// Timer calls a function when its clock reaches a deadline. Re-arming does not
// allocate. Make one with Clock.NewTimer.
type Timer struct {
	clock *Clock
	name  string
	fn    func()

	// Guarded by clock.mu:

	deadline int64
	order    uint64
	index    int // in clock.timers, or -1
	calling  int // calls of fn under way
	closed   bool
}

var boot = time.Now()

func wallTime() int64  { return time.Now().UnixNano() }
func monotonic() int64 { return int64(time.Since(boot)) }

func newClock(k Kind, source func() int64, wake func()) *Clock {
	c := &Clock{kind: k, source: source, wake: wake, watched: nothing}
	c.idle = sync.NewCond(&c.mu)
	return c
}

func (c *Clock) stillLocked() bool { return c.kind == Virtual && (c.manual || !c.running) }

func (c *Clock) nowLocked() int64 {
	if c.stillLocked() {
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
	return !c.stillLocked()
}

// Start lets a stopped virtual clock go on from where it stopped.
func (c *Clock) Start() {
	c.mu.Lock()
	if !c.running {
		c.running = true
		c.offset = c.stopped - c.source()
	}
	c.mu.Unlock()
	c.wake()
}

// Stop halts the virtual clock: its timers do not fire until Start. It waits for
// a timer's function that is under way, so that afterwards a deadline is either
// still to come or has had its effect; no lock that such functions take may be
// held.
func (c *Clock) Stop() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.running {
		c.stopped = c.nowLocked()
		c.running = false
	}
	for c.calling > 0 {
		c.idle.Wait()
	}
}

// SetNow sets the virtual clock, as loading a saved state does.
func (c *Clock) SetNow(ns int64) {
	c.mu.Lock()
	c.stopped = ns
	c.offset = ns - c.source()
	c.mu.Unlock()
	c.wake()
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
	c.mu.Lock()
	defer c.mu.Unlock()
	for len(c.timers) > 0 && c.timers[0].deadline <= to {
		c.stopped = max(c.stopped, c.timers[0].deadline)
		c.fireLocked()
	}
	c.stopped = max(c.stopped, to)
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

// Name returns the name given for debugging.
func (t *Timer) Name() string { return t.name }

// Set arms the timer for the given clock time, replacing any earlier deadline.
// A deadline that has passed fires at once, but never inside Set. Of timers with
// one deadline the first that was set fires first. A closed timer stays unarmed.
func (t *Timer) Set(deadline int64) {
	c := t.clock
	c.mu.Lock()
	if t.closed {
		c.mu.Unlock()
		return
	}
	c.armed++
	t.deadline, t.order = deadline, c.armed
	if t.index >= 0 {
		heap.Fix(&c.timers, t.index)
	} else {
		heap.Push(&c.timers, t)
	}
	first := deadline < c.watched && !c.stillLocked()
	if first {
		c.watched = deadline
	}
	c.mu.Unlock()
	if first {
		c.wake()
	}
}

// Stop disarms the timer. It does not wait for a call that is under way.
func (t *Timer) Stop() {
	t.clock.mu.Lock()
	defer t.clock.mu.Unlock()
	t.stopLocked()
}

func (t *Timer) stopLocked() {
	if t.index >= 0 {
		heap.Remove(&t.clock.timers, t.index)
	}
}

// Close disarms the timer for good and waits for a call that is under way. It
// must not be called from the timer's function nor with a lock held that fn takes.
func (t *Timer) Close() {
	c := t.clock
	c.mu.Lock()
	defer c.mu.Unlock()
	t.closed = true
	t.stopLocked()
	for t.calling > 0 {
		c.idle.Wait()
	}
}

// Deadline returns when the timer will fire. It is the timer's saved state.
func (t *Timer) Deadline() (ns int64, armed bool) {
	t.clock.mu.Lock()
	defer t.clock.mu.Unlock()
	return t.deadline, t.index >= 0
}

// fireLocked takes the first timer off and calls its function without the lock.
// The call is counted before the lock is given up, so that whoever waits for it
// cannot miss it.
func (c *Clock) fireLocked() {
	t := heap.Pop(&c.timers).(*Timer)
	t.calling++
	c.calling++
	c.mu.Unlock()
	defer func() {
		c.mu.Lock()
		t.calling--
		c.calling--
		c.idle.Broadcast()
	}()
	t.fn()
}

// atOnce is how many timers of one clock expire before the others have a turn.
const atOnce = 64

// expire runs due timers and returns how long to sleep until the next, or a
// negative value when none is armed.
func (c *Clock) expire() int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.watched = nothing
	for range atOnce {
		switch {
		case c.stillLocked():
			return -1
		case len(c.timers) == 0:
			c.watched = everything
			return -1
		}
		next, now := c.timers[0].deadline, c.nowLocked()
		if next > now {
			c.watched = next
			if wait := next - now; wait > 0 {
				return wait
			}
			return math.MaxInt64 // further off than can be told
		}
		c.fireLocked()
	}
	return 0
}

type timerHeap []*Timer

func (h timerHeap) Len() int { return len(h) }
func (h timerHeap) Less(i, j int) bool {
	if h[i].deadline != h[j].deadline {
		return h[i].deadline < h[j].deadline
	}
	return h[i].order < h[j].order
}
func (h timerHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i, j
}

// Push implements heap.Interface.
func (h *timerHeap) Push(x any) {
	t := x.(*Timer)
	t.index = len(*h)
	*h = append(*h, t)
}

// Pop implements heap.Interface.
func (h *timerHeap) Pop() any {
	old := *h
	t := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	t.index = -1
	return t
}
