package lane

import (
	"context"
	"errors"
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
