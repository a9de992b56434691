package nvme

import (
	"sync"
	"sync/atomic"
)

const (
	commandSize    = 64
	completionSize = 16
)

// submission is a submission queue (section 4.1). The thread serves it.
type submission struct {
	d    *Device
	id   uint16
	cq   *completion
	base uint64
	size uint32 // entries

	tail atomic.Uint32 // as the doorbell says
	head atomic.Uint32 // changed by the thread

	mu       sync.Mutex // guards what follows
	inflight *request   // the last to have begun
	count    uint32
	ending   *request  // the command that deletes the queue, which waits for the others
	again    []command // of a loaded state
}

// completion is a completion queue.
type completion struct {
	d          *Device
	id         uint16
	base       uint64
	size       uint32
	vector     uint16
	interrupts bool
	users      int // submission queues; guarded by Device.mu

	mu      sync.Mutex // guards what follows
	dead    bool
	head    uint32 // as the doorbell says
	tail    uint32
	phase   bool
	waiting []entry // for room
	counted int     // entries that Device.pending has of this queue
}

// entry is a completion queue entry (section 4.6).
type entry struct {
	Result uint32 `cbor:"result"`
	SQHead uint16 `cbor:"sq-head"`
	SQ     uint16 `cbor:"sq"`
	CID    uint16 `cbor:"cid"`
	Status uint16 `cbor:"status"`
}

// doorbell is a write to doorbell n: of submission queues those with even numbers, of
// completion queues the others.
func (d *Device) doorbell(n, v uint32) {
	id := n / 2
	d.mu.Lock()
	if d.regs.csts&(cstsReady|cstsFatal) != cstsReady {
		d.mu.Unlock()
		return
	}
	var sq *submission
	var cq *completion
	if id < uint32(len(d.sqs)) {
		sq, cq = d.sqs[id], d.cqs[id]
	}
	d.mu.Unlock()
	switch {
	case n&1 == 0 && sq == nil || n&1 != 0 && cq == nil:
		d.event(eventError, errorDoorbell, logError)
	case n&1 != 0:
		cq.setHead(v)
	case v >= sq.size:
		d.event(eventError, errorDoorbellValue, logError)
	default:
		sq.tail.Store(v)
		d.wake.Kick()
	}
}

// setHead is the driver's saying which entries it has taken.
func (cq *completion) setHead(v uint32) {
	cq.mu.Lock()
	if v >= cq.size || (v+cq.size-cq.head)%cq.size > cq.used() {
		cq.mu.Unlock()
		cq.d.event(eventError, errorDoorbellValue, logError)
		return
	}
	cq.head = v
	blocked := len(cq.waiting) > 0
	for len(cq.waiting) > 0 && !cq.full() {
		cq.write(cq.waiting[0])
		cq.waiting = append(cq.waiting[:0], cq.waiting[1:]...)
	}
	cq.interrupt()
	cq.mu.Unlock()
	if blocked {
		cq.d.wake.Kick() // submission queues have waited
	}
}

// used is how many entries the driver has not taken. mu is held.
func (cq *completion) used() uint32 { return (cq.tail + cq.size - cq.head) % cq.size }

func (cq *completion) full() bool { return cq.used() == cq.size-1 }

// blocked reports whether there is no room for what has ended already.
func (cq *completion) blocked() bool {
	cq.mu.Lock()
	defer cq.mu.Unlock()
	return len(cq.waiting) > 0
}

// post adds an entry, now or when there is room. Anyone may call it.
func (cq *completion) post(e entry) {
	cq.mu.Lock()
	defer cq.mu.Unlock()
	switch {
	case cq.dead:
	case cq.full() || len(cq.waiting) > 0:
		cq.waiting = append(cq.waiting, e)
	default:
		cq.write(e)
		cq.interrupt()
	}
}

// write writes the entry at the tail: the word with the phase last. mu is held.
func (cq *completion) write(e entry) {
	at := cq.base + uint64(cq.tail)*completionSize
	dma := cq.d.dma
	last := uint32(e.CID) | uint32(e.Status)<<17
	if cq.phase {
		last |= 1 << 16
	}
	err := dma.WriteU64(at, uint64(e.Result))
	if err == nil {
		err = dma.WriteU32(at+8, uint32(e.SQHead)|uint32(e.SQ)<<16)
	}
	if err == nil {
		err = dma.WriteU32(at+12, last)
	}
	if err != nil {
		cq.d.GuestErrorf("completion queue %d: %v", cq.id, err)
	}
	if cq.tail++; cq.tail == cq.size {
		cq.tail, cq.phase = 0, !cq.phase
	}
}

// interrupt tells the driver of new entries, and of their having gone. mu is held.
func (cq *completion) interrupt() {
	if !cq.interrupts {
		return
	}
	n := int(cq.used())
	if cq.dead {
		n = 0
	}
	d := cq.d
	d.irqMu.Lock()
	defer d.irqMu.Unlock()
	more := n > cq.counted
	d.pending[cq.vector] += n - cq.counted
	cq.counted = n
	if more && d.MSIXEnabled() {
		d.MSIX(int(cq.vector)).Notify()
	}
	d.updateINTx()
}

// updateINTx drives the interrupt pin, which all vectors share, but for those that are
// masked. irqMu is held.
func (d *Device) updateINTx() {
	high := false
	if !d.MSIXEnabled() {
		for v, n := range d.pending[:min(len(d.pending), 32)] {
			high = high || n > 0 && d.masked>>v&1 == 0
		}
	}
	d.SetINTx(high)
}

// end has the queue take nothing more.
func (cq *completion) end() {
	cq.mu.Lock()
	defer cq.mu.Unlock()
	cq.dead, cq.waiting = true, nil
	cq.interrupt()
}
