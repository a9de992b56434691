// Package event is the bus on which subsystems announce what has happened.
//
// The bus is for observers: monitors, logs, tests. Nothing that must happen may
// hang on it; what must happen is a call, a run-state notifier or a post to the
// control lane.
package event

import (
	"slices"
	"sync"
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
	mu   sync.Mutex // held while subscribers are called, so that all see one order
	subs []*func(Stamped)
}

// Publish stamps ev and hands it to every subscriber in turn. It may be called
// from any goroutine and does not block: subscribers queue, they do not work.
func (b *Bus) Publish(ev Event) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.subs) == 0 {
		return
	}
	s := Stamped{Time: time.Now(), Event: ev}
	for _, fn := range b.subs {
		(*fn)(s)
	}
}

// Subscribe adds an observer. fn runs on the publisher's goroutine with the bus
// locked: it must not block, publish, subscribe or cancel. The returned function
// removes the observer; once it has returned fn is not called again.
func (b *Bus) Subscribe(fn func(Stamped)) (cancel func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.subs = append(b.subs, &fn)
	return func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.subs = slices.DeleteFunc(b.subs, func(f *func(Stamped)) bool { return f == &fn })
	}
}
