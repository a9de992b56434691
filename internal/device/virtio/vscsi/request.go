package vscsi

import (
	"encoding/binary"
	"errors"
	"sync"

	"govmd/internal/block"
	"govmd/internal/device/drive"
	"govmd/internal/device/scsi"
	"govmd/internal/device/scsi/sense"
	"govmd/internal/device/virtio"
	"govmd/internal/device/virtio/virtq"
)

// A request (5.6.6.1): lun, id, task attribute, priority, crn, and the command.
const (
	reqLUN     = 0
	reqID      = 8
	headerSize = 19
)

// The response: sense length, residual, status qualifier, status, response, and the
// sense data.
const (
	respSenseLen = 0
	respResidual = 4
	respStatus   = 10
	respResponse = 11
	respSize     = 12
)

// Responses, of all queues.
const (
	respOK           = 0
	respOverrun      = 1
	respAborted      = 2
	respBadTarget    = 3
	respFailure      = 9
	respSucceeded    = 10
	respRejected     = 11
	respIncorrectLUN = 12
	respComplete     = respOK // of a task management function
	responseAndSense = respSize + sense.FixedSize
	headerAndCommand = headerSize + scsi.CDBSize
)

var (
	errRequest = errors.New("request without a header, or without room for a response")
	errEvent   = errors.New("no room for an event")
	errControl = errors.New("control request without a header, or without room for a response")
)

// request is one of the driver's requests under way.
type request struct {
	scsi.Request
	d        *Device
	q        *virtio.Queue
	e        *virtq.Element
	next     *request // in the pool
	senseLen int      // room for sense data
	in, out  [][]byte
	header   [headerAndCommand]byte
	response [responseAndSense]byte
}

// pool keeps requests that are not in use.
type pool struct {
	device *Device
	mu     sync.Mutex
	free   *request
}

func (p *pool) get() *request {
	p.mu.Lock()
	r := p.free
	if r != nil {
		p.free = r.next
	}
	p.mu.Unlock()
	if r == nil {
		r = &request{d: p.device}
		r.Request.Owner = r
		r.Request.Init(done)
	}
	return r
}

func (p *pool) put(r *request) {
	r.in, r.out = drive.KeepSegments(r.in), drive.KeepSegments(r.out)
	r.Request.Drop()
	p.mu.Lock()
	r.next, p.free = p.free, r
	p.mu.Unlock()
}

// serve is the handler of the queues for requests.
func (d *Device) serve(q *virtio.Queue) {
	d.mu.Lock()
	sizes := d.sizes
	d.mu.Unlock()
	ended := false
	for e := q.Pop(); e != nil; e = q.Pop() {
		ended = d.begin(q, e, sizes) || ended
	}
	d.thread.Flush()
	if ended {
		q.Notify()
	}
}

// begin begins a request; it reports whether it has ended there and then, and been
// pushed.
func (d *Device) begin(q *virtio.Queue, e *virtq.Element, s sizes) bool {
	head, tail := uint64(headerSize+s.cdb), uint64(respSize+s.sense)
	if e.ReadableLen() < head || e.WritableLen() < tail {
		q.Push(e, 0)
		d.Broken(errRequest)
		return true
	}
	r := d.pool.get()
	r.q, r.e, r.senseLen = q, e, int(s.sense)
	n := min(len(r.header), int(head))
	clear(r.header[n:])
	if _, err := e.ReadAt(r.header[:n], 0); err != nil {
		r.end(respFailure)
		return true
	}
	copy(r.CDB[:], r.header[headerSize:])
	r.Tag = binary.LittleEndian.Uint64(r.header[reqID:])
	at, ok := address(r.header[reqLUN:])
	if !ok {
		r.end(respBadTarget)
		return true
	}
	if e.ReadableLen() > head && e.WritableLen() > tail { // in both directions
		r.end(respFailure)
		return true
	}
	r.in = drive.AppendPart(r.in, e.Writable, tail, e.WritableLen()-tail)
	r.out = drive.AppendPart(r.out, e.Readable, head, e.ReadableLen()-head)
	r.In, r.Out = block.VecFrom(r.in), block.VecFrom(r.out)
	switch d.bus.Start(at, &r.Request, d.thread) {
	case scsi.Begun:
		return false
	case scsi.NoTarget:
		r.end(respBadTarget)
	case scsi.Overrun:
		r.end(respOverrun)
	case scsi.Ended:
		r.end(respOK)
	}
	return true
}

// address decodes where a request goes (5.6.6.1): 1, the target, and the unit in
// SAM's flat form, or that of peripherals for small numbers.
func address(p []byte) (a scsi.Address, ok bool) {
	if p[0] != 1 || p[2] != 0 && p[2]&0xc0 != 0x40 {
		return a, false
	}
	return scsi.Address{Target: uint32(p[1]), LUN: uint32(p[2]&0x3f)<<8 | uint32(p[3])}, true
}

// done is the end of a request that took its time.
func done(sr *scsi.Request) {
	r := sr.Owner.(*request)
	q := r.q
	if sr.Aborted {
		r.end(respAborted)
	} else {
		r.end(respOK)
	}
	q.Notify()
}

// end pushes the request. The driver sees it after the queue's Notify.
func (r *request) end(response byte) {
	e, le := r.e, binary.LittleEndian
	p := r.response[:respSize]
	clear(p)
	p[respResponse] = response
	moved := 0
	if response == respOK {
		p[respStatus] = r.Status
		moved = r.Moved
		if r.SenseCode != sense.None {
			n := min(r.SenseCode.PutFixed(r.response[respSize:]), r.senseLen)
			le.PutUint32(p[respSenseLen:], uint32(n))
			p = r.response[:respSize+n]
		}
		le.PutUint32(p[respResidual:], uint32(r.In.Len()+r.Out.Len()-moved))
	}
	written := uint64(respSize + r.senseLen)
	if _, err := e.WriteAt(p, 0); err != nil {
		r.d.GuestErrorf("%v", err)
	}
	// What a failed read has left in the buffer counts, too: it has been written.
	if n := r.In.Len(); n > 0 && response == respOK || r.Aborted {
		written += uint64(n)
	}
	r.q.Push(e, uint32(min(written, e.WritableLen())))
	r.e = nil
	r.d.pool.put(r)
}
