package kvm

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// ErrThreadEnded is returned by Thread.Do once Close has been called.
var ErrThreadEnded = errors.New("vCPU thread has ended")

// Thread runs one vCPU on an operating-system thread of its own, which makes
// all the vCPU's calls.
//
// It is either paused, the vCPU being out of the guest with no access half
// done, or running. Requests from other goroutines kick the vCPU out of the
// guest; no kick is lost, because the request is recorded and immediate exit set
// before the signal goes out, and only the thread itself clears them, before
// it looks at the requests.
//
// Pause, Do and Close wait until a handler that is being run returns. They must
// not be called with a lock held that a handler takes.
type Thread struct {
	vcpu    *VCPU
	handler Handler
	name    string
	pid     int
	tid     int
	wake    chan struct{} // capacity 1: tells a parked thread to look at the requests
	done    chan struct{} // closed when the thread has ended

	// attention says that there are requests. It is written under mu and read
	// by the thread before each entry.
	attention atomic.Bool

	gate    *Gate
	inGuest atomic.Bool // in the guest, or about to be; see Gate

	// Of the thread alone.
	pending bool // the last exit's access is completed by the next entry
	stop    Stop

	mu      sync.Mutex
	ops     []operation
	pause   bool          // shall be out of the guest
	parked  bool          // is out of the guest, and stays until pause is taken back
	idle    chan struct{} // closed while parked
	closing bool
	ended   bool
}

type operation struct {
	fn   func(*VCPU)
	done chan struct{}
}

// Procs returns the least GOMAXPROCS with which nothing waits for a processor
// slot longer than for a processor: a vCPU that leaves the guest needs a slot,
// and a busy goroutine may hold on to its for 10 ms.
func Procs(vcpus, iothreads int) int { return runtime.NumCPU() + vcpus + iothreads }

// StartThread starts a paused thread for v, which it owns from now on. name is
// what tools like top show of it, cut to 15 bytes; QEMU's users look for
// "CPU n/KVM". All threads of a machine share one gate.
func StartThread(v *VCPU, h Handler, name string, gate *Gate) *Thread {
	t := &Thread{
		vcpu: v, handler: h, name: name, pid: unix.Getpid(), gate: gate,
		wake:  make(chan struct{}, 1),
		done:  make(chan struct{}),
		idle:  make(chan struct{}),
		pause: true, parked: true,
	}
	close(t.idle)
	gate.add(t)
	ready := make(chan struct{})
	go t.main(ready)
	<-ready
	return t
}

// TID returns the thread's id.
func (t *Thread) TID() int { return t.tid }

// Name returns the thread's name.
func (t *Thread) Name() string { return t.name }

// Running reports whether the thread is in the guest or on its way there.
func (t *Thread) Running() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return !t.pause
}

// RequestPause makes the vCPU pause as soon as it can, and does not wait. A
// handler that calls it pauses its own vCPU before the next instruction.
func (t *Thread) RequestPause() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.pause = true
	t.kickLocked()
}

// WaitPaused waits until the vCPU is paused (by RequestPause, or because it
// stopped by itself), or until ctx ends.
func (t *Thread) WaitPaused(ctx context.Context) error {
	t.mu.Lock()
	idle := t.idle
	t.mu.Unlock()
	select {
	case <-idle:
		return nil
	case <-t.done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Pause makes the vCPU leave the guest and waits until it has. Whoever pauses
// several calls RequestPause on all first.
func (t *Thread) Pause() {
	t.RequestPause()
	_ = t.WaitPaused(context.Background())
}

// Resume lets a paused vCPU go on. It does not wait.
func (t *Thread) Resume() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.pause = false
	if t.parked {
		t.parked = false
		t.idle = make(chan struct{})
		t.wakeLocked()
	}
}

// Do runs fn on the vCPU's thread, at a point where no access of the guest is
// half done, whether the vCPU is paused or running, and waits until it has run.
// Called by a handler of this same vCPU, it runs fn at once, and then the
// access that the handler serves has not reached the registers yet.
func (t *Thread) Do(fn func(*VCPU)) error {
	op := operation{fn: fn, done: make(chan struct{})}
	t.mu.Lock()
	if !t.ended && unix.Gettid() == t.tid { // another thread may have the number of an ended one
		t.mu.Unlock()
		fn(t.vcpu)
		return nil
	}
	if t.closing {
		t.mu.Unlock()
		return ErrThreadEnded
	}
	t.ops = append(t.ops, op)
	t.kickLocked()
	t.mu.Unlock()
	<-op.done
	return nil
}

// Kick makes the vCPU leave the guest once and look at its requests.
func (t *Thread) Kick() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.kickLocked()
}

// Close ends the thread, waits for it, and closes the vCPU. What Do has queued
// still runs. Only the first call does anything.
func (t *Thread) Close() error {
	t.mu.Lock()
	first := !t.closing
	t.closing = true
	t.kickLocked()
	t.mu.Unlock()
	<-t.done
	if !first {
		return nil
	}
	t.gate.remove(t)
	return t.vcpu.Close()
}

func (t *Thread) kickLocked() {
	if t.ended {
		return
	}
	if t.parked {
		t.attention.Store(true)
		t.wakeLocked()
		return
	}
	if t.attention.Swap(true) {
		return // the thread has yet to look; immediate exit makes it
	}
	traceKick.Emit(t.name)
	t.vcpu.SetImmediateExit()
	// Go's own handler takes SIGURG and does nothing, but KVM_RUN returns. A
	// thread that is not in KVM_RUN yet is stopped there by immediate exit.
	_ = unix.Tgkill(t.pid, t.tid, unix.SIGURG)
}

func (t *Thread) wakeLocked() {
	select {
	case t.wake <- struct{}{}:
	default:
	}
}

func (t *Thread) main(ready chan<- struct{}) {
	// The thread ends with this goroutine: it is never unlocked and so not reused.
	runtime.LockOSThread()
	if unix.Gettid() == t.pid {
		// The main thread must stay free: signals sent to the process and
		// parent-death signals depend on it. While this goroutine holds it,
		// the next one gets another.
		locked := make(chan struct{})
		go t.main(locked)
		<-locked
		runtime.UnlockOSThread()
		close(ready)
		return
	}
	setThreadName(t.name)
	t.tid = unix.Gettid()
	close(ready)
	defer close(t.done)
	for {
		if t.pauseOrServe() {
			return
		}
		t.enter()
	}
}

// enter runs the guest until there are requests.
func (t *Thread) enter() {
	for !t.attention.Load() {
		if !t.gate.enter(t) {
			continue
		}
		exit, err := t.vcpu.Run()
		t.gate.leave(t)
		t.serve(exit, err)
	}
}

func (t *Thread) serve(exit Exit, err error) {
	var stop bool
	if err != nil {
		t.pending, stop = false, true
		t.stop = Stop{Kind: StopError, Err: err}
	} else {
		t.pending, stop = dispatch(t.vcpu, t.handler, exit, &t.stop)
	}
	if stop {
		if traceStop.On() {
			traceStop.Emit(t.vcpu.id, t.stop.String())
		}
		t.mu.Lock()
		t.pause = true
		t.attention.Store(true)
		t.mu.Unlock()
		t.handler.Stopped(&t.stop)
	}
}

// complete lets the kernel finish an access whose data the handler has given.
// That may bring up the next part of the same access, but never the guest's
// next instruction.
func (t *Thread) complete() {
	t.vcpu.SetImmediateExit()
	for t.pending {
		if !t.gate.enter(t) {
			continue // the access may end in memory whose slot is being changed
		}
		exit, err := t.vcpu.Run()
		t.gate.leave(t)
		t.serve(exit, err)
	}
}

// pauseOrServe does what was asked for. It returns when the guest shall be
// entered, or true when the thread shall end.
func (t *Thread) pauseOrServe() (end bool) {
	for {
		if t.pending {
			t.complete()
		}
		t.mu.Lock()
		t.attention.Store(false)
		t.vcpu.ClearImmediateExit()
		ops := t.ops
		t.ops = nil
		if len(ops) == 0 {
			switch {
			case t.closing:
				t.ended, t.pause = true, true
				t.mu.Unlock()
				return true
			case !t.pause:
				t.mu.Unlock()
				return false
			case !t.parked:
				t.parked = true
				close(t.idle)
			}
		}
		t.mu.Unlock()
		if len(ops) == 0 {
			<-t.wake
			continue
		}
		for _, op := range ops {
			op.fn(t.vcpu)
			close(op.done)
		}
	}
}
