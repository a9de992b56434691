package block

import (
	"context"
	"sync"
)

// tracker knows the requests that are under way on a node: for draining, and so
// that a serialising request (a read-modify-write, a copy-on-read) is alone on its
// range.
type tracker struct {
	mu      sync.Mutex
	head    tracked // of a ring, oldest first
	free    *tracked
	count   int
	serial  int // serialising ones among them
	waiting int
	changed sync.Cond
}

// tracked is one request under way.
type tracked struct {
	next, prev *tracked
	off, end   int64
	serial     bool
}

func (t *tracker) init() {
	t.head.next, t.head.prev = &t.head, &t.head
	t.changed.L = &t.mu
}

// begin adds a request and waits for those that came before it and that it must
// not run beside.
func (t *tracker) begin(off, n int64, serial bool) *tracked {
	t.mu.Lock()
	r := t.add(off, n, serial)
	for t.serial > 0 && t.conflict(r.prev, r.off, r.end, serial) {
		t.waiting++
		t.changed.Wait()
		t.waiting--
	}
	t.mu.Unlock()
	return r
}

// add adds a request without waiting. mu is held.
func (t *tracker) add(off, n int64, serial bool) *tracked {
	r := t.free
	if r != nil {
		t.free = r.next
	} else {
		r = new(tracked)
	}
	r.off, r.end, r.serial = off, off+n, serial
	r.prev, r.next = t.head.prev, &t.head
	r.prev.next, t.head.prev = r, r
	t.count++
	if serial {
		t.serial++
	}
	return r
}

// conflict reports whether a request must not run beside one of those from o back.
// mu is held.
func (t *tracker) conflict(o *tracked, off, end int64, serial bool) bool {
	for ; o != &t.head; o = o.prev {
		if (o.serial || serial) && o.off < end && off < o.end {
			return true
		}
	}
	return false
}

func (t *tracker) end(r *tracked) {
	t.mu.Lock()
	r.prev.next, r.next.prev = r.next, r.prev
	t.count--
	if r.serial {
		t.serial--
	}
	r.next, t.free = t.free, r
	if t.waiting > 0 {
		t.changed.Broadcast()
	}
	t.mu.Unlock()
}

// waitIdle returns when no request is under way, or early when ctx ends.
func (t *tracker) waitIdle(ctx context.Context) error {
	t.mu.Lock()
	idle := t.count == 0
	t.mu.Unlock()
	if idle {
		return nil
	}
	stop := context.AfterFunc(ctx, func() {
		t.mu.Lock()
		t.changed.Broadcast()
		t.mu.Unlock()
	})
	defer stop()
	t.mu.Lock()
	defer t.mu.Unlock()
	for t.count > 0 && ctx.Err() == nil {
		t.waiting++
		t.changed.Wait()
		t.waiting--
	}
	if t.count > 0 {
		return context.Cause(ctx)
	}
	return nil
}
