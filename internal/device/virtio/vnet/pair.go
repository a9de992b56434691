package vnet

import (
	"errors"

	"govmd/internal/device/virtio"
	"govmd/internal/device/virtio/virtq"
	"govmd/internal/net"
	"govmd/internal/net/offload"
)

// pair is a pair of queues.
type pair struct {
	d      *Device
	index  int
	rx, tx *virtio.Queue

	// What Receive was called with, and its answer; receive is take, made once.
	frame   [][]byte
	took    bool
	receive func()

	// What follows belongs to the queues' handlers.
	waits bool             // the back end has a frame that there was no room for
	elems []*virtq.Element // of a frame that is received
	segs  [][]byte         // of a frame that is sent
	head  [net.HeaderNumbers]byte

	plain, cut []byte // of finish; nil until it is needed
}

var (
	errNoHeader = errors.New("virtio-net header not in first element")
	errControl  = errors.New("virtio-net ctrl missing headers")
)

// send is the handler of the driver's frames.
func (p *pair) send(q *virtio.Queue) {
	pushed := false
	for e := q.Pop(); e != nil; e = q.Pop() {
		if p.d.now.header < 0 || !p.sendOne(e) {
			q.Unpop(e) // Wake follows
			break
		}
		q.Push(e, 0)
		pushed = true
	}
	if pushed {
		q.Notify()
	}
}

// sendOne hands a frame to the back end; false: not now.
func (p *pair) sendOne(e *virtq.Element) bool {
	own := p.d.headerLength(p.d.Features())
	if e.ReadableLen() < uint64(own) {
		p.d.Broken(errNoHeader)
		return true
	}
	skip := 0
	if p.d.now.header == 0 {
		skip = own
	}
	p.segs = p.segs[:0]
	for _, b := range e.Readable {
		s := b.Bytes()
		n := min(skip, len(s))
		if skip -= n; n < len(s) {
			p.segs = append(p.segs, s[n:])
		}
	}
	if p.d.now.header == 0 && p.d.Features()&offloadFeatures != 0 {
		return p.finish(e, own)
	}
	ok := p.d.nic.Link.Send(p.index, p.segs)
	clear(p.segs)
	return ok
}

// roomMade is the handler of the queue of buffers for received frames.
func (p *pair) roomMade() {
	if p.waits && p.d.Ready() {
		p.waits = false
		p.d.nic.Link.WakeBackend(p.index)
	}
}

// take receives frame; it runs while no handler does.
func (p *pair) take() {
	if !p.rx.Begin() || !p.d.Ready() || p.d.now.header < 0 {
		p.waits, p.took = true, false
		return
	}
	p.took = true
	header := p.d.now.header
	if len(p.frame) == 0 || len(p.frame[0]) < header {
		return // no back end does that
	}
	clear(p.head[:])
	copy(p.head[:net.HeaderLegacy], p.frame[0][:header])
	if f := &p.d.now.filter; !f.promiscuous && !f.wants(p.frame, header, p.d.address(), p.d.Has(featureCtrlVLAN)) {
		return
	}
	p.took = p.deliver(header)
	p.waits = !p.took
}

// deliver puts the frame into the driver's buffers; false: there is no room.
func (p *pair) deliver(header int) bool {
	own := p.d.headerLength(p.d.Features())
	total := uint64(own - header)
	for _, s := range p.frame {
		total += uint64(len(s))
	}
	p.elems = p.elems[:0]
	defer func() { clear(p.elems) }()
	for room := uint64(0); room < total; {
		e := p.rx.Pop()
		if e == nil {
			p.giveBack()
			return false
		}
		p.elems = append(p.elems, e)
		if room += e.WritableLen(); len(p.elems) == 1 {
			if e.WritableLen() < uint64(own) {
				p.giveBack()
				p.d.Broken(errNoHeader)
				return true
			}
			if room < total && !p.d.Has(featureMergeable) {
				p.giveBack()
				return true // the frame is too long for the driver
			}
		}
	}
	if own == net.HeaderNumbers {
		p.head[net.HeaderLegacy] = byte(len(p.elems))
		p.head[net.HeaderLegacy+1] = byte(len(p.elems) >> 8)
	}
	w := writer{elems: p.elems}
	w.write(p.head[:own])
	for i, s := range p.frame {
		if i == 0 {
			s = s[header:]
		}
		w.write(s)
	}
	for i, e := range p.elems {
		n := e.WritableLen()
		if i == len(p.elems)-1 {
			n = w.at
		}
		p.rx.Push(e, uint32(n))
	}
	p.rx.Notify()
	return true
}

func (p *pair) giveBack() {
	for _, e := range p.elems {
		p.rx.Unpop(e)
	}
}

// writer writes to the writable parts of elements, one after the other.
type writer struct {
	elems []*virtq.Element
	at    uint64 // in the first of them
}

// write writes b. Memory of the driver's that has gone takes what is written with it.
func (w *writer) write(b []byte) {
	for len(b) > 0 {
		e := w.elems[0]
		n := min(e.WritableLen()-w.at, uint64(len(b)))
		if n == 0 {
			w.elems, w.at = w.elems[1:], 0
			continue
		}
		_, _ = e.WriteAt(b[:n], w.at)
		b, w.at = b[n:], w.at+n
	}
}

// maxFrame is the longest frame that a driver sends with its header.
const maxFrame = 64<<10 + 64

// finish does what the driver left to a back end that cannot do it, and sends what comes
// of it.
func (p *pair) finish(e *virtq.Element, own int) bool {
	n := e.ReadableLen()
	if n > maxFrame {
		p.d.GuestErrorf("a frame of %d bytes", n)
		return true
	}
	if p.plain == nil {
		p.plain, p.cut = make([]byte, maxFrame), make([]byte, maxFrame)
	}
	frame := p.plain[:n]
	if _, err := e.ReadAt(frame, 0); err != nil {
		return true // the memory has gone
	}
	h := offload.Parse(frame)
	if h.Plain() {
		return p.d.nic.Link.Send(p.index, append(p.segs[:0], frame[own:]))
	}
	sent, took := 0, true
	err := offload.Resolve(h, frame[own:], p.cut, func(part []byte) bool {
		took = p.d.nic.Link.Send(p.index, append(p.segs[:0], part))
		sent++
		return took
	})
	if err != nil {
		p.d.GuestErrorf("%v", err)
	}
	return took || sent > 1 // what is left of a frame that went out in part is lost
}
