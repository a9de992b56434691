package vscsi

import (
	"encoding/binary"

	"govmd/internal/device/scsi"
	"govmd/internal/device/virtio"
	"govmd/internal/device/virtio/virtq"
)

// Requests of the control queue (5.6.6.2).
const (
	controlTMF         = 0 // a task management function
	controlANQuery     = 1 // asynchronous notifications
	controlANSubscribe = 2

	tmfSize  = 24 // type, function, lun, id
	tmfSub   = 4
	tmfLUN   = 8
	tmfID    = 16
	anSize   = 16 // type, lun, events
	anAnswer = 5  // events, response
)

// Task management functions.
const (
	abortTask    = 0
	abortTaskSet = 1
	clearTaskSet = 3
	nexusReset   = 4
	unitReset    = 5
	queryTask    = 6
	queryTaskSet = 7
)

// serveControl is the handler of the control queue.
func (d *Device) serveControl(q *virtio.Queue) {
	for e := q.Pop(); e != nil; e = q.Pop() {
		d.control(q, e)
	}
	q.Notify()
}

func (d *Device) control(q *virtio.Queue, e *virtq.Element) {
	var p [tmfSize]byte
	n, err := e.ReadAt(p[:], 0)
	kind := binary.LittleEndian.Uint32(p[:])
	switch {
	case err != nil || n < 4:
	case kind == controlTMF && n == tmfSize && e.WritableLen() >= 1:
		d.manage(q, e, p[:])
		return
	case (kind == controlANQuery || kind == controlANSubscribe) && n >= anSize && e.WritableLen() >= anAnswer:
		// There is nothing of which the bus tells by itself.
		answer(d, q, e, make([]byte, anAnswer))
		return
	case kind > controlANSubscribe && e.WritableLen() >= 1:
		answer(d, q, e, []byte{respFailure})
		return
	}
	q.Push(e, 0)
	d.Broken(errControl)
}

// answer pushes a control request. The driver sees it after the queue's Notify.
func answer(d *Device, q *virtio.Queue, e *virtq.Element, p []byte) {
	if _, err := e.WriteAt(p, 0); err != nil {
		d.GuestErrorf("%v", err)
	}
	q.Push(e, uint32(len(p)))
}

// manage carries out a task management function. It ends when the tasks that it ends
// have ended.
func (d *Device) manage(q *virtio.Queue, e *virtq.Element, p []byte) {
	function, id := binary.LittleEndian.Uint32(p[tmfSub:]), binary.LittleEndian.Uint64(p[tmfID:])
	at, ok := address(p[tmfLUN:])
	reply := func(response byte) { answer(d, q, e, []byte{response}) }
	if function == nexusReset {
		var units []*scsi.Unit
		if ok {
			units = d.bus.Target(at.Channel, at.Target)
		}
		d.abort(q, e, true, nil, units...)
		return
	}
	unit, target := (*scsi.Unit)(nil), false
	if ok {
		unit, target = d.bus.Unit(at)
	}
	match := func(r *scsi.Request) bool { return r.Tag == id }
	switch function {
	case abortTask, abortTaskSet, clearTaskSet, unitReset, queryTask, queryTaskSet:
		switch {
		case !target:
			reply(respBadTarget)
			return
		case unit == nil:
			reply(respIncorrectLUN)
			return
		}
	}
	found := false
	switch function {
	case abortTask:
		d.abort(q, e, false, match, unit)
		return
	case abortTaskSet, clearTaskSet:
		d.abort(q, e, false, nil, unit)
		return
	case unitReset:
		d.abort(q, e, true, nil, unit)
		return
	case queryTask:
		found = unit.Has(id)
	case queryTaskSet:
		found = unit.Busy()
	default:
		reply(respRejected)
		return
	}
	if found {
		reply(respSucceeded)
		return
	}
	reply(respComplete)
}

// abort ends requests of units (match nil: all of them), resets the units if it is
// to, and then answers.
func (d *Device) abort(q *virtio.Queue, e *virtq.Element, reset bool, match func(*scsi.Request) bool, units ...*scsi.Unit) {
	if match == nil {
		match = func(*scsi.Request) bool { return true }
	}
	a := scsi.NewAbort(func() {
		answer(d, q, e, []byte{respComplete})
		q.Notify()
	})
	for _, u := range units {
		a.Add(u, match)
		if reset {
			u.Reset()
		}
	}
	a.Go()
}
