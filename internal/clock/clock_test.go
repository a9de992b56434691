package clock

import (
	"slices"
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

func BenchmarkRearm(b *testing.B) {
	c := newSet(b).Virtual
	tm := c.NewTimer("t", func() {})
	c.NewTimer("first", func() {}).Set(1)
	b.ReportAllocs()
	for i := range b.N {
		tm.Set(int64(i) + 1<<40)
	}
}
