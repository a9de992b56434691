package runstate

import (
	"slices"
	"sync"
)

// requests are what has been asked for and not yet acted upon. Each kind is
// remembered once, so that a guest which asks in a loop costs nothing.
type requests struct {
	mu sync.Mutex // guards pending; nothing is called with it held
	pending
}

type pending struct {
	stop      State
	shutdown  Cause
	reset     Cause
	powerdown bool
	suspend   bool
	wakeup    WakeReason
	panicked  bool
	watchdog  bool
	exit      *int
}

// take returns all requests and forgets them.
func (r *requests) take() pending {
	r.mu.Lock()
	defer r.mu.Unlock()
	p := r.pending
	r.pending = pending{}
	return p
}

// failed reports whether a hook has given up.
func (r *requests) failed() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.shutdown == CauseHostError
}

// forgetGuest drops what a guest that is being reset has asked for.
func (r *requests) forgetGuest() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.suspend, r.wakeup, r.watchdog = false, "", false
	if r.reset.Guest() {
		r.reset = ""
	}
}

func (c *Controller) request(set func(*pending)) {
	c.requests.mu.Lock()
	set(&c.requests.pending)
	c.requests.mu.Unlock()
	c.task.Schedule()
	traceRequest.Emit()
}

// requestOf is a request after which the vCPU that makes it, if it is one that
// does, executes nothing more until the request has been acted upon.
func (c *Controller) requestOf(set func(*pending)) {
	if v, ok := c.vcpus.(selfPauser); ok {
		v.PauseSelf()
	}
	c.request(set)
}

// severity ranks the states that can be asked for: what is worse is kept.
var severity = []State{Debug, Paused, IOError, Watchdog, GuestPanicked, Shutdown, InternalError}

func worse(a, b State) State {
	if slices.Index(severity, b) > slices.Index(severity, a) {
		return b
	}
	return a
}

// RequestStop asks for the machine to stop in state s (debug, paused, io-error,
// watchdog, guest-panicked, shutdown or internal-error), as an I/O error does. Of
// several that are asked for at a time the worst is entered. A guest that sleeps
// in S3 is stopped when it wakes.
func (c *Controller) RequestStop(s State) {
	c.request(func(r *pending) { r.stop = worse(r.stop, s) })
}

// RequestShutdown asks for the end of the machine. The first cause counts, but
// for one that ends the program, which takes the place of one that may not.
func (c *Controller) RequestShutdown(cause Cause) {
	c.requestOf(func(r *pending) { r.end(cause) })
}

func (r *pending) end(cause Cause) {
	if r.shutdown == "" || cause.final() && !r.shutdown.final() || cause == CauseHostError {
		r.shutdown = cause
	}
}

// RequestReset asks for a reset. A vCPU whose register write does that executes
// nothing more before it.
func (c *Controller) RequestReset(cause Cause) {
	c.requestOf(func(r *pending) {
		if r.reset == "" || !cause.Guest() {
			r.reset = cause
		}
	})
}

// RequestPowerdown asks the guest to shut down, by its power button.
func (c *Controller) RequestPowerdown() { c.request(func(r *pending) { r.powerdown = true }) }

// RequestSuspend says that the guest has entered S3.
func (c *Controller) RequestSuspend() { c.requestOf(func(r *pending) { r.suspend = true }) }

// WakeReason is what ends a guest's sleep in S3, as the board tells the guest.
type WakeReason string

// The reasons. WakeOther is a key, a byte on a serial line or the user.
const (
	WakeOther WakeReason = "other"
	WakeRTC   WakeReason = "rtc" // the alarm of the real-time clock
	WakeTimer WakeReason = "pm-timer"
)

// RequestWakeup asks for the guest to leave S3; it does nothing in other states.
// The first reason counts.
func (c *Controller) RequestWakeup(reason WakeReason) {
	c.request(func(r *pending) {
		if r.wakeup == "" {
			r.wakeup = reason
		}
	})
}

// RequestPanicked says that the guest has panicked.
func (c *Controller) RequestPanicked() { c.request(func(r *pending) { r.panicked = true }) }

// RequestExit asks for the end of the program with the given status, as a test
// guest does: no event, no policy.
func (c *Controller) RequestExit(code int) {
	c.requestOf(func(r *pending) {
		if r.exit == nil {
			r.exit = &code
		}
	})
}

// ExitCode returns the status that RequestExit, a watchdog or the policy for panics
// asked for, once the machine is over because of it.
func (c *Controller) ExitCode() (code int, ok bool) {
	p := c.exitCode.Load()
	if p == nil {
		return 0, false
	}
	return *p, true
}

// serve acts on all requests, in QEMU's order.
func (c *Controller) serve() {
	r := c.requests.take()
	if c.ended {
		return
	}
	if r.watchdog {
		c.watchdog(&r)
	}
	if r.exit != nil {
		c.exitCode.Store(r.exit)
		c.end(CauseNone)
		return
	}
	if r.panicked {
		if cause := c.panicked(); cause != "" {
			r.end(cause)
		}
	}
	if r.reset != "" && c.policy.NoReboot && r.reset != CauseSubsystemReset {
		r.end(r.reset)
		r.reset = ""
	}
	if r.suspend && r.reset == "" { // sleep does not survive a reset
		c.suspend()
	}
	if r.shutdown != "" && c.shutdown(r.shutdown) {
		return
	}
	if r.reset != "" {
		c.Reset(r.reset)
	}
	if r.wakeup != "" {
		c.wakeup(r.wakeup)
	}
	if r.powerdown {
		c.bus.Publish(PowerdownEvent{})
		call(c.hooks.Powerdown)
	}
	c.serveStop(r.stop)
}

func (c *Controller) serveStop(s State) {
	switch {
	case s == "":
	case c.Running():
		_ = c.Stop(s) // only states that may follow running are requested
	case c.State() == Suspended:
		c.stopped = worse(c.stopped, s)
	}
}
