package job

import (
	"context"
	"time"
)

// Start sets the worker going.
func (j *Job) Start() {
	j.setStatus(Running)
	j.mu.Lock()
	j.started, j.idle = true, false
	j.mu.Unlock()
	go j.work()
}

// work is the worker.
func (j *Job) work() {
	err := j.PausePoint()
	if err == nil {
		err = j.driver.Run(j.ctx, j)
	}
	j.mu.Lock()
	j.idle, j.ended = true, true
	j.cond.Broadcast()
	j.mu.Unlock()
	j.step(func() { j.complete(err) })
	close(j.finished)
}

// step queues fn for the lane, after all that the worker has queued before.
func (j *Job) step(fn func()) {
	j.mu.Lock()
	j.steps = append(j.steps, fn)
	j.mu.Unlock()
	j.manager.lane.Post(j.catchUp)
}

// catchUp does, on the lane, what the worker has queued for it.
func (j *Job) catchUp() {
	j.mu.Lock()
	steps := j.steps
	j.steps = nil
	j.mu.Unlock()
	for _, fn := range steps {
		fn()
	}
}

// PausePoint is where the worker, holding nothing that others wait for, lets
// itself be paused: it returns when there is no reason to pause. It returns
// ErrCancelled when the job is to stop at once. Worker only.
func (j *Job) PausePoint() error {
	j.mu.Lock()
	for j.pauses > 0 && j.ctx.Err() == nil {
		j.pauseLocked()
	}
	j.mu.Unlock()
	return j.stopped()
}

// MustPause reports whether PausePoint would wait, or fail: a worker with requests
// under way waits for them first. Any goroutine.
func (j *Job) MustPause() bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.pauses > 0 || j.ctx.Err() != nil
}

func (j *Job) stopped() error {
	if j.ctx.Err() != nil {
		return ErrCancelled
	}
	return nil
}

// pauseLocked shows the job as paused until there is no reason left.
func (j *Job) pauseLocked() {
	before, during := Running, Paused
	if j.ready {
		before, during = Ready, Standby
	}
	show := func(s Status) {
		j.mu.Unlock()
		j.step(func() { j.setStatus(s) })
		j.mu.Lock()
	}
	show(during)
	j.idleLocked(func() bool { return j.pauses == 0 })
	show(before)
}

// idleLocked has the worker idle until over is true or the job is to stop at once.
func (j *Job) idleLocked(over func() bool) {
	j.idle = true
	j.cond.Broadcast()
	for !over() && j.ctx.Err() == nil {
		j.cond.Wait()
	}
	j.idle = false
}

// Sleep has the worker idle for d, or until Wake, a pause or a cancellation ends
// it; then it is a PausePoint. Worker only.
func (j *Job) Sleep(d time.Duration) error { return j.SleepSince(j.Wakes(), d) }

// Wakes counts calls of Wake, for SleepSince. Any goroutine.
func (j *Job) Wakes() uint64 {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.wake
}

// SleepSince is Sleep after something that a Wake is about has been looked at: since
// is what Wakes returned before that. Worker only.
func (j *Job) SleepSince(since uint64, d time.Duration) error {
	if d > 0 {
		j.mu.Lock()
		rung := false
		alarm := time.AfterFunc(d, func() {
			j.mu.Lock()
			rung = true
			j.cond.Broadcast()
			j.mu.Unlock()
		})
		j.idleLocked(func() bool { return rung || j.wake != since || j.pauses > 0 || j.cancelled })
		j.mu.Unlock()
		alarm.Stop()
	}
	return j.PausePoint()
}

// WaitFor has the worker idle until over returns true, which is asked at first and
// after each Wake, or until the job is to stop; in between it is a PausePoint. over
// is called with the job locked: it must neither block nor call the job's methods.
// Worker only.
func (j *Job) WaitFor(over func() bool) error {
	j.mu.Lock()
	for !over() && !j.cancelled && j.ctx.Err() == nil {
		if j.pauses > 0 {
			j.pauseLocked()
			continue
		}
		j.idleLocked(func() bool { return over() || j.pauses > 0 || j.cancelled })
	}
	j.mu.Unlock()
	return j.PausePoint()
}

// Wake ends a Sleep and has WaitFor look again. Any goroutine.
func (j *Job) Wake() {
	j.mu.Lock()
	j.wake++
	j.cond.Broadcast()
	j.mu.Unlock()
}

// Ready says that the job can be told to complete from now on. Worker only.
func (j *Job) Ready() {
	j.mu.Lock()
	again := j.ready
	j.ready = true
	j.mu.Unlock()
	if again {
		return
	}
	j.step(func() {
		j.setStatus(Ready)
		if h := j.options.Hooks.Ready; h != nil {
			h(j)
		}
	})
}

// Pause adds a reason to pause. Any goroutine.
func (j *Job) Pause() {
	j.mu.Lock()
	j.pauses++
	j.cond.Broadcast()
	j.mu.Unlock()
}

// Resume takes back one Pause. Any goroutine.
func (j *Job) Resume() {
	j.mu.Lock()
	if j.pauses == 0 {
		j.mu.Unlock()
		panic("job: Resume without Pause")
	}
	j.pauses--
	j.cond.Broadcast()
	j.mu.Unlock()
}

// PauseForError pauses the job until a user resumes it, after an error of which
// the user has been told. Any goroutine.
func (j *Job) PauseForError() { j.userPause() }

// userPause reports whether the user had not paused the job yet.
func (j *Job) userPause() bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.userPaused {
		return false
	}
	j.userPaused = true
	j.pauses++
	j.cond.Broadcast()
	return true
}

// WaitIdle waits until the worker is not at work. Without a Pause before, it may
// be at work again at once. Any goroutine but the worker.
func (j *Job) WaitIdle(ctx context.Context) error {
	defer context.AfterFunc(ctx, func() {
		j.mu.Lock()
		j.cond.Broadcast()
		j.mu.Unlock()
	})()
	j.mu.Lock()
	defer j.mu.Unlock()
	for !j.idle {
		if err := ctx.Err(); err != nil {
			return err
		}
		j.cond.Wait()
	}
	return nil
}
