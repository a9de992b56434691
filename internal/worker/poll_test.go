package worker

import (
	"sync/atomic"
	"testing"
)

// The time that a worker polls follows how long work is in coming.
func TestPollingAdapts(t *testing.T) {
	w := &Worker{}
	step := func(took, want int64) {
		t.Helper()
		if w.adapt(took); w.spin != want {
			t.Errorf("after %d ns it polls %d ns, want %d", took, w.spin, want)
		}
	}
	step(1000, 0) // no polling was asked for
	w.SetPolling(Polling{Max: 32768})
	step(10000, 4000)
	step(3000, 4000)
	step(10000, 8000)
	step(10000, 16000)
	step(20000, 32000)
	step(32700, 32768)
	step(40000, 0)
	w.SetPolling(Polling{Max: 10000, Grow: 10, Shrink: 4})
	step(5000, 4000)
	step(5000, 10000)
	step(20000, 2500)
	w.SetPolling(Polling{Max: 100})
	w.spin = 0
	step(50, 100)
}

// What can be looked at is served without a signal, while the worker polls.
func TestPolledSourceRuns(t *testing.T) {
	w, err := New("poll")
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	w.SetPolling(Polling{Max: 1 << 50})
	w.spin = 1 << 50 // for as long as the test takes
	var work atomic.Int64
	ran := make(chan int64, 1)
	s, err := w.AddPolled(func() { ran <- work.Swap(0) }, func() bool { return work.Load() != 0 })
	if err != nil {
		t.Fatal(err)
	}
	w.Start()
	for i := int64(1); i < 10; i++ {
		work.Store(i)
		if got := <-ran; got != i {
			t.Fatalf("ran with %d, want %d", got, i)
		}
	}
	w.Pause()
	work.Store(10)
	w.Resume()
	s.Close()
}

func BenchmarkPoll(b *testing.B) {
	w, err := New("poll")
	if err != nil {
		b.Fatal(err)
	}
	defer w.Close()
	w.SetPolling(Polling{Max: 1})
	w.spin = 1
	if _, err := w.AddPolled(func() {}, func() bool { return false }); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		w.poll(now())
	}
}
