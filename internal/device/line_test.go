package device

import (
	"errors"
	"slices"
	"sync"
	"testing"
)

func TestWiredOr(t *testing.T) {
	var got []bool
	p := NewPin("pin", func(high bool) { got = append(got, high) })
	a, b := p.Connect("a"), p.Connect("b")
	a.SetLevel(true)
	a.SetLevel(true)
	b.SetLevel(true)
	a.SetLevel(false)
	if !p.Level() || a.Level() || !b.Level() {
		t.Error("low while a line is high")
	}
	b.SetLevel(false)
	b.SetLevel(false)
	a.Pulse()
	if want := []bool{true, false, true, false}; !slices.Equal(got, want) {
		t.Errorf("the pin saw %v, want %v", got, want)
	}
	if a.Label() != "a" || p.Label() != "pin" {
		t.Error("labels are lost")
	}
}

// What is not connected can be driven all the same.
func TestUnconnected(t *testing.T) {
	var none *Line
	none.SetLevel(true)
	none.Pulse()
	if none.Level() || none.Label() != "" {
		t.Error("no line is high")
	}
	if _, err := none.BindIRQFD(0, -1); !errors.Is(err, ErrNoIRQFD) {
		t.Error(err)
	}
	l := NewLine("l")
	l.SetLevel(true)
	if !l.Level() {
		t.Error("a line that drives nothing has no level")
	}
	NewPin("deaf", nil).Connect("x").SetLevel(true)
}

func TestWatch(t *testing.T) {
	var log []string
	note := func(who string) func(bool) {
		return func(high bool) {
			if high {
				who := who + "+"
				log = append(log, who)
				return
			}
			log = append(log, who+"-")
		}
	}
	p := NewPin("pin", note("set"))
	l := p.Connect("l")
	p.Watch(note("seen"), false)
	l.Watch(note("line"))
	l.SetLevel(true)
	p.Watch(note("instead"), true)
	l.SetLevel(false)
	p.Watch(nil, false)
	l.Watch(nil)
	l.SetLevel(true)
	if want := []string{"line+", "seen+", "set+", "line-", "instead-", "set+"}; !slices.Equal(log, want) {
		t.Errorf("got %v, want %v", log, want)
	}
}

// A line that was cut stays low, and is low once.
func TestDisconnect(t *testing.T) {
	var got []bool
	p := NewPin("pin", func(high bool) { got = append(got, high) })
	a, b := p.Connect("a"), p.Connect("b")
	a.SetLevel(true)
	a.Disconnect()
	b.Disconnect()
	for _, l := range []*Line{a, b} {
		l.SetLevel(true)
		if l.Level() || p.Level() {
			t.Errorf("%s drives the pin after its end", l.Label())
		}
		l.SetLevel(false)
		l.Disconnect()
	}
	if want := []bool{true, false}; !slices.Equal(got, want) {
		t.Errorf("the pin saw %v, want %v", got, want)
	}
	(*Line)(nil).Disconnect()
}

// However its lines are driven, a pin ends up with their OR, and sees edges in
// turn.
func TestLinesConcurrently(t *testing.T) {
	last, edges := false, 0
	p := NewPin("pin", func(high bool) {
		if high == last {
			t.Errorf("told twice that it is %v", high)
		}
		last = high
		edges++
	})
	var wg sync.WaitGroup
	for i := range 4 {
		l := p.Connect("l")
		wg.Go(func() {
			for j := range 500 {
				l.SetLevel((i+j)%2 == 0)
			}
			l.SetLevel(false)
		})
	}
	wg.Wait()
	if p.Level() || last || edges == 0 {
		t.Errorf("level %v, last told %v, %d edges", p.Level(), last, edges)
	}
}

func TestLimiter(t *testing.T) {
	var l Limiter
	passed := 0
	for range 1000 {
		if _, ok := l.allow(); ok {
			passed++
		}
	}
	if passed < limiterBurst || passed > limiterBurst+2 {
		t.Errorf("%d of 1000 messages passed", passed)
	}
	l.last = l.last.Add(-3e9) // three seconds later
	for i := range 3 {
		suppressed, ok := l.allow()
		if !ok || i == 0 && suppressed != 1000-passed || i > 0 && suppressed != 0 {
			t.Errorf("message %d: passed %v, %d before it did not", i, ok, suppressed)
		}
	}
}
