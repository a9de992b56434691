package virtq

import (
	"testing"

	"govmd/internal/device/virtio/ringtest"
)

func TestFlagSuppressesNotification(t *testing.T) {
	e := newEnv(t, 8, Features{})
	e.ring.Put16(e.ring.Avail, availNoNotify)
	e.ring.Add(ringtest.In(data, 1))
	e.q.Push(e.pop(t), 1)
	if e.flush(t) {
		t.Error("notified in spite of the flag")
	}
	e.ring.Put16(e.ring.Avail, 0)
	e.ring.Add(ringtest.In(data, 1))
	e.q.Push(e.pop(t), 1)
	if !e.flush(t) {
		t.Error("not notified")
	}
}

func TestNotifyOnEmpty(t *testing.T) {
	e := newEnv(t, 8, Features{NotifyOnEmpty: true})
	e.ring.Put16(e.ring.Avail, availNoNotify)
	e.ring.Add(ringtest.In(data, 1))
	e.ring.Add(ringtest.In(data, 1))
	a, b := e.pop(t), e.pop(t)
	e.q.Push(a, 1)
	if e.flush(t) {
		t.Error("notified while an element was out")
	}
	e.q.Push(b, 1)
	if !e.flush(t) {
		t.Error("not notified when it ran out")
	}
}

// TestBreaksWhenEmpty: an index that is found to be wrong by a Flush is reported.
func TestBreaksWhenEmpty(t *testing.T) {
	e := newEnv(t, 8, Features{NotifyOnEmpty: true})
	e.ring.Add(ringtest.In(data, 1))
	e.q.Push(e.pop(t), 1)
	e.ring.Put16(e.ring.Avail+2, 100)
	if notify, err := e.q.Flush(); err == nil || notify {
		t.Errorf("notify %v, error %v of a broken ring", notify, err)
	}
	if e.q.Ready() {
		t.Error("the queue is ready")
	}
}

func TestUsedEvent(t *testing.T) {
	e := newEnv(t, 16, Features{EventIndex: true})
	push := func(n int) {
		for range n {
			e.ring.Add(ringtest.In(data, 1))
			e.q.Push(e.pop(t), 1)
		}
	}
	e.ring.SetUsedEvent(5)
	push(1)
	if !e.flush(t) {
		t.Error("the first flush always notifies")
	}
	push(4) // index 5: entries 0 to 4
	if e.flush(t) {
		t.Error("notified before the event")
	}
	push(3) // passes 5
	if !e.flush(t) {
		t.Error("not notified when the event was passed")
	}
	push(3)
	if e.flush(t) {
		t.Error("notified twice for one event")
	}
}

func TestSetNotifyByFlag(t *testing.T) {
	e := newEnv(t, 8, Features{})
	if more, err := e.q.SetNotify(false); more || err != nil {
		t.Fatal(more, err)
	}
	if f := e.ring.UsedFlags(); f != usedNoNotify {
		t.Errorf("flags %d", f)
	}
	e.ring.Add(ringtest.In(data, 1))
	e.q.Push(e.pop(t), 1)
	e.flush(t)
	if f, i := e.ring.UsedFlags(), e.ring.UsedIndex(); f != usedNoNotify || i != 1 {
		t.Errorf("flags %d, index %d", f, i)
	}
	e.ring.Add(ringtest.In(data, 1))
	if more, err := e.q.SetNotify(true); !more || err != nil {
		t.Errorf("more = %v, %v: an element is there", more, err)
	}
	if f, i := e.ring.UsedFlags(), e.ring.UsedIndex(); f != 0 || i != 1 {
		t.Errorf("flags %d, index %d", f, i)
	}
}

func TestSetNotifyByEvent(t *testing.T) {
	e := newEnv(t, 8, Features{EventIndex: true})
	for range 3 {
		e.ring.Add(ringtest.In(data, 1))
		e.q.Push(e.pop(t), 1)
	}
	if _, err := e.q.SetNotify(false); err != nil {
		t.Fatal(err)
	}
	if got := e.ring.AvailEvent(); got != 0 {
		t.Errorf("event %d", got)
	}
	if more, err := e.q.SetNotify(true); more || err != nil {
		t.Errorf("more = %v, %v: nothing is there", more, err)
	}
	if got := e.ring.AvailEvent(); got != 3 {
		t.Errorf("event %d, want 3", got)
	}
	e.ring.Add(ringtest.In(data, 1))
	if more, _ := e.q.SetNotify(true); !more {
		t.Error("an element was overlooked")
	}
}

// The event index is 16 bits at the end of the ring: what is behind it is not the device's.
func TestEventLeavesNeighboursAlone(t *testing.T) {
	e := newEnv(t, 8, Features{EventIndex: true})
	behind := e.ring.Used + 4 + 8*8 + 2
	e.ring.Put16(behind, 0xbeef)
	for range 5 {
		e.ring.Add(ringtest.In(data, 1))
		e.q.Push(e.pop(t), 1)
		if _, err := e.q.SetNotify(true); err != nil {
			t.Fatal(err)
		}
	}
	if got := e.ring.Get16(behind); got != 0xbeef {
		t.Errorf("behind the ring is %#x", got)
	}
}

// Old drivers may negotiate after they have set up their queues.
func TestFeaturesAfterEnable(t *testing.T) {
	e := newEnv(t, 8, Features{})
	e.ring.Add(ringtest.In(data, 1))
	el := e.pop(t)
	e.q.SetFeatures(Features{EventIndex: true})
	e.q.Push(el, 1)
	e.flush(t)
	if got := e.ring.Take(); len(got) != 1 {
		t.Errorf("used %v", got)
	}
	if _, err := e.q.SetNotify(true); err != nil || e.ring.AvailEvent() != 1 {
		t.Errorf("event %d, %v", e.ring.AvailEvent(), err)
	}
}
