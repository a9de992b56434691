package scsi

import (
	"sync/atomic"

	"govmd/internal/block"
)

// ioDone is told that the block layer has carried out a step of a request.
func ioDone(br *block.Request, err error) {
	r := br.Owner.(*Request)
	u := r.unit
	u.mu.Lock()
	if err == nil && len(r.aborts) == 0 && r.more() {
		u.mu.Unlock()
		u.queue.Submit(&r.io)
		return
	}
	switch {
	case len(r.aborts) > 0 || err != nil && block.Errno(err) == block.ErrCancelled:
		r.Aborted = true
	case err != nil:
		r.fail(senseOf(err))
	default:
		r.Moved = r.want
	}
	u.ended(r)
	u.untrack(r)
	aborts := r.aborts
	r.aborts = nil
	r.aborting.Store(false)
	u.mu.Unlock()
	r.done(r) // from here on it may be another one
	for _, a := range aborts {
		a.ended()
	}
}

// track keeps a request among those under way. mu is held.
func (u *Unit) track(r *Request) {
	r.unit = u
	r.prev, r.next = nil, u.underway
	if r.next != nil {
		r.next.prev = r
	}
	u.underway = r
}

func (u *Unit) untrack(r *Request) {
	if r.prev != nil {
		r.prev.next = r.next
	} else {
		u.underway = r.next
	}
	if r.next != nil {
		r.next.prev = r.prev
	}
	r.prev, r.next = nil, nil
}

// Has reports whether a request with that tag is under way.
func (u *Unit) Has(tag uint64) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	for r := u.underway; r != nil; r = r.next {
		if r.Tag == tag {
			return true
		}
	}
	return false
}

// Busy reports whether any request is under way.
func (u *Unit) Busy() bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.underway != nil
}

// Abort ends requests before their time. Storage cannot be called back: what it is
// at work with ends when it is done, and then Abort has ended, too.
type Abort struct {
	left atomic.Int32
	done func()
}

// NewAbort returns an Abort, which calls done, on any goroutine, when all that Add has
// named have ended and Go has been called.
func NewAbort(done func()) *Abort {
	a := &Abort{done: done}
	a.left.Store(1)
	return a
}

// Add has those of a unit's requests end that match. match is called with the unit
// locked.
func (a *Abort) Add(u *Unit, match func(*Request) bool) {
	u.mu.Lock()
	for r := u.underway; r != nil; r = r.next {
		if match(r) {
			r.aborts = append(r.aborts, a)
			r.aborting.Store(true)
			a.left.Add(1)
		}
	}
	u.mu.Unlock()
	u.backend.CancelParkedIf(func(br *block.Request) bool {
		r, ok := br.Owner.(*Request)
		return ok && r.aborting.Load()
	})
}

// Go says that nothing will be added.
func (a *Abort) Go() { a.ended() }

func (a *Abort) ended() {
	if a.left.Add(-1) == 0 {
		a.done()
	}
}
