package net

import (
	"slices"
	"sync"
	"sync/atomic"
)

// Tap sees the frames of a link, of one direction or both (filter-dump).
type Tap interface {
	// Frame is called for each frame that passes, before its receiver takes it; header
	// is the length of the virtio-net header that it begins with.
	Frame(fromGuest bool, header int, frame [][]byte)
}

// Link joins a card and a back end, of which either may be missing.
type Link struct {
	mu      sync.RWMutex // see the package's comment
	card    Card
	backend Backend
	up      bool // both ends are
	header  int
	taps    []Tap

	cardDown, backendDown bool // as set_link has it; lane only

	dropped [2]atomic.Uint64 // frames that nobody took: of the guest's, for the guest
}

func newLink() *Link { return &Link{up: true} }

// Send hands over a frame of the guest's. False: not now; Card.Wake follows.
func (l *Link) Send(queue int, frame [][]byte) bool {
	l.mu.RLock()
	defer l.mu.RUnlock()
	if !l.up || l.backend == nil {
		l.dropped[0].Add(1)
		return true
	}
	for _, t := range l.taps {
		t.Frame(true, l.header, frame)
	}
	return l.backend.Send(queue, frame)
}

// Deliver hands over a frame for the guest, with a virtio-net header of that length.
// False: not now; Backend.Wake follows. A frame that the back end took before the length
// became another one is lost.
func (l *Link) Deliver(queue, header int, frame [][]byte) bool {
	l.mu.RLock()
	defer l.mu.RUnlock()
	if !l.up || l.card == nil || header != l.header {
		l.dropped[1].Add(1)
		return true
	}
	if !l.card.Receive(queue, frame) {
		return false
	}
	for _, t := range l.taps {
		t.Frame(false, l.header, frame)
	}
	return true
}

// WakeCard says that the back end can take a frame again, and WakeBackend that the
// card can.
func (l *Link) WakeCard(queue int) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	if l.card != nil {
		l.card.Wake(queue)
	}
}

// WakeBackend is described at WakeCard.
func (l *Link) WakeBackend(queue int) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	if l.backend != nil {
		l.backend.Wake(queue)
	}
}

// Dropped returns how many frames there was nobody to take: the guest's, and those for
// the guest.
func (l *Link) Dropped() (sent, received uint64) {
	return l.dropped[0].Load(), l.dropped[1].Load()
}

// HasHeader reports whether there is a back end with which the card may use a
// virtio-net header. It runs on the lane, as what follows does.
func (l *Link) HasHeader() bool { return l.backend != nil && l.backend.HasHeader() }

// Queues returns how many pairs of queues the back end has, 1 without one.
func (l *Link) Queues() int {
	if l.backend == nil {
		return 1
	}
	return l.backend.Queues()
}

// Up reports whether the cable is in, at both ends.
func (l *Link) Up() bool {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.up && l.backend != nil
}

// SetHeader says how the frames of the card look: the length of their virtio-net
// header, 0 for none, and what the guest takes. No frame is under way meanwhile.
func (l *Link) SetHeader(length int, takes Offloads) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.header = length
	if l.backend != nil {
		l.backend.SetHeader(length, takes)
	}
}

// setDown takes one end down or up, and tells the card when that changes anything.
func (l *Link) setDown(end *bool, down bool) {
	was := l.Up()
	*end = down
	l.mu.Lock()
	l.up = !l.cardDown && !l.backendDown
	l.mu.Unlock()
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
	l.mu.Lock()
	l.backend, l.backendDown, l.header = b, false, 0
	l.up = !l.cardDown
	l.mu.Unlock()
	if l.card != nil {
		l.card.BackendChanged()
	}
	l.tell(was)
}

// setCard exchanges the card; nil takes it away.
func (l *Link) setCard(c Card) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.card, l.cardDown, l.header = c, false, 0
	l.up = !l.backendDown
	if c == nil && l.backend != nil {
		l.backend.SetHeader(0, 0)
	}
}

// AddTap has t see the link's frames, until RemoveTap.
func (l *Link) AddTap(t Tap) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.taps = append(slices.Clone(l.taps), t)
}

// RemoveTap ends what AddTap began: when it returns t is not in use.
func (l *Link) RemoveTap(t Tap) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.taps = slices.DeleteFunc(slices.Clone(l.taps), func(x Tap) bool { return x == t })
}
