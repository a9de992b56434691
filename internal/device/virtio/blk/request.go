package blk

import (
	"encoding/binary"
	"sync"

	"golang.org/x/sys/unix"

	"govmd/internal/block"
	"govmd/internal/device/drive"
	"govmd/internal/device/virtio"
	"govmd/internal/device/virtio/virtq"
	"govmd/internal/memory"
)

// Kinds of request, and what becomes of them (5.2.6).
const (
	typeIn          = 0
	typeOut         = 1
	typeFlush       = 4
	typeGetID       = 8
	typeDiscard     = 11
	typeWriteZeroes = 13
	// typeBarrier is a flag of old drivers, which means nothing any more.
	typeBarrier = 1 << 31

	statusOK    = 0
	statusIOErr = 1
	statusUnsup = 2

	idSize      = 20
	segmentSize = 16 // of a discard or write-zeroes

	flagUnmap = 1
)

// request is one of the driver's requests under way.
type request struct {
	block.Request
	d       *Device
	q       *virtio.Queue
	e       *virtq.Element
	next    *request // in the pool
	written uint32   // bytes of the writable part that success has filled, but for the status
	segs    [][]byte
	header  [headerSize]byte
	segment [segmentSize]byte
	status  [1]byte
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
		r.Request.Done = done
	}
	return r
}

func (p *pool) put(r *request) {
	r.segs = drive.KeepSegments(r.segs)
	r.Vec = block.Vec{}
	p.mu.Lock()
	r.next, p.free = p.free, r
	p.mu.Unlock()
}

// serve is the handler of the queues.
func (d *Device) serve(q *virtio.Queue) {
	done := false
	for {
		e := q.Pop()
		if e == nil {
			break
		}
		done = d.begin(q, e) || done
	}
	d.thread.Flush()
	if done {
		q.Notify()
	}
}

// begin begins a request; it reports whether it has ended there and then, and been
// pushed.
func (d *Device) begin(q *virtio.Queue, e *virtq.Element) bool {
	r := d.pool.get()
	r.q, r.e, r.written, r.Flags, r.NoAccounting = q, e, 0, 0, false
	if n, err := e.ReadAt(r.header[:], 0); err != nil || n < headerSize || e.WritableLen() == 0 {
		d.pool.put(r)
		q.Push(e, 0)
		d.Broken(errRequest)
		return true
	}
	le := binary.LittleEndian
	status, submit := r.decode(le.Uint32(r.header[:])&^typeBarrier, le.Uint64(r.header[8:]))
	if !submit {
		r.end(status)
		return true
	}
	d.queue.SubmitOn(d.thread, &r.Request)
	return false
}

// decode makes the drive's request of the driver's. submit is false when it ends at
// once with a status.
func (r *request) decode(kind uint32, sector uint64) (status byte, submit bool) {
	switch kind {
	case typeIn:
		n := r.e.WritableLen() - 1
		if !r.place(block.OpRead, sector, n) {
			return statusIOErr, false
		}
		r.lend(r.e.Writable, 0, n)
		r.written = uint32(n)
	case typeOut:
		n := r.e.ReadableLen() - headerSize
		if !r.place(block.OpWrite, sector, n) {
			return statusIOErr, false
		}
		r.lend(r.e.Readable, headerSize, n)
	case typeFlush:
		r.Op = block.OpFlush
	case typeGetID:
		return r.identify(), false
	case typeDiscard, typeWriteZeroes:
		return r.wipe(kind)
	default:
		return statusUnsup, false
	}
	return 0, true
}

// place checks where a read or write goes.
func (r *request) place(op block.Op, sector, n uint64) bool {
	d := r.d
	r.Op, r.Off = op, int64(sector)*sectorSize
	size := uint64(d.backend.Length()) / sectorSize
	align := d.conf.LogicalBlock / sectorSize
	if n%d.conf.LogicalBlock != 0 || sector%align != 0 || sector > size || n/sectorSize > size-sector {
		d.backend.Stats().Invalid(op)
		return false
	}
	return true
}

// lend makes the request's vector of n bytes of the segments from skip on.
func (r *request) lend(list []memory.Borrow, skip, n uint64) {
	r.segs = drive.AppendPart(r.segs[:0], list, skip, n)
	r.Vec = block.VecFrom(r.segs)
}

// identify answers with the serial number.
func (r *request) identify() byte {
	var id [idSize]byte
	copy(id[:], r.d.conf.Serial)
	n := min(idSize, r.e.WritableLen()-1)
	if _, err := r.e.WriteAt(id[:n], 0); err != nil {
		return statusIOErr
	}
	r.written = uint32(n)
	return statusOK
}

// wipe is a discard or write-zeroes of one segment.
func (r *request) wipe(kind uint32) (status byte, submit bool) {
	d := r.d
	most, on := uint64(d.maxDiscard), d.discard
	r.Op = block.OpDiscard
	if kind == typeWriteZeroes {
		most, on, r.Op = uint64(d.maxZeroes), d.zeroes, block.OpZeroes
	}
	if !on || r.e.ReadableLen() != headerSize+segmentSize {
		return statusUnsup, false // more segments than the configuration allows
	}
	if _, err := r.e.ReadAt(r.segment[:], headerSize); err != nil {
		return statusIOErr, false
	}
	le := binary.LittleEndian
	sector, count, flags := le.Uint64(r.segment[:]), uint64(le.Uint32(r.segment[8:])), le.Uint32(r.segment[12:])
	if flags&^flagUnmap != 0 || kind == typeDiscard && flags != 0 {
		return statusUnsup, false
	}
	if count > most || !r.place(r.Op, sector, count*sectorSize) {
		return statusIOErr, false
	}
	r.Len = int64(count * sectorSize)
	if flags&flagUnmap != 0 {
		r.Flags |= block.MayUnmap
	}
	return 0, true
}

// done is the end of the drive's request.
func done(br *block.Request, err error) {
	r := br.Owner.(*request)
	status := byte(statusOK)
	switch {
	case err == nil:
	case block.Errno(err) == unix.ENOTSUP:
		status = statusUnsup
	default:
		status = statusIOErr
	}
	q := r.q
	r.end(status)
	q.Notify()
}

// end pushes the request. The driver sees it after the queue's Notify.
func (r *request) end(status byte) {
	last := r.e.WritableLen() - 1
	r.status[0] = status
	if _, err := r.e.WriteAt(r.status[:], last); err != nil {
		r.d.GuestErrorf("%v", err)
	}
	// What a failed read has left in the buffer counts, too: it has been written.
	r.q.Push(r.e, uint32(min(uint64(r.written)+1, last+1)))
	r.e = nil
	r.d.pool.put(r)
}
