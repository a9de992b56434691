package block

import (
	"context"
	"sync"
)

// DefaultWorkers is how many requests of a queue are under way at once, unless
// it is told otherwise.
const DefaultWorkers = 64

// Queue runs requests on a bounded set of goroutines. Those are made when there
// is work for them and wait for more afterwards; Close ends them.
type Queue struct {
	name  string
	sink  sink
	limit int

	mu      sync.Mutex
	ready   fifo // to be done
	held    fifo // submitted while draining
	workers int  // goroutines
	idle    int  // of them wait
	waking  int  // of those have been told to go on
	active  int  // requests taken and not done, throttled ones too
	hold    int  // drained by so many
	closed  bool
	work    sync.Cond // idle ones wait
	quiet   sync.Cond // active has become 0
	ended   sync.WaitGroup
}

// sink decides what becomes of a queue's requests: a Backend, or a bare child.
type sink interface {
	// admit is called before a request is queued; false: it has been taken aside.
	admit(r *Request) bool
	// run carries the request out.
	run(r *Request) error
	// fast returns the node that r could go to at once, nil if there is more to do.
	fast(r *Request) *Node
	// finish is called with the result; false: the request has been taken aside.
	finish(r *Request, err error) bool
}

func newQueue(name string, s sink, limit int) *Queue {
	if limit <= 0 {
		limit = DefaultWorkers
	}
	q := &Queue{name: name, sink: s, limit: limit}
	q.work.L, q.quiet.L = &q.mu, &q.mu
	return q
}

// NewChildQueue returns a queue whose requests go to a child as they are, with
// at most limit of them at once (0: DefaultWorkers): for jobs and exports, whose
// Parent implementation holds and waits for it in DrainBegin, DrainWait and DrainEnd.
func NewChildQueue(name string, c *Child, limit int) *Queue {
	return newQueue(name, &childSink{c}, limit)
}

type childSink struct{ c *Child }

func (s *childSink) admit(*Request) bool { return true }

func (s *childSink) run(r *Request) error { return r.perform(s.c) }

func (s *childSink) fast(*Request) *Node { return s.c.Node() }

func (s *childSink) finish(*Request, error) bool { return true }

// Submit hands a request over. It never waits and may be called from anywhere,
// a request's Done included. After Close the request fails with ErrCancelled.
func (q *Queue) Submit(r *Request) {
	r.queue = q
	traceSubmit.Emit(r, r.Op, r.Off, r.Len)
	if q.sink.admit(r) {
		q.enqueue(r)
	}
}

// enqueue queues r past the sink's admission.
func (q *Queue) enqueue(r *Request) {
	q.mu.Lock()
	switch {
	case q.closed:
		q.mu.Unlock()
		r.Done(r, ErrCancelled)
		return
	case q.hold > 0:
		q.held.push(r)
		q.mu.Unlock()
		return
	}
	q.active++
	q.ready.push(r)
	q.wake()
	q.mu.Unlock()
}

// wake sees to it that somebody takes what is ready. A worker that is on its way
// wakes the next when there is more than it can take: a burst that is served from
// the page cache stays on few goroutines.
func (q *Queue) wake() {
	switch {
	case q.waking > 0:
	case q.idle > 0:
		q.waking++
		q.work.Signal()
	case q.workers < q.limit:
		q.workers++
		q.waking++
		q.ended.Add(1)
		go q.worker()
	}
}

func (q *Queue) worker() {
	defer q.ended.Done()
	q.mu.Lock()
	q.waking--
	for {
		r := q.ready.pop()
		for r == nil {
			if q.closed {
				q.mu.Unlock()
				return
			}
			q.idle++
			q.work.Wait()
			q.idle--
			if q.waking > 0 {
				q.waking--
			}
			r = q.ready.pop()
		}
		if q.ready.n > 0 {
			q.wake()
		}
		q.mu.Unlock()
		q.tell(r, q.sink.run(r))
		q.mu.Lock()
		q.leave()
	}
}

// complete ends a request that was active.
func (q *Queue) complete(r *Request, err error) {
	q.tell(r, err)
	q.mu.Lock()
	q.leave()
	q.mu.Unlock()
}

// tell hands a request's result to its owner.
func (q *Queue) tell(r *Request, err error) {
	traceDone.Emit(r, err)
	if q.sink.finish(r, err) {
		r.Done(r, err)
	}
}

// leave notes that a request is not active any more. mu is held.
func (q *Queue) leave() {
	q.active--
	if q.active == 0 {
		q.quiet.Broadcast()
	}
}

// Hold keeps requests that come from now on until Release. Calls nest.
func (q *Queue) Hold() {
	q.mu.Lock()
	q.hold++
	q.mu.Unlock()
}

// Release ends what Hold began.
func (q *Queue) Release() {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.hold--; q.hold > 0 {
		return
	}
	for r := q.held.pop(); r != nil; r = q.held.pop() {
		q.active++
		q.ready.push(r)
	}
	if q.ready.n > 0 {
		q.wake()
	}
}

// Wait returns when no request is under way: none is queued, running, or has a
// Done that has not returned. It returns early when ctx ends.
func (q *Queue) Wait(ctx context.Context) error {
	stop := context.AfterFunc(ctx, func() {
		q.mu.Lock()
		q.quiet.Broadcast()
		q.mu.Unlock()
	})
	defer stop()
	q.mu.Lock()
	defer q.mu.Unlock()
	for q.active > 0 && ctx.Err() == nil {
		q.quiet.Wait()
	}
	if q.active > 0 {
		return context.Cause(ctx)
	}
	return nil
}

// Active returns how many requests are under way.
func (q *Queue) Active() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.active + q.held.n
}

// Close waits for what is under way, fails what is held, and ends the goroutines.
// It must not be called from a request's Done.
func (q *Queue) Close() {
	_ = q.Wait(context.Background()) // it cannot end early
	q.mu.Lock()
	q.closed = true
	held := q.held
	q.held = fifo{}
	q.work.Broadcast()
	q.mu.Unlock()
	for r := held.pop(); r != nil; r = held.pop() {
		r.Done(r, ErrCancelled)
	}
	q.ended.Wait()
}
