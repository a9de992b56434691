// Package event is the bus on which subsystems announce what has happened.
//
// The bus is for observers: monitors, logs, tests. Nothing that must happen may
// hang on it; what must happen is a call, a run-state notifier or a post to the
// control lane.
package event

import (
	"sync"
	"sync/atomic"
	"time"
)

// An Event is something that has happened. Its name is that of the QMP event
// ("SHUTDOWN"); its JSON form is the event's data object. Events are values:
// once published they are shared by all observers and must not change.
type Event interface {
	EventName() string
}

// Stamped is an event with the moment at which it was published.
type Stamped struct {
	Time  time.Time
	Event Event
}

// Bus hands published events to its subscribers. The zero value is ready to use.
type Bus struct {
	mu   sync.Mutex // serialises Subscribe, cancel and Publish, so that all observers see one order
	subs atomic.Pointer[[]*subscription]
}

type subscription struct {
	fn func(Stamped)
}

// Publish stamps ev and hands it to every subscriber in turn. It may be called
// from any goroutine and does not block: subscribers queue, they do not work.
func (b *Bus) Publish(ev Event) {
	b.mu.Lock()
	defer b.mu.Unlock()
	subs := b.subs.Load()
	if subs == nil {
		return
	}
	s := Stamped{Time: time.Now(), Event: ev}
	for _, sub := range *subs {
		sub.fn(s)
	}
}

// Subscribe adds an observer. fn runs on the publisher's goroutine with the bus
// locked: it must not block, publish, or subscribe. The returned function
// removes the observer; once it has returned fn is not called again.
func (b *Bus) Subscribe(fn func(Stamped)) (cancel func()) {
	sub := &subscription{fn: fn}
	b.replace(func(old []*subscription) []*subscription { return append(old, sub) })
	return func() {
		b.replace(func(old []*subscription) []*subscription {
			for i, s := range old {
				if s == sub {
					return append(old[:i], old[i+1:]...)
				}
			}
			return old
		})
	}
}

func (b *Bus) replace(change func([]*subscription) []*subscription) {
	b.mu.Lock()
	defer b.mu.Unlock()
	var old []*subscription
	if p := b.subs.Load(); p != nil {
		old = append(old, *p...)
	}
	next := change(old)
	b.subs.Store(&next)
}
