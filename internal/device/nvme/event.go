package nvme

import "slices"

// Asynchronous events (section 5.2): types, what has happened, and the log that tells
// more.
const (
	eventError  = 0
	eventSMART  = 1
	eventNotice = 2

	errorDoorbell      = 0 // of a queue that is not there
	errorDoorbellValue = 1
	smartTemperature   = 1
	noticeNamespace    = 0

	// Bits of the feature that says of which events to tell.
	wantTemperature = 1 << 1
	wantNamespace   = 1 << 8
)

// events are those that were not told, and the commands that wait for them.
type events struct {
	waiting []uint16 // identifiers of commands
	queued  []uint32 // results
	masked  uint8    // types that were told of, until their log is read
	changed bool     // the namespace, until the log that says so is read
}

// awaitEvent is ASYNCHRONOUS EVENT REQUEST.
func (d *Device) awaitEvent(r *request) uint16 {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.events.waiting) > int(d.aerLimit) {
		return statusTooManyEvents
	}
	d.events.waiting = append(d.events.waiting, r.command.cid())
	d.tellEvents()
	return kept
}

// event has the driver told of something, if it wants to be. It may be called from
// anywhere.
func (d *Device) event(kind, what, log uint32) {
	d.mu.Lock()
	defer d.mu.Unlock()
	want := d.features.events
	if kind == eventSMART && want&wantTemperature == 0 || kind == eventNotice && want&wantNamespace == 0 {
		return
	}
	result := kind | what<<8 | log<<16
	if len(d.events.queued) < int(d.aerMaxQueued) && !slices.Contains(d.events.queued, result) {
		d.events.queued = append(d.events.queued, result)
	}
	d.tellEvents()
}

// tellEvents tells of events for which commands wait. mu is held.
func (d *Device) tellEvents() {
	e := &d.events
	for i := 0; i < len(e.queued) && len(e.waiting) > 0 && d.sqs[0] != nil; {
		result := e.queued[i]
		bit := uint8(1) << (result & 7)
		if e.masked&bit != 0 {
			i++
			continue
		}
		e.masked |= bit
		sq := d.sqs[0]
		sq.cq.post(entry{Result: result, SQHead: uint16(sq.head.Load()), CID: e.waiting[0]})
		e.waiting = slices.Delete(e.waiting, 0, 1)
		e.queued = slices.Delete(e.queued, i, i+1)
	}
}

// logRead has events of that kind told again.
func (d *Device) logRead(kind uint32) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.events.masked &^= 1 << kind
	if kind == eventNotice {
		d.events.changed = false
	}
	d.tellEvents()
}

// namespaceChanged says that the medium has another size.
func (d *Device) namespaceChanged() {
	d.mu.Lock()
	d.events.changed = true
	d.mu.Unlock()
	d.event(eventNotice, noticeNamespace, logChanged)
}
