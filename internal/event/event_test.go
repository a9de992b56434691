package event

import (
	"slices"
	"sync"
	"testing"
)

type number int

func (number) EventName() string { return "NUMBER" }

// recorder keeps what it is told, with no lock of its own: the bus's must do.
type recorder struct {
	got  []number
	last Stamped
}

func (r *recorder) take(s Stamped) {
	if s.Time.Before(r.last.Time) {
		panic("time goes back")
	}
	r.last = s
	r.got = append(r.got, s.Event.(number))
}

// All observers see the same events in the same order, whoever publishes.
func TestOneOrder(t *testing.T) {
	var b Bus
	var x, y recorder
	defer b.Subscribe(x.take)()
	defer b.Subscribe(y.take)()
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			for j := range 100 {
				b.Publish(number(100*i + j))
			}
		})
	}
	for range 100 { // others come and go meanwhile
		var z recorder
		cancel := b.Subscribe(z.take)
		cancel()
		z.got = nil // nobody else touches it any more: the race detector sees to that
	}
	wg.Wait()
	if len(x.got) != 400 || !slices.Equal(x.got, y.got) {
		t.Errorf("%d and %d events, or in another order", len(x.got), len(y.got))
	}
}

func TestCancel(t *testing.T) {
	var b Bus
	var x, y recorder
	cancel := b.Subscribe(x.take)
	b.Subscribe(y.take)
	b.Publish(number(1))
	cancel()
	cancel()
	b.Publish(number(2))
	if !slices.Equal(x.got, []number{1}) || !slices.Equal(y.got, []number{1, 2}) {
		t.Errorf("got %v and %v", x.got, y.got)
	}
}
