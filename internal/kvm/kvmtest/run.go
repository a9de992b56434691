package kvmtest

import (
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"govmd/internal/kvm"
)

// Limit is how long a guest may take before its test fails. It is generous:
// nothing waits for it unless something is broken.
const Limit = 20 * time.Second

// Run enters the guest on the calling goroutine, calling handle for each exit
// until it returns false.
func Run(t testing.TB, v *kvm.VCPU, handle func(kvm.Exit) bool) {
	t.Helper()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	tid := unix.Gettid()
	var fired atomic.Bool
	late := time.AfterFunc(Limit, func() {
		fired.Store(true)
		v.SetImmediateExit()
		_ = unix.Tgkill(unix.Getpid(), tid, unix.SIGURG)
	})
	for {
		exit, err := v.Run()
		if err != nil {
			t.Fatal(err)
		}
		if fired.Load() {
			t.Fatalf("guest still runs after %v", Limit)
		}
		if exit == kvm.ExitIntr || exit == kvm.ExitAgain {
			continue
		}
		if !handle(exit) {
			break
		}
	}
	late.Stop()
}

// Receive returns what arrives on ch, or fails the test when the Limit passes.
func Receive[T any](t testing.TB, what string, ch <-chan T) (v T) {
	t.Helper()
	late := time.NewTimer(Limit)
	defer late.Stop()
	select {
	case v = <-ch:
	case <-late.C:
		t.Fatalf("%s: still waiting after %v", what, Limit)
	}
	return v
}
