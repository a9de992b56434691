package virtio

import (
	"sync/atomic"

	"govmd/internal/device/virtio/virtq"
	"govmd/internal/worker"
)

// Queue is one of a device's queues: its registers, its ring, and what serves it.
type Queue struct {
	core    *Core
	index   int
	max     uint16
	ring    virtq.Queue
	src     atomic.Pointer[worker.Source] // made when the queue is first enabled
	handler func(*Queue)
	budget  int // of the handler that runs; the worker's

	regs Ring // guarded by core.mu
}

// Ring is where the driver has put a queue, as its registers say.
type Ring struct {
	Size              uint16
	Desc, Avail, Used uint64
	Enabled           bool
}

// budget is how many elements a queue may take before the device's others have
// their turn: a driver that refills a queue for ever starves nobody.
const budget = 1024

// Index returns the queue's number.
func (q *Queue) Index() int { return q.index }

// Max returns the largest size that the driver may choose.
func (q *Queue) Max() uint16 { return q.max }

// EventFD returns the descriptor whose being signalled has the queue served. The
// queue has been enabled.
func (q *Queue) EventFD() int { return q.src.Load().FD() }

// Kick has the queue served. It does not block; anyone may call it. A queue
// that was never enabled has nothing to serve.
func (q *Queue) Kick() {
	if src := q.src.Load(); src != nil {
		q.core.start()
		src.Kick()
	}
}

// open makes the eventfd: of a device's many queues a driver may use few.
func (q *Queue) open() error {
	if q.src.Load() != nil {
		return nil
	}
	src, err := q.core.worker.Add(q.serve)
	if err == nil {
		q.src.Store(src)
	}
	return err
}

// close takes the queue from a thread that goes on without it.
func (q *Queue) close() {
	if src := q.src.Swap(nil); src != nil {
		src.Close()
	}
}

// Notified is the driver's notification where no eventfd takes it.
func (q *Queue) Notified() {
	if q.core.live.Load() {
		q.Kick()
	}
}

// serve runs on the worker.
func (q *Queue) serve() {
	if !q.core.live.Load() || q.core.held.Load() {
		return
	}
	if traceKick.On() {
		traceKick.Emit(q.core.Title(), q.index)
	}
	q.budget = budget
	q.handler(q)
	if q.budget == 0 {
		q.Kick()
	}
}

// Begin makes ready for serving the queue on another goroutine than the worker's, in
// Worker.Exclude: for what comes from a back end. False: the queue is not served now.
func (q *Queue) Begin() bool {
	if !q.core.live.Load() || q.core.held.Load() {
		return false
	}
	q.budget = budget
	return true
}

// Pop takes the next element, or nil when there is none now; a broken ring
// breaks the device. It is called by the queue's handler only. Once it has
// returned nil the driver says when it adds more: a handler that leaves elements
// in the queue must be kicked by whatever it waits for. Begin stands for the handler.
func (q *Queue) Pop() *virtq.Element {
	if q.budget == 0 || q.core.broken.Load() {
		return nil
	}
	epoch := q.core.epoch.Load()
	e, err := q.ring.Pop()
	if e == nil && err == nil {
		var more bool
		if more, err = q.ring.SetNotify(true); more {
			e, err = q.ring.Pop()
		}
	}
	if err != nil {
		q.breaks(epoch, err)
	}
	if e != nil {
		q.budget--
	}
	return e
}

// Push gives back an element of whose writable part the first written bytes
// have been written. The driver sees it after Notify. Anyone may call it.
func (q *Queue) Push(e *virtq.Element, written uint32) { q.ring.Push(e, written) }

// Unpop puts an element back, to be popped again.
func (q *Queue) Unpop(e *virtq.Element) { q.ring.Unpop(e) }

// Notify shows the driver what was pushed, and interrupts it if it wants that.
// Anyone may call it.
func (q *Queue) Notify() {
	epoch := q.core.epoch.Load()
	notify, err := q.ring.Flush()
	if err != nil {
		q.breaks(epoch, err)
	}
	if notify {
		q.core.interrupt(epoch, q.index)
	}
}

// Done is Push and Notify for a single element.
func (q *Queue) Done(e *virtq.Element, written uint32) {
	q.Push(e, written)
	q.Notify()
}

func (q *Queue) breaks(epoch uint32, err error) {
	q.core.brokenIn(epoch, &QueueError{q.index, err})
}

// Ring returns the queue's registers.
func (q *Queue) Ring() Ring {
	q.core.mu.Lock()
	defer q.core.mu.Unlock()
	return q.regs
}

// SetRing changes the registers, but for Enabled. A queue that is enabled keeps
// them, and a size that the device cannot do is not taken.
func (q *Queue) SetRing(r Ring) {
	q.core.mu.Lock()
	defer q.core.mu.Unlock()
	if q.regs.Enabled {
		return
	}
	if r.Size == 0 || r.Size > q.max || r.Size&(r.Size-1) != 0 {
		r.Size = q.regs.Size
	}
	r.Enabled = false
	q.regs = r
}

// Enable is the driver's saying that the queue's registers are set.
func (q *Queue) Enable() {
	c := q.core
	err := q.open()
	c.mu.Lock()
	if err == nil && !q.regs.Enabled {
		if err = q.ring.Enable(q.configLocked()); err == nil {
			q.regs.Enabled = true
		}
	}
	c.mu.Unlock()
	if err != nil {
		q.breaks(c.epoch.Load(), err)
	}
}

func (q *Queue) configLocked() virtq.Config {
	return virtq.Config{
		Size: q.regs.Size, Desc: q.regs.Desc, Avail: q.regs.Avail, Used: q.regs.Used,
		Features: q.core.ringFeatures(),
	}
}

// Disable takes the queue from the device. Like Core.Reset it waits for the
// queue's handler.
func (q *Queue) Disable() {
	q.core.worker.Exclude(func() {
		q.core.mu.Lock()
		q.regs.Enabled = false
		q.core.mu.Unlock()
		q.ring.Reset()
	})
}

// Enabled reports whether the driver has enabled the queue.
func (q *Queue) Enabled() bool { return q.Ring().Enabled }
