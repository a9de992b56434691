package block

import (
	"slices"

	"govmd/internal/runstate"
)

// runStatePriority is where back ends act on stop and cont: after the devices
// have been told to go on, and before they are told to stop.
const runStatePriority = 50

// OnError is what happens when a request fails.
type OnError string

// The reactions, as rerror and werror name them.
const (
	OnErrorReport OnError = "report" // the guest is told
	OnErrorIgnore OnError = "ignore" // the guest is told that all is well
	OnErrorStop   OnError = "stop"   // the machine stops; the request is tried again on cont
	OnErrorEnospc OnError = "enospc" // stop when the host's storage is full, else report
)

// EnumValues implements qmp.Enum.
func (OnError) EnumValues() []string { return []string{"report", "ignore", "enospc", "stop"} }

// Policy says what happens on errors.
type Policy struct{ Read, Write OnError }

// SetPolicy sets what happens on errors.
func (b *Backend) SetPolicy(p Policy) { b.policy.Store(&p) }

// Policy returns what was set.
func (b *Backend) Policy() Policy { return *b.policy.Load() }

// IOStatus is what query-block says of the last errors.
type IOStatus string

// The states.
const (
	IOStatusOK      IOStatus = "ok"
	IOStatusFailed  IOStatus = "failed"
	IOStatusNoSpace IOStatus = "nospace"
)

// EnumValues implements qmp.Enum.
func (IOStatus) EnumValues() []string { return []string{"ok", "failed", "nospace"} }

var ioStatuses = [...]IOStatus{IOStatusOK, IOStatusFailed, IOStatusNoSpace}

// EnableIOStatus is called by devices that support stopping on errors.
func (b *Backend) EnableIOStatus() { b.useStatus.Store(true) }

// IOStatus returns the status; ok is false when the device, or the policy, has
// none. It may be called from anywhere.
func (b *Backend) IOStatus() (s IOStatus, ok bool) {
	p := b.Policy()
	can := b.useStatus.Load() && (p.Write == OnErrorEnospc || p.Write == OnErrorStop || p.Read == OnErrorStop)
	return ioStatuses[b.ioStatus.Load()], can
}

// ResetIOStatus makes it ok, as a reset and cont do.
func (b *Backend) ResetIOStatus() { b.ioStatus.Store(0) }

// NewQueue returns a queue of the device's, with at most limit requests at once
// (0: DefaultWorkers).
func (b *Backend) NewQueue(name string, limit int) *Queue {
	q := newQueue(name, backendSink{b}, limit)
	if c := b.root.Load(); c != nil && c.quiesced {
		q.Hold()
	}
	b.queues = append(b.queues, q)
	return q
}

// CloseQueue ends a queue of the device's.
func (b *Backend) CloseQueue(q *Queue) {
	b.queues = slices.DeleteFunc(b.queues, func(x *Queue) bool { return x == q })
	if c := b.root.Load(); c != nil && c.quiesced {
		q.Release()
	}
	q.Close()
}

// SetThrottle sets or, with nil, ends throttling. Requests that are kept by the
// former throttle are resumed by it.
func (b *Backend) SetThrottle(t *ThrottleMember) {
	drained := false
	if c := b.root.Load(); c != nil {
		drained = c.quiesced
	}
	if old := b.Throttle(); old != nil && drained {
		old.Restore()
	}
	if t != nil && drained {
		t.Suspend()
	}
	b.throttle.Store(t)
}

// Throttle returns what was set, or nil.
func (b *Backend) Throttle() *ThrottleMember { return b.throttle.Load() }

// isWrite reports whether r is accounted as a write.
func (r *Request) isWrite() bool { return r.Op == OpWrite || r.Op == OpZeroes || r.Op == OpDiscard }

// backendSink is what becomes of a device's requests.
type backendSink struct{ b *Backend }

func (s backendSink) admit(r *Request) bool {
	r.start = s.b.acct.now()
	if t := s.b.Throttle(); t != nil && (r.Op == OpRead || r.isWrite()) {
		return t.admit(r.isWrite(), kept{r: r, bytes: r.bytes()})
	}
	return true
}

func (s backendSink) run(r *Request) error {
	c := s.b.root.Load()
	if c == nil && r.Op != OpCall {
		return ErrNoMedium
	}
	switch r.Op {
	case OpRead, OpWrite, OpZeroes, OpDiscard:
		if err := s.check(c, r); err != nil {
			return err
		}
	}
	if !s.b.cache.Load() && (r.Op == OpWrite || r.Op == OpZeroes) {
		f := r.Flags
		r.Flags |= FUA
		err := r.perform(c)
		r.Flags = f
		return err
	}
	return r.perform(c)
}

func (s backendSink) fast(r *Request) *Node {
	c := s.b.root.Load()
	if c == nil || s.check(c, r) != nil || r.Op == OpWrite && !s.b.cache.Load() {
		return nil
	}
	return c.Node()
}

// check refuses what is outside the medium: a device checks, too, but the medium
// can have changed since.
func (s backendSink) check(c *Child, r *Request) error {
	n := r.bytes()
	if err := checkRange(r.Off, n); err != nil {
		return err
	}
	if r.Off+n > sectors(c.Length()) {
		return ErrIO
	}
	if r.Op != OpRead && !s.b.writable.Load() {
		return ErrReadOnly
	}
	return nil
}

func (s backendSink) finish(r *Request, err error) bool {
	b := s.b
	if err != nil && r.Op != OpCall && r.Op != OpDiscard {
		switch b.onError(r, err) {
		case OnErrorStop:
			return false
		case OnErrorIgnore:
			err = nil
			r.Flags |= ignored
		}
	}
	if !r.NoAccounting && r.Op != OpCall {
		b.acct.done(r, err)
	}
	if r.Flags&ignored != 0 {
		r.Flags &^= ignored
		r.Done(r, nil)
		return false
	}
	return true
}

// ignored marks a request whose error the guest is not told of.
const ignored Flags = 1 << 31

// onError decides what happens to a failed request, announces it, and parks it
// if the machine stops.
func (b *Backend) onError(r *Request, err error) OnError {
	p := b.policy.Load()
	read := r.Op == OpRead
	action := p.Write
	if read {
		action = p.Read
	}
	no := Errno(err)
	if action == OnErrorEnospc {
		action = OnErrorReport
		if no == ErrNoSpace {
			action = OnErrorStop
		}
	}
	if no == ErrNoMedium || no == ErrCancelled || action == OnErrorStop && b.graph.env.RunState == nil {
		action = OnErrorReport
	}
	if action == OnErrorStop {
		status := int32(1)
		if no == ErrNoSpace {
			status = 2
		}
		b.ioStatus.CompareAndSwap(0, status)
		b.parkMu.Lock()
		b.parked.push(r)
		b.parkMu.Unlock()
	}
	if no != ErrNoMedium && no != ErrCancelled {
		b.publishError(r, action, no)
	}
	if action == OnErrorStop {
		b.graph.env.RunState.RequestStop(runstate.IOError)
	}
	return action
}

// runStateChanged retries what is parked when the machine goes on.
func (b *Backend) runStateChanged(running bool, _ runstate.State) {
	if !running {
		return
	}
	b.ResetIOStatus()
	b.RetryParked()
}

// RetryParked submits again what an error has parked.
func (b *Backend) RetryParked() {
	for _, r := range b.takeParked() {
		r.queue.enqueue(r)
	}
}

// CancelParked fails what an error has parked with ErrCancelled: the device is
// reset or goes.
func (b *Backend) CancelParked() { b.CancelParkedIf(func(*Request) bool { return true }) }

// CancelParkedIf does so with those that match, which is called with the list locked.
func (b *Backend) CancelParkedIf(match func(*Request) bool) {
	var cancelled, kept fifo
	b.parkMu.Lock()
	for r := b.parked.pop(); r != nil; r = b.parked.pop() {
		if match(r) {
			cancelled.push(r)
		} else {
			kept.push(r)
		}
	}
	b.parked = kept
	b.parkMu.Unlock()
	for r := cancelled.pop(); r != nil; r = cancelled.pop() {
		r.Done(r, ErrCancelled)
	}
}

func (b *Backend) takeParked() (list []*Request) {
	b.parkMu.Lock()
	defer b.parkMu.Unlock()
	for r := b.parked.pop(); r != nil; r = b.parked.pop() {
		list = append(list, r)
	}
	return list
}

// Parked returns the requests that wait for cont: they are part of the device's
// saved state, which submits them again after loading.
func (b *Backend) Parked() (list []*Request) {
	b.parkMu.Lock()
	defer b.parkMu.Unlock()
	for r := b.parked.head; r != nil; r = r.next {
		list = append(list, r)
	}
	return list
}
