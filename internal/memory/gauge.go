package memory

import (
	"sync"
	"sync/atomic"
)

// gauge counts who is inside something, cheaply, and lets others wait until
// nobody is. A leaver and a waiter cannot miss each other: the leaver lowers n
// and then looks at waiting, the waiter raises waiting and then looks at n.
type gauge struct {
	n       atomic.Int64
	waiting atomic.Int32
}

// quiet is where waiters for any gauge of a System sleep. Waiting is rare.
type quiet struct {
	mu   sync.Mutex
	cond sync.Cond
}

// closed is added to a gauge's count to keep newcomers out: the count is below
// zero from then on.
const closed = -1 << 62

// enter adds one, and reports whether the gauge is open. Leave must follow in either case.
func (g *gauge) enter() bool { return g.n.Add(1) > 0 }

func (g *gauge) leave(q *quiet) {
	g.n.Add(-1)
	if g.waiting.Load() != 0 {
		q.mu.Lock()
		q.cond.Broadcast()
		q.mu.Unlock()
	}
}

// wait returns when the count is base.
func (g *gauge) wait(q *quiet, base int64) {
	if g.n.Load() == base {
		return
	}
	g.waiting.Add(1)
	q.mu.Lock()
	for g.n.Load() != base {
		q.cond.Wait()
	}
	q.mu.Unlock()
	g.waiting.Add(-1)
}
