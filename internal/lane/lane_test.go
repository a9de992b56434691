package lane

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
)

func TestOrderAndClose(t *testing.T) {
	l := New()
	var got []int
	for i := range 100 {
		l.Post(func() { got = append(got, i) })
	}
	l.Post(l.Close)
	l.Run()
	for i := range got {
		if got[i] != i {
			t.Fatalf("function %d ran as number %d", got[i], i)
		}
	}
	if len(got) != 100 {
		t.Fatalf("%d of 100 functions ran", len(got))
	}
	if l.Post(func() {}) {
		t.Error("a closed lane takes functions")
	}
	if err := l.Do(context.Background(), func() {}); !errors.Is(err, ErrClosed) {
		t.Errorf("Do on a closed lane: %v", err)
	}
}

func TestTaskRunsOncePerBurst(t *testing.T) {
	l := New()
	n := 0
	var task *Task
	task = l.NewTask(func() {
		n++
		if n == 1 {
			task.Schedule() // from inside: it runs again
		}
	})
	for range 1000 {
		task.Schedule()
	}
	if len(l.queue) != 1 {
		t.Fatalf("%d entries queued, want 1", len(l.queue))
	}
	l.Post(func() { l.Post(l.Close) })
	l.Run()
	if n != 2 {
		t.Errorf("task ran %d times, want 2", n)
	}
}

func TestDoWaits(t *testing.T) {
	l := New()
	go l.Run()
	defer l.Close()
	x := 0
	if err := l.Do(context.Background(), func() { x = 1 }); err != nil || x != 1 {
		t.Errorf("x = %d, err = %v", x, err)
	}
}

// When the caller stops waiting the function runs all the same.
func TestDoGivesUp(t *testing.T) {
	l := New()
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	ran := false
	if err := l.Do(ctx, func() { ran = true }); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	l.Close()
	l.Run()
	if !ran {
		t.Error("the function did not run")
	}
}

// Whatever was taken before Close runs, and whoever waits is let go.
func TestConcurrency(t *testing.T) {
	l := New()
	var taken, ran, tasks atomic.Int64
	task := l.NewTask(func() { tasks.Add(1) })
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for l.Post(func() { ran.Add(1) }) {
				taken.Add(1)
				task.Schedule()
				if err := l.Do(context.Background(), func() { ran.Add(1) }); err != nil {
					return
				}
				taken.Add(1)
			}
		})
	}
	wg.Go(func() {
		for tasks.Load() < 200 {
			task.Schedule()
			runtime.Gosched()
		}
		l.Close()
	})
	l.Run()
	wg.Wait()
	if taken.Load() != ran.Load() {
		t.Errorf("%d functions taken, %d ran", taken.Load(), ran.Load())
	}
}
