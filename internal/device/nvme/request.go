package nvme

import (
	"encoding/binary"
	"sync"

	"govmd/internal/block"
	"govmd/internal/device/drive"
)

// command is a submission queue entry (section 4.2).
type command [commandSize]byte

func (c *command) opcode() byte { return c[0] }
func (c *command) flags() byte  { return c[1] }
func (c *command) cid() uint16  { return binary.LittleEndian.Uint16(c[2:]) }
func (c *command) nsid() uint32 { return binary.LittleEndian.Uint32(c[4:]) }
func (c *command) prp1() uint64 { return binary.LittleEndian.Uint64(c[24:]) }
func (c *command) prp2() uint64 { return binary.LittleEndian.Uint64(c[32:]) }
func (c *command) slba() uint64 { return binary.LittleEndian.Uint64(c[40:]) }

// dword returns command dword n, of 10 to 15.
func (c *command) dword(n int) uint32 { return binary.LittleEndian.Uint32(c[4*n:]) }

// Status of a command (section 4.6.1): the code, its type and "do not retry".
const (
	statusOK               = 0x000
	statusInvalidOpcode    = 0x001 | noRetry
	statusInvalidField     = 0x002 | noRetry
	statusTransfer         = 0x004
	statusInternal         = 0x006
	statusAborted          = 0x007
	statusInvalidNamespace = 0x00b | noRetry
	statusSequence         = 0x00c | noRetry
	statusPRPOffset        = 0x013 | noRetry
	statusWriteProtected   = 0x020 | noRetry
	statusLBARange         = 0x080 | noRetry
	statusCapacity         = 0x081
	statusInvalidCQ        = 0x100 | noRetry
	statusInvalidQueue     = 0x101 | noRetry
	statusInvalidSize      = 0x102 | noRetry
	statusTooManyEvents    = 0x105
	statusInvalidVector    = 0x108 | noRetry
	statusInvalidLog       = 0x109 | noRetry
	statusQueueDeletion    = 0x10c | noRetry
	statusNotSaveable      = 0x10d | noRetry
	statusNotChangeable    = 0x10e | noRetry
	statusWriteFault       = 0x280
	statusReadError        = 0x281

	noRetry = 1 << 14

	// pending and kept say that a command ends later; one that is kept is not among those
	// under way, but among those that wait for events.
	pending = 0xffff
	kept    = 0xfffe
)

// request is a command under way.
type request struct {
	block.Request
	d          *Device
	sq         *submission
	command    command
	segs       drive.Segs
	prev, next *request // in the submission queue's list, or in the pool

	ranges   []byte // of a deallocation
	pos, end int
	list     [listSize]byte // a part of a PRP list
}

// maxUnderway is how many commands of all queues are under way at most.
const maxUnderway = 4096

// pool keeps requests that are not in use.
type pool struct {
	device *Device
	mu     sync.Mutex
	free   *request
	out    int
}

// exhausted reports whether no more commands are to begin.
func (p *pool) exhausted() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.out >= maxUnderway
}

func (p *pool) get() *request {
	p.mu.Lock()
	p.out++
	r := p.free
	if r != nil {
		p.free = r.next
	}
	p.mu.Unlock()
	if r == nil {
		r = &request{d: p.device}
		r.Request.Owner = r
		r.Request.Done = ioDone
	}
	return r
}

func (p *pool) put(r *request) {
	r.segs.Release()
	r.Vec, r.sq = block.Vec{}, nil
	p.mu.Lock()
	r.next, p.free = p.free, r
	p.out--
	p.mu.Unlock()
}

// budget is how many commands a queue may take before the others have their turn.
const budget = 256

// serve runs on the controller's thread: it begins what the driver has queued.
func (d *Device) serve() {
	if d.held.Load() || !d.ready() {
		return
	}
	more := false
	for i := range d.sqs {
		if sq := d.sqs[i]; sq != nil {
			more = sq.serve() || more
		}
	}
	d.thread.Flush()
	if more {
		d.wake.Kick()
	}
}

// serve begins commands of one queue; more says that there are others.
func (sq *submission) serve() (more bool) {
	for range budget {
		c, ok := sq.fetch()
		if !ok {
			return false
		}
		sq.begin(&c)
	}
	return true
}

// fetch takes the next command. A driver that takes no completions, or has as many
// commands under way as the queue has entries, waits.
func (sq *submission) fetch() (c command, ok bool) {
	sq.mu.Lock()
	again := len(sq.again) > 0
	if again {
		c = sq.again[0]
		sq.again = append(sq.again[:0], sq.again[1:]...)
	}
	busy := sq.count >= sq.size
	sq.mu.Unlock()
	head := sq.head.Load()
	switch {
	case again:
		return c, true
	case busy || head == sq.tail.Load() || sq.cq.blocked() || sq.d.pool.exhausted():
		return c, false
	}
	if err := sq.d.dma.Read(sq.base+uint64(head)*commandSize, c[:]); err != nil {
		sq.d.fatal("submission queue %d: %v", sq.id, err)
		return c, false
	}
	sq.head.Store((head + 1) % sq.size)
	return c, true
}

// begin begins a command.
func (sq *submission) begin(c *command) {
	d := sq.d
	r := d.pool.get()
	r.sq, r.command = sq, *c
	r.Flags, r.pos, r.end = 0, 0, 0
	sq.mu.Lock()
	r.prev, r.next = nil, sq.inflight
	if r.next != nil {
		r.next.prev = r
	}
	sq.inflight = r
	sq.count++
	sq.mu.Unlock()
	var status uint16
	var result uint32
	switch {
	case c.flags() != 0: // fused commands, and SGLs
		status = statusInvalidField
	case sq.id == 0:
		status, result = d.admin(r)
	default:
		status = r.io()
	}
	switch status {
	case pending:
	case kept:
		sq.unlink(r)
		d.pool.put(r)
	default:
		r.finish(status, result)
	}
}

// unlink takes a request from those under way, and returns what has waited for all of
// them to end.
func (sq *submission) unlink(r *request) (ended *request) {
	sq.mu.Lock()
	defer sq.mu.Unlock()
	if r.prev != nil {
		r.prev.next = r.next
	} else {
		sq.inflight = r.next
	}
	if r.next != nil {
		r.next.prev = r.prev
	}
	r.prev, r.next = nil, nil
	if sq.count--; sq.count == 0 {
		ended, sq.ending = sq.ending, nil
	}
	return ended
}

// finish ends a command.
func (r *request) finish(status uint16, result uint32) {
	sq, d := r.sq, r.d
	e := entry{Result: result, SQHead: uint16(sq.head.Load()), SQ: sq.id, CID: r.command.cid(), Status: status}
	deletes := sq.unlink(r)
	d.pool.put(r) // memory is given back before the driver knows
	sq.cq.post(e)
	if deletes != nil {
		d.release(sq)
		deletes.finish(statusOK, 0)
	}
}

// submit has the block layer carry the request out. It is called on the thread.
func (r *request) submit() uint16 {
	r.d.queue.SubmitOn(r.d.thread, &r.Request)
	return pending
}
