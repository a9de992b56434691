package virtq

import (
	"encoding/binary"
	"errors"
	"sort"
)

var errWraps = errors.New("it goes beyond the end of the address space")

// Push implements Queue.
func (q *Split) Push(e *Element, written uint32) {
	segments := len(e.Readable) + len(e.Writable)
	written = uint32(min(uint64(written), e.writeLen))
	e.release(uint64(written))

	q.mu.Lock()
	wake := q.takeBack(e, segments)
	if live := q.settle(e); live && q.ready && !q.dead {
		q.stage(uint32(e.head), written)
	}
	q.free = append(q.free, e)
	q.mu.Unlock()
	if wake {
		q.wake()
	}
}

// Unpop implements Queue.
func (q *Split) Unpop(e *Element) {
	segments := len(e.Readable) + len(e.Writable)
	e.release(0)

	q.mu.Lock()
	wake := q.takeBack(e, segments)
	if q.settle(e) {
		i := sort.Search(len(q.again), func(i int) bool { return q.again[i].seq > e.seq })
		q.again = append(q.again, again{})
		copy(q.again[i+1:], q.again[i:])
		q.again[i] = again{e.head, e.seq}
	}
	q.free = append(q.free, e)
	q.mu.Unlock()
	if wake {
		q.wake()
	}
}

// stage writes an entry of the used ring. A ring that cannot be written is
// reported by publish, which meets it too.
func (q *Split) stage(id, written uint32) {
	if q.open() == nil {
		binary.LittleEndian.PutUint32(q.raw[:], id)
		binary.LittleEndian.PutUint32(q.raw[4:], written)
		_ = q.used.Write(4+8*uint64(q.usedNext&q.mask), q.raw[:8])
	}
	q.usedNext++
}

// takeBack counts an element that is no longer out, and reports whether there
// is now room for one that Pop has refused.
func (q *Split) takeBack(e *Element, segments int) (wake bool) {
	q.outstanding--
	q.segments -= segments
	if !q.stalled || q.outstanding >= maxOutstanding || q.segments >= maxOutstandingSegments {
		return false
	}
	q.stalled = false
	return q.wake != nil
}

// settle ends the element's being in flight. It reports whether it was: an
// orphan of a reset is not.
func (q *Split) settle(e *Element) bool {
	if e.gen != q.gen || int(e.head) >= len(q.inflight) || q.inflight[e.head] != e {
		return false
	}
	q.inflight[e.head] = nil
	q.inuse--
	return true
}

// Flush implements Queue.
func (q *Split) Flush() (notify bool, err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if !q.ready || q.dead || q.usedNext == q.usedIdx {
		return false, nil
	}
	if err := q.publish(); err != nil {
		return false, err
	}
	last, known := q.signalled, q.sigValid
	q.signalled, q.sigValid = q.usedIdx, true
	if q.cfg.Features.NotifyOnEmpty {
		if idle, err := q.idle(); idle || err != nil {
			return idle, err
		}
	}
	// The index was stored, with a full barrier, before the driver's wish is
	// read. The driver does it the other way round.
	if q.cfg.Features.EventIndex {
		event, err := q.avail.LoadU16(4 + 2*uint64(q.cfg.Size))
		if err != nil {
			return false, q.ringError(-1, err, "available ring is not readable")
		}
		return !known || passed(event, last, q.usedIdx), nil
	}
	flags, err := q.avail.LoadU16(0)
	if err != nil {
		return false, q.ringError(-1, err, "available ring is not readable")
	}
	return flags&availNoNotify == 0, nil
}

// passed reports whether an index that went from old to now went past event (2.7.10).
func passed(event, old, now uint16) bool { return now-event-1 < now-old }

// idle reports whether nothing is out and nothing is to be taken.
func (q *Split) idle() (bool, error) {
	if q.inuse > 0 || len(q.again) > 0 {
		return false, nil
	}
	more, err := q.look()
	return !more && err == nil, err
}

// publish shows the driver all that has been pushed.
func (q *Split) publish() error {
	if err := q.open(); err != nil {
		return q.die(err)
	}
	if err := q.storeUsed(q.usedNext); err != nil {
		return err
	}
	q.usedIdx = q.usedNext
	return nil
}

// storeUsed stores the device's flags and index, which are one word.
func (q *Split) storeUsed(idx uint16) error {
	w := uint32(idx) << 16
	if q.noNotify {
		w |= usedNoNotify
	}
	if err := q.used.StoreU32(0, w); err != nil {
		return q.ringError(-1, err, "used ring is not writable")
	}
	return nil
}

// SetNotify implements Queue.
func (q *Split) SetNotify(on bool) (more bool, err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if !q.ready || q.dead {
		return false, nil
	}
	if err := q.open(); err != nil {
		return false, q.die(err)
	}
	if !q.cfg.Features.EventIndex {
		if q.noNotify == on {
			q.noNotify = !on
			if err := q.storeUsed(q.usedIdx); err != nil {
				return false, err
			}
		}
	} else if on {
		// With an event index, silence is the default: the driver speaks only when
		// it passes the index.
		// The store is a full barrier before the load of the driver's index.
		if err := q.used.StoreU16(4+8*uint64(q.cfg.Size), q.lastAvail); err != nil {
			return false, q.ringError(-1, err, "used ring is not writable")
		}
	}
	if !on {
		return false, nil
	}
	if len(q.again) > 0 {
		return true, nil
	}
	return q.look()
}
