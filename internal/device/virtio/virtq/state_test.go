package virtq

import (
	"fmt"
	"reflect"
	"testing"

	"govmd/internal/device/virtio/ringtest"
)

func TestOrphansOfAReset(t *testing.T) {
	e := newEnv(t, 8, Features{})
	e.ring.Add(ringtest.In(data, 4))
	e.ring.Add(ringtest.In(data+16, 4))
	a, b := e.pop(t), e.pop(t)
	e.q.Reset()
	e.q.Push(a, 4)
	e.ring.Clear()
	if err := e.q.Enable(e.config(Features{})); err != nil {
		t.Fatal(err)
	}
	e.ring.Add(ringtest.In(data, 4)) // has the head that b has
	e.ring.Add(ringtest.In(data, 4))
	e.pop(t)
	c := e.pop(t)
	e.q.Push(b, 4)
	e.q.Unpop(func() *Element { e.ring.Add(ringtest.In(data, 4)); return e.pop(t) }())
	if notify := e.flush(t); notify || e.ring.UsedIndex() != 0 {
		t.Errorf("an orphan came into the used ring: %v", e.ring.Take())
	}
	e.q.Push(c, 1)
	e.flush(t)
	if got := fmt.Sprint(e.ring.Take()); got != "[{1 1}]" {
		t.Errorf("used: %s", got)
	}
}

func TestUnpopKeepsOrder(t *testing.T) {
	e := newEnv(t, 8, Features{})
	for i := range 5 {
		e.ring.Add(ringtest.In(data, uint32(i+1)))
	}
	a, b, c := e.pop(t), e.pop(t), e.pop(t)
	e.q.Unpop(c)
	e.q.Unpop(a)
	if more, _ := e.q.SetNotify(true); !more {
		t.Error("SetNotify does not see what was put back")
	}
	for i, want := range []uint64{1, 3, 4, 5} {
		if el := e.pop(t); el.WritableLen() != want {
			t.Errorf("pop %d: length %d, want %d", i, el.WritableLen(), want)
		}
	}
	e.empty(t)
	e.q.Push(b, 0)
}

func TestSaveAndLoad(t *testing.T) {
	e := newEnv(t, 8, Features{EventIndex: true})
	for i := range 6 {
		e.ring.Add(ringtest.In(data, uint32(i+1)))
	}
	a, b, c, d := e.pop(t), e.pop(t), e.pop(t), e.pop(t)
	e.q.Push(b, 2) // not flushed
	e.q.Unpop(c)
	s := e.q.Save()
	want := State{LastAvail: 4, Used: 1, InFlight: []uint16{a.head, 2, d.head}}
	if !reflect.DeepEqual(s, want) {
		t.Fatalf("saved %+v, want %+v", s, want)
	}
	if got := e.ring.Take(); len(got) != 1 || got[0].ID != 1 {
		t.Errorf("saving shows the driver %v", got)
	}

	to := NewSplit(e.dma, nil)
	if err := to.Load(e.config(Features{EventIndex: true}), s); err != nil {
		t.Fatal(err)
	}
	if again := to.Save(); !reflect.DeepEqual(again, s) {
		t.Errorf("saved again %+v, want %+v", again, s)
	}
	for i, want := range []uint64{1, 3, 4, 5, 6} {
		el, err := to.Pop()
		if err != nil || el == nil || el.WritableLen() != want {
			t.Fatalf("pop %d: %+v, %v, want length %d", i, el, err, want)
		}
		to.Push(el, uint32(want))
	}
	if notify, err := to.Flush(); !notify || err != nil {
		t.Errorf("notify %v, %v: the first flush after loading notifies", notify, err)
	}
	if got := e.ring.Take(); len(got) != 5 || got[4].Len != 6 {
		t.Errorf("used %v", got)
	}
	to.Reset()
}

func TestLoadRefuses(t *testing.T) {
	e := newEnv(t, 8, Features{})
	cfg := e.config(Features{})
	for _, s := range []State{
		{InFlight: []uint16{8}},
		{InFlight: []uint16{1, 1}},
		{InFlight: make([]uint16, 9)},
	} {
		q := NewSplit(e.dma, nil)
		if err := q.Load(cfg, s); err == nil {
			t.Errorf("%+v was loaded", s)
		}
	}
	if err := e.q.Load(cfg, State{}); err == nil {
		t.Error("loaded into a queue in use")
	}
	if err := NewSplit(e.dma, nil).Load(Config{Size: 3}, State{}); err == nil {
		t.Error("a size of 3 was loaded")
	}
}

// A back end that never finishes, and a driver that resets and refills for ever.
func TestOrphansAreBounded(t *testing.T) {
	e := newEnv(t, 256, Features{})
	var out []*Element
	for range 100 {
		for range 256 {
			e.ring.Add(ringtest.In(data, 1))
		}
		for {
			el, err := e.q.Pop()
			if err != nil {
				t.Fatal(err)
			}
			if el == nil {
				break
			}
			out = append(out, el)
		}
		e.q.Reset()
		e.ring.Clear()
		if err := e.q.Enable(e.config(Features{})); err != nil {
			t.Fatal(err)
		}
	}
	if len(out) != maxOutstanding {
		t.Errorf("%d elements are out, want %d", len(out), maxOutstanding)
	}
	e.ring.Add(ringtest.In(data, 1))
	e.empty(t)
	if e.wakes != 0 {
		t.Errorf("%d wakes too early", e.wakes)
	}
	e.q.Push(out[0], 0)
	if e.wakes != 1 {
		t.Errorf("%d wakes, want 1", e.wakes)
	}
	e.pop(t)
}

func TestSegmentsAreBounded(t *testing.T) {
	e := newEnv(t, 256, Features{Indirect: true})
	for i := uint16(0); i < 1000; i++ {
		e.ring.SetDesc(tables, i, data, 1, ringtest.Next, i+1)
	}
	e.ring.SetDesc(tables, 999, data, 1, 0, 0)
	for i := uint16(0); i < 256; i++ {
		e.ring.SetDesc(e.ring.Desc, i, tables, 16000, ringtest.Indirect, 0)
		e.ring.Expose(i)
	}
	n := 0
	for {
		el, err := e.q.Pop()
		if err != nil {
			t.Fatal(err)
		}
		if el == nil {
			break
		}
		n++
	}
	if n < 60 || n > maxOutstandingSegments/1000+1 {
		t.Errorf("%d elements of 1000 segments are out", n)
	}
}
