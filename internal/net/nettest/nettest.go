// Package nettest helps to test back ends and cards: it has a card and a back end that
// keep what they are given.
package nettest

import (
	"slices"
	"sync"

	"govmd/internal/net"
)

// End keeps frames. It is half of a card and of a back end.
type End struct {
	mu     sync.Mutex
	frames [][]byte
	room   int // frames that it still takes; -1: any number
	came   chan struct{}
	wakes  chan int
}

func newEnd() *End { return &End{room: -1, came: make(chan struct{}, 1), wakes: make(chan int, 64)} }

// SetRoom says how many more frames it takes; -1 is any number.
func (e *End) SetRoom(n int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.room = n
}

func (e *End) take(frame [][]byte) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.room == 0 {
		return false
	}
	if e.room > 0 {
		e.room--
	}
	e.frames = append(e.frames, slices.Concat(frame...))
	select {
	case e.came <- struct{}{}:
	default:
	}
	return true
}

// Next returns the oldest frame that has not been returned, and waits for it; nil when
// stop is closed before.
func (e *End) Next(stop <-chan struct{}) []byte {
	for {
		e.mu.Lock()
		if len(e.frames) > 0 {
			f := e.frames[0]
			e.frames = e.frames[1:]
			e.mu.Unlock()
			return f
		}
		e.mu.Unlock()
		select {
		case <-e.came:
		case <-stop:
			return nil
		}
	}
}

// Count returns how many frames wait for Next.
func (e *End) Count() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return len(e.frames)
}

// Wake implements net.Card and net.Backend.
func (e *End) Wake(queue int) {
	select {
	case e.wakes <- queue:
	default:
	}
}

// Wakes has the queues of which Wake was called.
func (e *End) Wakes() <-chan int { return e.wakes }

// Card is a network card.
type Card struct {
	*End
	Link   []bool // what LinkChanged said
	Swaps  int    // calls of BackendChanged
	Told   int    // calls of Announce
	Offers *net.Filter
}

// NewCard returns a card.
func NewCard() *Card { return &Card{End: newEnd()} }

// Receive implements net.Card.
func (c *Card) Receive(_ int, frame [][]byte) bool { return c.take(frame) }

// LinkChanged implements net.Card.
func (c *Card) LinkChanged(up bool) { c.Link = append(c.Link, up) }

// BackendChanged implements net.Card.
func (c *Card) BackendChanged() { c.Swaps++ }

// Announce implements net.Card.
func (c *Card) Announce() { c.Told++ }

// Filter implements net.Card.
func (c *Card) Filter() *net.Filter { return c.Offers }

// Backend is a back end.
type Backend struct {
	*End
	Headers bool // HasHeader
	Length  int  // as SetHeader said
	Takes   net.Offloads
	On      *net.Link
	Closed  bool
}

// Options are those of the type "test".
type Options struct {
	Headers *bool `qmp:"headers"`
}

var (
	madeMu sync.Mutex
	made   = map[string]*Backend{}
)

func init() {
	net.Register("test", func(o *net.Opened, opts *Options) (net.Backend, error) {
		b := &Backend{End: newEnd(), Headers: opts.Headers != nil && *opts.Headers}
		madeMu.Lock()
		defer madeMu.Unlock()
		made[o.ID] = b
		return b, nil
	})
}

// Made returns the back end of type "test" that was opened last with that ID.
func Made(id string) *Backend {
	madeMu.Lock()
	defer madeMu.Unlock()
	return made[id]
}

// Type implements net.Backend.
func (*Backend) Type() string { return "test" }

// Info implements net.Backend.
func (*Backend) Info() string { return "fake" }

// Queues implements net.Backend.
func (*Backend) Queues() int { return 1 }

// HasHeader implements net.Backend.
func (b *Backend) HasHeader() bool { return b.Headers }

// SetHeader implements net.Backend.
func (b *Backend) SetHeader(length int, takes net.Offloads) { b.Length, b.Takes = length, takes }

// Start implements net.Backend.
func (b *Backend) Start(l *net.Link) { b.On = l }

// Send implements net.Backend.
func (b *Backend) Send(_ int, frame [][]byte) bool { return b.take(frame) }

// Close implements net.Backend.
func (b *Backend) Close() { b.Closed = true }
