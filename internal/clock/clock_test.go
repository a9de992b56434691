package clock

import (
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
)

func newSet(t testing.TB) *Set {
	t.Helper()
	s, err := New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

func TestManualClockRunsTimersInOrder(t *testing.T) {
	c := newSet(t).Virtual
	c.SetManual()
	var order []int64
	note := func() { order = append(order, c.Now()) }
	c.NewTimer("b", note).Set(200)
	c.NewTimer("a", note).Set(100)
	late := c.NewTimer("c", note)
	late.Set(150)
	late.Stop()
	var periodic *Timer
	periodic = c.NewTimer("p", func() {
		note()
		if c.Now() < 90 {
			periodic.Set(c.Now() + 40)
		}
	})
	periodic.Set(40)
	c.Advance(250)
	if want := []int64{40, 80, 100, 120, 200}; !slices.Equal(order, want) {
		t.Errorf("timers ran at %v, want %v", order, want)
	}
	if c.Now() != 250 {
		t.Errorf("clock at %d, want 250", c.Now())
	}
}

func TestStoppedClockFiresNothing(t *testing.T) {
	s := newSet(t)
	fired := make(chan int64, 1)
	tm := s.Virtual.NewTimer("t", func() { fired <- s.Virtual.Now() })
	tm.Set(1000)
	// The real-time clock's timer runs on the same thread: once it has fired,
	// the virtual clock's would have had its turn.
	other := make(chan struct{})
	s.Realtime.NewTimer("r", func() { close(other) }).Set(s.Realtime.Now() + 1_000_000)
	<-other
	select {
	case <-fired:
		t.Fatal("a timer fired on a stopped clock")
	default:
	}
	s.Virtual.Start()
	if at := <-fired; at < 1000 {
		t.Errorf("fired at %d, before its deadline", at)
	}
}

func TestStopAndSetNow(t *testing.T) {
	c := newSet(t).Virtual
	c.Start()
	c.Stop()
	a := c.Now()
	if b := c.Now(); a != b {
		t.Errorf("a stopped clock went from %d to %d", a, b)
	}
	c.SetNow(1 << 40)
	if got := c.Now(); got != 1<<40 {
		t.Errorf("set to %d, reads %d", int64(1)<<40, got)
	}
	c.Start()
	if got := c.Now(); got < 1<<40 {
		t.Errorf("went back to %d", got)
	}
}

func TestCloseWaits(t *testing.T) {
	c := newSet(t).Realtime
	in, out := make(chan struct{}), make(chan struct{})
	done := false
	tm := c.NewTimer("t", func() { close(in); <-out; done = true })
	tm.Set(c.Now())
	<-in
	go close(out)
	tm.Close()
	if !done {
		t.Error("Close returned while the timer's function ran")
	}
}

// Close returns when the function neither runs nor will, also when the thread
// has just taken the timer off to call it.
func TestNoCallAfterClose(t *testing.T) {
	c := newSet(t).Realtime
	for range 2000 {
		var closed, late atomic.Bool
		tm := c.NewTimer("t", func() {
			if closed.Load() {
				late.Store(true)
			}
		})
		tm.Set(c.Now())
		tm.Close()
		closed.Store(true)
		tm.Set(c.Now()) // has no effect any more
		if _, armed := tm.Deadline(); armed || late.Load() {
			t.Fatalf("armed %v, called after Close %v", armed, late.Load())
		}
	}
}

// A stopped clock has no function under way: what is saved then is complete.
func TestStopWaits(t *testing.T) {
	c := newSet(t).Virtual
	c.Start()
	in, out := make(chan struct{}), make(chan struct{})
	done := false
	c.NewTimer("t", func() { close(in); <-out; done = true }).Set(c.Now())
	<-in
	go close(out)
	c.Stop()
	if !done {
		t.Error("Stop returned while a timer's function ran")
	}
}

func TestTiesInOrder(t *testing.T) {
	c := newSet(t).Virtual
	c.SetManual()
	var order []int
	for i := range 20 {
		c.NewTimer("t", func() { order = append(order, i) }).Set(100)
	}
	c.Advance(100)
	if !slices.IsSorted(order) || len(order) != 20 {
		t.Errorf("fired in order %v", order)
	}
}

// Deadlines are computed from what guests and saved states say.
func TestExtremeDeadlines(t *testing.T) {
	c := newSet(t).Realtime
	past := make(chan struct{})
	c.NewTimer("past", func() { close(past) }).Set(math.MinInt64)
	c.NewTimer("never", func() { t.Error("fired") }).Set(math.MaxInt64)
	<-past
}

// A timer that always has expired keeps neither others from their turn nor the
// thread from ending.
func TestGreedyTimer(t *testing.T) {
	s := newSet(t)
	var greedy *Timer
	greedy = s.Realtime.NewTimer("greedy", func() { greedy.Set(0) })
	greedy.Set(0)
	fired := make(chan struct{})
	s.Virtual.NewTimer("v", func() { close(fired) }).Set(1)
	s.Virtual.Start()
	<-fired
	s.Close()
}

// When the wall clock is set, deadlines on it move.
func TestWallClockJumps(t *testing.T) {
	s := newSet(t)
	var wall atomic.Int64
	wall.Store(1000)
	s.Host.mu.Lock()
	s.Host.source = wall.Load
	s.Host.mu.Unlock()
	fired := make(chan int64, 1)
	const hour = 3600 * 1_000_000_000
	s.Host.NewTimer("alarm", func() { fired <- s.Host.Now() }).Set(hour)
	wall.Store(hour + 5)
	s.waker.wake() // as the descriptor that notices jumps does
	if at := <-fired; at != hour+5 {
		t.Errorf("fired at %d", at)
	}
}

// Setting a timer is a system call only when the thread would sleep too long.
func TestSetWakesSeldom(t *testing.T) {
	wakes := 0
	c := newClock(Realtime, func() int64 { return 0 }, func() { wakes++ })
	tm := c.NewTimer("t", func() {})
	set := func(deadline int64, want int) {
		t.Helper()
		before := wakes
		tm.Set(deadline)
		if got := wakes - before; got != want {
			t.Errorf("deadline %d: %d wake-ups, want %d", deadline, got, want)
		}
	}
	set(100, 0) // the thread is awake
	if got := c.expire(); got != 100 {
		t.Errorf("sleeps %d", got)
	}
	set(200, 0)
	set(100, 0)
	set(50, 1)
	set(60, 0)
	tm.Stop()
	c.expire()
	set(1<<60, 1)
}

// Everything at once, for the race detector.
func TestConcurrency(t *testing.T) {
	s := newSet(t)
	c := s.Virtual
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 200 {
				tm := c.NewTimer("t", func() {})
				tm.Set(c.Now() + 10_000)
				tm.Deadline()
				tm.Set(c.Now())
				tm.Close()
			}
		})
	}
	for range 200 {
		c.Start()
		c.Stop()
		c.SetNow(c.Now() + 1)
	}
	c.Start()
	wg.Wait()
}

func BenchmarkRearm(b *testing.B) {
	c := newSet(b).Virtual
	tm := c.NewTimer("t", func() {})
	c.NewTimer("first", func() {}).Set(1)
	b.ReportAllocs()
	for i := range b.N {
		tm.Set(int64(i) + 1<<40)
	}
}
