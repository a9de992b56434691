package vscsi

import (
	"encoding/binary"

	"govmd/internal/device/scsi"
	"govmd/internal/device/scsi/sense"
	"govmd/internal/device/virtio"
)

// Events (5.6.6.3): what has happened, where, and why.
const (
	eventSize = 16
	evKind    = 0
	evLUN     = 4
	evReason  = 12

	eventNone           = 0
	eventTransportReset = 1
	eventParamChange    = 3
	eventsMissed        = 1 << 31

	// maxEvents is how many events wait for the event queue to be served.
	maxEvents = 64

	reasonRescan  = 1
	reasonRemoved = 2
)

// host is the adapter as its bus sees it.
type host struct{ d *Device }

func (h host) Exclude(fn func()) { h.d.Core.Worker().Exclude(fn) }

func (h host) UnitAdded(a scsi.Address) {
	h.d.event(featureHotplug, eventTransportReset, a, reasonRescan)
}

func (h host) UnitRemoved(a scsi.Address) {
	h.d.event(featureHotplug, eventTransportReset, a, reasonRemoved)
}

func (h host) UnitChanged(a scsi.Address, what sense.Code) {
	h.d.event(featureChange, eventParamChange, a, uint32(what.ASC)|uint32(what.ASCQ)<<8)
}

// event tells the driver of something, if it wants to know. It may be called from
// anywhere.
func (d *Device) event(feature uint, kind uint32, a scsi.Address, reason uint32) {
	if !d.Ready() || !d.Has(feature) {
		return
	}
	var p [eventSize]byte
	le := binary.LittleEndian
	le.PutUint32(p[evKind:], kind)
	if kind != eventNone {
		p[evLUN], p[evLUN+1], p[evLUN+2], p[evLUN+3] = 1, byte(a.Target), byte(a.LUN>>8), byte(a.LUN)
		if a.LUN > 0xff {
			p[evLUN+2] |= 0x40
		}
	}
	le.PutUint32(p[evReason:], reason)
	d.mu.Lock()
	d.events = append(d.events, p)
	if len(d.events) > maxEvents {
		d.events, d.missed = d.events[:maxEvents], true
	}
	d.mu.Unlock()
	d.Queue(eventQueue).Kick()
}

// serveEvents is the handler of the event queue: it hands out what has happened as
// far as the driver has given room for it. What it has no room for is missed.
func (d *Device) serveEvents(q *virtio.Queue) {
	told := false
	for {
		d.mu.Lock()
		waiting := len(d.events) > 0 || d.missed
		d.mu.Unlock()
		if !waiting {
			break
		}
		e := q.Pop()
		if e == nil {
			d.mu.Lock()
			d.missed = d.missed || len(d.events) > 0
			d.events = d.events[:0]
			d.mu.Unlock()
			break
		}
		p := d.nextEvent()
		if e.WritableLen() < eventSize {
			q.Push(e, 0)
			d.Broken(errEvent)
			return
		}
		answer(d, q, e, p[:])
		told = true
	}
	if told {
		q.Notify()
	}
}

// nextEvent takes the next event, with the flag that others were missed.
func (d *Device) nextEvent() (p [eventSize]byte) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.events) > 0 {
		p = d.events[0]
		d.events = append(d.events[:0], d.events[1:]...)
	}
	if d.missed {
		p[evKind+3] |= eventsMissed >> 24
		d.missed = false
	}
	return p
}
