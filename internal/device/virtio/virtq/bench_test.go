package virtq

import (
	"testing"

	"govmd/internal/device/virtio/ringtest"
)

// cycle returns what takes an element through a queue.
func cycle(tb testing.TB, f Features, indirect bool) func() {
	e := newEnv(tb, 256, f)
	segs := []ringtest.Seg{ringtest.Out(data, 16), ringtest.In(data+0x1000, 4096), ringtest.In(data+0x2000, 1)}
	var head uint16
	if indirect {
		head = e.ring.AddIndirect(tables, segs...)
	} else {
		head = e.ring.Add(segs...)
	}
	for i := uint64(0); i < 256; i++ {
		e.ring.Put16(e.ring.Avail+4+2*i, head)
	}
	avail, err := e.dma.Window(e.ring.Avail, 8, true)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(avail.Close)
	idx := uint16(0)
	return func() {
		idx++
		_ = avail.StoreU32(0, uint32(idx)<<16)
		el, err := e.q.Pop()
		if el == nil || err != nil {
			tb.Fatal(el, err)
		}
		e.q.Push(el, 4097)
		if _, err := e.q.Flush(); err != nil {
			tb.Fatal(err)
		}
		if _, err := e.q.SetNotify(true); err != nil {
			tb.Fatal(err)
		}
	}
}

func benchmark(b *testing.B, f Features, indirect bool) {
	run := cycle(b, f, indirect)
	b.ReportAllocs()
	for b.Loop() {
		run()
	}
}

func BenchmarkDirect(b *testing.B)   { benchmark(b, Features{}, false) }
func BenchmarkIndirect(b *testing.B) { benchmark(b, Features{Indirect: true}, true) }
func BenchmarkEventIndex(b *testing.B) {
	benchmark(b, Features{Indirect: true, EventIndex: true}, true)
}

func TestNoAllocations(t *testing.T) {
	for _, f := range []Features{{}, {Indirect: true}, {Indirect: true, EventIndex: true}} {
		if n := testing.AllocsPerRun(1000, cycle(t, f, f.Indirect)); n != 0 {
			t.Errorf("%+v: %v allocations for an element, want none", f, n)
		}
	}
}
