package block

import (
	"sync/atomic"

	"govmd/internal/worker"
)

// Thread is what a Queue uses of an iothread. A request that is submitted on the
// thread and needs nothing but a read or a write of the file at the bottom, at a
// place that is known without waiting, is handed to the kernel there and completes
// there: no goroutine has a part in it. Everything else takes the way of every
// request: a goroutine of the queue, and Done on that.
//
// All methods are called on the worker's thread, but for NewThread and Close.
type Thread struct {
	w        *worker.Worker
	ring     ThreadRing // nil: nothing is fast
	src      *worker.Source
	ops      [MaxThreadOps]fastOp // by slot
	free     *fastOp
	flushing bool
	quick    atomic.Uint64
}

// Quick returns how many requests have gone the short way. It may be called from
// anywhere.
func (th *Thread) Quick() uint64 { return th.quick.Load() }

// ThreadRing hands reads and writes to the kernel from one thread. The driver file
// provides it (NewThreadRing).
type ThreadRing interface {
	// Queue takes a request for the next Flush; false when there is no room. slot
	// tells it from others, and is below MaxThreadOps.
	Queue(write bool, fd int, v Vec, off int64, slot int) bool
	// Flush hands over what is queued, and calls complete for what is done.
	Flush()
	Close()
}

// MaxThreadOps is how many requests a thread has under way in this way.
const MaxThreadOps = 256

// NewThreadRing makes a ring whose completions signal fd, an eventfd, and which
// calls complete for each in Flush. It is set by the driver that has one; it fails on
// hosts without io_uring.
var NewThreadRing func(fd int, complete func(slot, n int, err error)) (ThreadRing, error)

// FastFile is a protocol whose reads and writes a ThreadRing can carry out.
type FastFile interface {
	// FastFD returns the descriptor for a request on memory v; false when more than
	// a system call is needed.
	FastFD(write bool, v Vec) (fd int, ok bool)
}

// Mapper is a driver whose data, once mapped, are a child's as they are.
type Mapper interface {
	// Map returns where the n bytes at off are in a child, if that is known without
	// waiting, for all of them, and a plain read or write of the child is all there is
	// to do. What it has found stays so until Unmap is called with the token.
	Map(off, n int64, write bool) (c *Child, childOff int64, token uint32, ok bool)
	Unmap(token uint32)
}

// maxDepth is how many nodes a request passes on its way.
const maxDepth = 6

// fastOp is a request under way on a thread.
type fastOp struct {
	slot  int
	next  *fastOp
	q     *Queue
	r     *Request
	depth int
	path  [maxDepth]fastStep
}

type fastStep struct {
	node  *Node
	t     *tracked
	off   int64
	m     Mapper
	token uint32
}

// NewThread returns the means to run requests on an iothread. Without io_uring on
// the host all of them take the other way. Close ends it.
func NewThread(w *worker.Worker) (*Thread, error) {
	th := &Thread{w: w}
	for i := range th.ops {
		op := &th.ops[i]
		op.slot = i
		op.next, th.free = th.free, op
	}
	if NewThreadRing == nil {
		return th, nil
	}
	src, err := w.Add(th.Flush)
	if err != nil {
		return nil, err
	}
	ring, err := NewThreadRing(src.FD(), th.complete)
	if err != nil {
		src.Close()
		return th, nil // the host refuses it: nothing is fast
	}
	th.ring, th.src = ring, src
	return th, nil
}

// Close gives the ring back. Nothing is under way: the queues have been drained.
func (th *Thread) Close() {
	if th.ring != nil {
		th.src.Close()
		th.ring.Close()
		th.ring = nil
	}
}

// SubmitOn is Submit for a caller on the thread, which calls Flush after its last
// request.
func (q *Queue) SubmitOn(th *Thread, r *Request) {
	if th.ring == nil || r.Op != OpRead && r.Op != OpWrite || r.Flags != 0 {
		q.Submit(r)
		return
	}
	r.queue = q
	if !q.sink.admit(r) {
		return
	}
	q.mu.Lock()
	if q.closed || q.hold > 0 {
		q.mu.Unlock()
		q.enqueue(r)
		return
	}
	q.active++
	q.mu.Unlock()
	if !th.start(q, r) {
		q.slow(r)
	}
}

// slow gives a request that is active already to a goroutine.
func (q *Queue) slow(r *Request) {
	q.mu.Lock()
	q.ready.push(r)
	q.wake()
	q.mu.Unlock()
}

// start walks down to the file and queues the request there.
func (th *Thread) start(q *Queue, r *Request) bool {
	n := q.sink.fast(r)
	op := th.free
	if n == nil || op == nil {
		return false
	}
	write, off, size := r.Op == OpWrite, r.Off, int64(r.Vec.Len())
	if size == 0 {
		return false
	}
	th.free = op.next
	op.q, op.r, op.depth = q, r, 0
	for op.depth < maxDepth {
		s := &op.path[op.depth]
		if !n.fastBegin(s, off, size, write, r.Vec) {
			break
		}
		op.depth++
		if f, ok := n.drv.(FastFile); ok {
			if fd, ok := f.FastFD(write, r.Vec); ok && th.ring.Queue(write, fd, r.Vec, off, op.slot) {
				th.quick.Add(1)
				return true
			}
			break
		}
		m, ok := n.drv.(Mapper)
		if !ok {
			break
		}
		c, childOff, token, ok := m.Map(off, size, write)
		if !ok {
			break
		}
		s.m, s.token = m, token
		n, off = c.Node(), childOff
	}
	th.unwind(op, false, nil)
	return false
}

// fastBegin tracks a request on a node, if it needs nothing that the node adds.
func (n *Node) fastBegin(s *fastStep, off, size int64, write bool, v Vec) bool {
	if checkRange(off, size) != nil || off+size > n.length.Load() || (off|size)&int64(n.lim.Align-1) != 0 ||
		n.cor.Load() > 0 || n.debug != nil || n.lim.MaxTransfer > 0 && size > int64(n.lim.MaxTransfer) {
		return false
	}
	if write {
		if n.set.ReadOnly || n.set.DetectZeroes != "" && n.set.DetectZeroes != DetectZeroesOff || n.guardRaw && off < 512 {
			return false
		}
		if th := n.threshold.Load(); th > 0 && off+size > th {
			return false
		}
	}
	t := n.trk.tryBegin(off, size)
	*s = fastStep{node: n, t: t, off: off}
	return t != nil
}

// unwind ends the tracking of a request; written says that it may have changed data.
func (th *Thread) unwind(op *fastOp, written bool, err error) {
	size := int64(op.r.Vec.Len())
	for i := op.depth - 1; i >= 0; i-- {
		s := &op.path[i]
		if written {
			s.node.afterWrite(s.off, size, err)
		}
		if s.m != nil {
			s.m.Unmap(s.token)
		}
		s.node.trk.end(s.t)
		*s = fastStep{}
	}
	op.q, op.r, op.depth = nil, nil, 0
	op.next, th.free = th.free, op
}

// Flush hands what was submitted to the kernel and completes what is done; it goes
// on while completions submit more.
func (th *Thread) Flush() {
	if th.ring == nil || th.flushing {
		return
	}
	th.flushing = true
	th.ring.Flush()
	th.flushing = false
}

func (th *Thread) complete(slot, n int, err error) {
	op := &th.ops[slot]
	q, r := op.q, op.r
	whole := err == nil && n == r.Vec.Len()
	th.unwind(op, r.Op == OpWrite, err)
	if !whole {
		// A short read, an error: the other way knows what to do about it.
		q.slow(r)
		return
	}
	q.complete(r, nil)
}

// tryBegin is begin for a request that cannot wait; nil when it would have to.
func (t *tracker) tryBegin(off, n int64) *tracked {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.serial > 0 && t.conflict(t.head.prev, off, off+n, false) {
		return nil
	}
	return t.add(off, n, false)
}
