package net

import (
	"slices"
	"sync"
	"sync/atomic"
)

// Tap sees the frames of a link, of one direction or both (filter-dump).
type Tap interface {
	// Frame is called for each frame that has been taken by its receiver; header
	// is the length of the virtio-net header that it begins with.
	Frame(fromGuest bool, header int, frame [][]byte)
}

// Link joins a card and a back end, of which either may be missing.
type Link struct {
	// ctl is held while the link changes; before the sides' locks, of which only one is
	// held at a time.
	ctl                   sync.Mutex
	cardDown, backendDown bool // as set_link has it
	sending               side // the guest's frames
	delivering            side // those for the guest

	card    Card    // read under ctl or delivering.mu, changed under both
	backend Backend // read under ctl or sending.mu, changed under both
}

// side is one direction.
type side struct {
	mu      sync.RWMutex // held for reading while a frame passes
	up      bool         // the cable is in
	header  int
	taps    []Tap
	dropped atomic.Uint64 // frames that there was nobody to take
}

func (s *side) tap(fromGuest bool, frame [][]byte) {
	for _, t := range s.taps {
		t.Frame(fromGuest, s.header, frame)
	}
}

func newLink() *Link {
	l := &Link{}
	l.sending.up, l.delivering.up = true, true
	return l
}

// Send hands over a frame of the guest's. False: not now; Card.Wake follows.
func (l *Link) Send(queue int, frame [][]byte) bool {
	s := &l.sending
	s.mu.RLock()
	defer s.mu.RUnlock()
	if !s.up || l.backend == nil {
		s.dropped.Add(1)
		return true
	}
	if !l.backend.Send(queue, frame) {
		return false
	}
	s.tap(true, frame)
	return true
}

// Deliver hands over a frame for the guest, with a virtio-net header of that length.
// False: not now; Backend.Wake follows. A frame that the back end took before the length
// became another one is lost.
func (l *Link) Deliver(queue, header int, frame [][]byte) bool {
	s := &l.delivering
	s.mu.RLock()
	defer s.mu.RUnlock()
	if !s.up || l.card == nil || header != s.header {
		s.dropped.Add(1)
		return true
	}
	if !l.card.Receive(queue, frame) {
		return false
	}
	s.tap(false, frame)
	return true
}

// WakeCard says that the back end can take a frame again.
func (l *Link) WakeCard(queue int) {
	l.delivering.mu.RLock()
	defer l.delivering.mu.RUnlock()
	if l.card != nil {
		l.card.Wake(queue)
	}
}

// WakeBackend says that the card can take a frame again.
func (l *Link) WakeBackend(queue int) {
	l.sending.mu.RLock()
	defer l.sending.mu.RUnlock()
	if l.backend != nil {
		l.backend.Wake(queue)
	}
}

// Dropped returns how many frames there was nobody to take: the guest's, and those for
// the guest.
func (l *Link) Dropped() (sent, received uint64) {
	return l.sending.dropped.Load(), l.delivering.dropped.Load()
}

// HasHeader reports whether there is a back end with which the card may use a
// virtio-net header.
func (l *Link) HasHeader() bool {
	l.ctl.Lock()
	defer l.ctl.Unlock()
	return l.backend != nil && l.backend.HasHeader()
}

// Queues returns how many pairs of queues the back end has, 1 without one.
func (l *Link) Queues() int {
	l.ctl.Lock()
	defer l.ctl.Unlock()
	if l.backend == nil {
		return 1
	}
	return l.backend.Queues()
}

// Up reports whether there is a back end and the cable is in, at both ends.
func (l *Link) Up() bool {
	l.ctl.Lock()
	defer l.ctl.Unlock()
	return l.upLocked() && l.backend != nil
}

func (l *Link) upLocked() bool { return !l.cardDown && !l.backendDown }

// SetHeader says how the frames of the card look: the length of their virtio-net
// header, 0 for none, and what the guest takes. The card sends nothing meanwhile; it may
// be called from anywhere but a queue's handler.
func (l *Link) SetHeader(length int, takes Offloads) {
	l.ctl.Lock()
	defer l.ctl.Unlock()
	l.change(func(s *side) { s.header = length })
	if l.backend != nil {
		l.backend.SetHeader(length, takes)
	}
}

// change changes both directions; ctl is held.
func (l *Link) change(fn func(s *side)) {
	for _, s := range []*side{&l.delivering, &l.sending} {
		s.mu.Lock()
		fn(s)
		s.mu.Unlock()
	}
}

// setDown takes one end down or up, and tells the card when that changes anything. It
// runs on the lane, as what follows does.
func (l *Link) setDown(end *bool, down bool) {
	was := l.Up()
	l.ctl.Lock()
	*end = down
	l.change(func(s *side) { s.up = l.upLocked() })
	l.ctl.Unlock()
	l.tell(was)
}

// tell tells both ends of the link's state, if it was another before.
func (l *Link) tell(was bool) {
	up := l.Up()
	if up == was {
		return
	}
	if l.card != nil {
		l.card.LinkChanged(up)
	}
	if w, ok := l.backend.(LinkWatcher); ok {
		w.LinkChanged(up)
	}
	if up {
		for q := range l.Queues() {
			l.WakeCard(q)
			l.WakeBackend(q)
		}
	}
}

// setBackend exchanges the back end; nil takes it away.
func (l *Link) setBackend(b Backend) {
	was := l.Up()
	l.ctl.Lock()
	l.backendDown = false
	l.change(func(s *side) {
		if s == &l.sending {
			l.backend = b
		}
		s.up, s.header = l.upLocked(), 0
	})
	l.ctl.Unlock()
	if l.card != nil {
		l.card.BackendChanged()
	}
	l.tell(was)
}

// setCard exchanges the card; nil takes it away.
func (l *Link) setCard(c Card) {
	l.ctl.Lock()
	defer l.ctl.Unlock()
	l.cardDown = false
	l.change(func(s *side) {
		if s == &l.delivering {
			l.card = c
		}
		s.up, s.header = l.upLocked(), 0
	})
	if l.backend != nil {
		l.backend.SetHeader(0, 0)
	}
}

// AddTap has t see the link's frames, until RemoveTap.
func (l *Link) AddTap(t Tap) {
	l.ctl.Lock()
	defer l.ctl.Unlock()
	l.change(func(s *side) { s.taps = append(slices.Clone(s.taps), t) })
}

// RemoveTap ends what AddTap began: when it returns t is not in use.
func (l *Link) RemoveTap(t Tap) {
	l.ctl.Lock()
	defer l.ctl.Unlock()
	l.change(func(s *side) { s.taps = slices.DeleteFunc(slices.Clone(s.taps), func(x Tap) bool { return x == t }) })
}
