// Package lane is the control lane: the one place where the structure of a
// virtual machine changes.
//
// The device tree, the block graph, back-end wiring, the object tree and the
// run state are changed only by functions that the lane runs, one at a time, in
// the order in which they were posted. The data path posts to the lane but
// never waits for it.
package lane

import (
	"context"
	"errors"
	"sync"
)

// ErrClosed is returned by Do when the lane ended before the function ran.
var ErrClosed = errors.New("control lane is closed")

// Lane runs posted functions one at a time.
type Lane struct {
	mu     sync.Mutex
	queue  []func()
	closed bool
	wake   chan struct{} // capacity 1
	done   chan struct{} // closed when Run has returned
}

// New returns a lane; Run must be called for anything to happen on it.
func New() *Lane {
	return &Lane{wake: make(chan struct{}, 1), done: make(chan struct{})}
}

// Post queues fn. It never blocks and may be called from any goroutine, the
// lane's own included. What a guest can trigger at will must be posted through
// a Task, so that the queue stays bounded. After Close it does nothing and
// returns false.
func (l *Lane) Post(fn func()) bool {
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		return false
	}
	l.queue = append(l.queue, fn)
	length := len(l.queue)
	l.mu.Unlock()
	tracePost.Emit(length)
	select {
	case l.wake <- struct{}{}:
	default:
	}
	return true
}

// Do posts fn and waits until it has run. It must not be called on the lane,
// nor while holding a lock that anything on the lane takes. When ctx ends first
// Do returns its error, and fn still runs later.
func (l *Lane) Do(ctx context.Context, fn func()) error {
	ran := make(chan struct{})
	if !l.Post(func() { defer close(ran); fn() }) {
		return ErrClosed
	}
	select {
	case <-ran:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-l.done:
		select {
		case <-ran:
			return nil
		default:
			return ErrClosed
		}
	}
}

// keepQueue is how many entries of room the queue keeps when it is empty.
const keepQueue = 256

// Run executes posted functions until Close is called. Functions that were
// queued before Close still run.
func (l *Lane) Run() {
	defer close(l.done)
	var batch []func()
	for {
		if cap(batch) > keepQueue {
			batch = nil // a burst is over
		}
		l.mu.Lock()
		batch, l.queue = l.queue, batch[:0]
		closed := l.closed
		l.mu.Unlock()
		for i, fn := range batch {
			batch[i] = nil
			fn()
		}
		if len(batch) > 0 {
			continue
		}
		if closed {
			return
		}
		<-l.wake
	}
}

// Close ends Run once the queue is empty. It may be called on the lane.
func (l *Lane) Close() {
	traceClose.Emit()
	l.mu.Lock()
	l.closed = true
	l.mu.Unlock()
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// Done is closed when Run has returned.
func (l *Lane) Done() <-chan struct{} { return l.done }

// Task is a function that is queued at most once: scheduling it again before it
// has begun does nothing. Guest-triggered work uses it, so that a guest cannot
// make the queue grow.
type Task struct {
	lane *Lane
	fn   func()
	run  func()

	mu     sync.Mutex
	queued bool
}

// NewTask returns a task that runs fn on l.
func (l *Lane) NewTask(fn func()) *Task {
	t := &Task{lane: l, fn: fn}
	t.run = func() {
		t.mu.Lock()
		t.queued = false
		t.mu.Unlock()
		t.fn()
	}
	return t
}

// Schedule queues the task unless it is queued already. It never blocks.
func (t *Task) Schedule() {
	t.mu.Lock()
	post := !t.queued
	t.queued = true
	t.mu.Unlock()
	if post {
		traceTask.Emit()
		t.lane.Post(t.run)
	}
}
