package worker

import (
	"fmt"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"
)

func start(t testing.TB) *Worker {
	t.Helper()
	w, err := New("test-worker")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.Close)
	w.Start()
	return w
}

func TestKickRunsOnTheThread(t *testing.T) {
	w := start(t)
	ran := make(chan int, 1)
	s, err := w.Add(func() { ran <- unix.Gettid() })
	if err != nil {
		t.Fatal(err)
	}
	s.Kick()
	if tid := <-ran; tid != w.TID() || tid == 0 {
		t.Errorf("ran on thread %d, want %d", tid, w.TID())
	}
	name, err := os.ReadFile(fmt.Sprintf("/proc/self/task/%d/comm", w.TID()))
	if err != nil || strings.TrimSpace(string(name)) != "test-worker" {
		t.Errorf("thread is named %q (%v)", name, err)
	}
}

func TestSignalsBeforeStartAreServed(t *testing.T) {
	w, err := New("late")
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	ran := make(chan struct{}, 1)
	s, _ := w.Add(func() { ran <- struct{}{} })
	s.Kick()
	w.Start()
	<-ran
}

func TestPauseRemembersSignals(t *testing.T) {
	w := start(t)
	var mu sync.Mutex
	runs := 0
	s, _ := w.Add(func() { mu.Lock(); runs++; mu.Unlock() })
	w.Pause()
	s.Kick()
	w.Sync() // returns at once
	mu.Lock()
	if runs != 0 {
		t.Errorf("function ran %d times while paused", runs)
	}
	mu.Unlock()
	w.Resume()
	w.Sync()
	if runs != 1 {
		t.Errorf("function ran %d times after the pause, want 1", runs)
	}
}

func TestExcludeKeepsFunctionsOut(t *testing.T) {
	w := start(t)
	n := 0 // the race detector watches this
	s, _ := w.Add(func() { n++ })
	for i := 0; i < 1000; i++ {
		s.Kick()
		w.Exclude(func() { n++ })
	}
	w.Sync()
	if n <= 1000 {
		t.Errorf("n = %d, want more than 1000", n)
	}
}

func TestClosedSourceDoesNotRun(t *testing.T) {
	w := start(t)
	var a, b *Source
	var aRuns, bRuns atomic.Int32
	a, _ = w.Add(func() { aRuns.Add(1) })
	a.Close()
	a.Kick()
	a.Close()
	b, _ = w.Add(func() { bRuns.Add(1) }) // in a's slot
	w.Sync()
	if aRuns.Load()+bRuns.Load() != 0 {
		t.Errorf("ran %d and %d times", aRuns.Load(), bRuns.Load())
	}
	b.Kick()
	w.Sync()
	if bRuns.Load() != 1 {
		t.Errorf("new source ran %d times, want 1", bRuns.Load())
	}
}

func TestCloseWhilePausedAndBusy(t *testing.T) {
	w, err := New("closing")
	if err != nil {
		t.Fatal(err)
	}
	s, _ := w.Add(func() {})
	w.Start()
	s.Kick()
	w.Pause()
	s.Kick()
	w.Close()
	w.Close()
	if _, err := w.Add(func() {}); err != ErrClosed {
		t.Errorf("Add on a closed worker: %v", err)
	}
	s.Close()
	s.Kick()
}

func TestManySources(t *testing.T) {
	w := start(t)
	runs := make([]int, 100)
	var list []*Source
	for i := range runs {
		s, err := w.Add(func() { runs[i]++ })
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, s)
	}
	for _, s := range list {
		s.Kick()
	}
	w.Sync()
	for i, n := range runs {
		if n != 1 {
			t.Errorf("source %d ran %d times", i, n)
		}
	}
}

func BenchmarkKick(b *testing.B) {
	w := start(b)
	ran := make(chan struct{}, 1)
	s, _ := w.Add(func() {
		select {
		case ran <- struct{}{}:
		default:
		}
	})
	b.ReportAllocs()
	for b.Loop() {
		s.Kick()
		<-ran
	}
}
