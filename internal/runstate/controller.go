package runstate

import (
	"slices"
	"sync/atomic"

	"govmd/internal/clock"
	"govmd/internal/event"
	"govmd/internal/lane"
)

// VCPUs is the set of virtual CPUs, as far as the run state is concerned.
type VCPUs interface {
	// Pause returns when no vCPU is in the guest; it takes bounded time.
	Pause()
	// Resume lets the vCPUs run.
	Resume()
}

// selfPauser is a set of vCPUs of which the calling one can be kept out of the
// guest, until all are resumed. Called by anybody else, PauseSelf does nothing.
type selfPauser interface{ PauseSelf() }

// Hooks are what the board does at changes of the machine's life. All run on
// the control lane with the vCPUs paused; nil ones are left out. A hook that
// fails requests a shutdown with CauseHostError: the guest does not go on then.
type Hooks struct {
	Reset     func(Cause) // reset every device and vCPU
	Powerdown func()      // press the power button; the vCPUs may run
	Suspend   func()      // the guest has entered S3
	End       func(Cause) // the machine is over: leave the process
	// Ready returns an error while the guest cannot go on, as an image lacks its key.
	Ready func() error
	// Wakeup leaves S3: it resets all but memory, enters the wake-up path and
	// tells the guest what has woken it.
	Wakeup func(WakeReason)
	// Watchdog does WatchdogInjectNMI and WatchdogDebug, when a watchdog has
	// expired; the vCPUs may run.
	Watchdog func(WatchdogAction)
}

// Controller owns the run state of one machine. Methods named Request may be
// called from any goroutine, a vCPU's included, and do not block; all others,
// unless they say otherwise, run on the control lane.
type Controller struct {
	lane    *lane.Lane
	bus     *event.Bus
	virtual *clock.Clock
	task    *lane.Task

	state    atomic.Value // State; read anywhere, written on the lane
	exitCode atomic.Pointer[int]

	vcpus     VCPUs
	hooks     Hooks
	policy    Policy
	notifiers []*notifier
	ended     bool

	asleep  bool       // the machine is stopped, and its guest sleeps in S3
	wake    WakeReason // the guest shall wake when such a machine goes on, or ""
	stopped State      // what an I/O error or the like asked for while the guest slept, or ""
	before  State      // what a passing state has come from
	loaded  *Saved     // what was loaded and not acted upon yet

	requests requests
}

type notifier struct {
	priority int
	fn       func(running bool, s State)
	removed  bool
}

// New returns a controller in state prelaunch, with the virtual clock stopped.
func New(l *lane.Lane, bus *event.Bus, virtual *clock.Clock) *Controller {
	c := &Controller{lane: l, bus: bus, virtual: virtual}
	c.state.Store(Prelaunch)
	c.task = l.NewTask(c.serve)
	return c
}

// Attach gives the controller its vCPUs and the board's hooks, once, before the
// machine first runs.
func (c *Controller) Attach(v VCPUs, h Hooks) { c.vcpus, c.hooks = v, h }

// SetPolicy sets what follows what the guest does.
func (c *Controller) SetPolicy(p Policy) { c.policy = p }

// Policy returns what was set.
func (c *Controller) Policy() Policy { return c.policy }

// State returns the current state. It may be called from any goroutine.
func (c *Controller) State() State { return c.state.Load().(State) }

// Running reports whether the guest runs. It may be called from any goroutine.
func (c *Controller) Running() bool { return c.State() == Running }

// AddNotifier adds fn to those who must act when the machine starts or stops:
// on a start from the lowest priority to the highest, on a stop the other way
// round. At a stop no vCPU is in the guest any more and the virtual clock still
// runs; fn must take nothing new and must not wait for storage or peers. A guest
// that sleeps in S3 has not stopped in this sense. The returned function removes fn.
func (c *Controller) AddNotifier(priority int, fn func(running bool, s State)) (remove func()) {
	n := &notifier{priority: priority, fn: fn}
	c.notifiers = append(c.notifiers, n)
	slices.SortStableFunc(c.notifiers, func(a, b *notifier) int { return a.priority - b.priority })
	return func() {
		n.removed = true
		c.notifiers = slices.DeleteFunc(slices.Clone(c.notifiers), func(x *notifier) bool { return x == n })
	}
}

func (c *Controller) notify(running bool, s State) {
	list := slices.Clone(c.notifiers)
	if !running {
		slices.Reverse(list)
	}
	for _, n := range list {
		if !n.removed {
			n.fn(running, s)
		}
	}
}

func (c *Controller) pause() {
	if c.vcpus != nil {
		c.vcpus.Pause()
	}
}

// resume lets the vCPUs run, unless a hook has failed.
func (c *Controller) resume() {
	if c.vcpus != nil && !c.requests.failed() {
		c.vcpus.Resume()
	}
}

func call(hook func()) {
	if hook != nil {
		hook()
	}
}

// Set changes the state without starting or stopping anything, as migration
// does between its phases.
func (c *Controller) Set(s State) error {
	from := c.State()
	if !from.CanFollow(s) {
		return &TransitionError{from, s}
	}
	c.enter(s)
	return nil
}

func (c *Controller) enter(s State) {
	if from := c.State(); s.passing() && !from.passing() {
		c.before = from
	}
	c.loaded = nil
	traceState.Emit(c.State(), s)
	c.state.Store(s)
}

// Start lets the guest run, or sleep on when the machine was stopped while its
// guest slept. It does nothing when it runs or sleeps already, nor when the
// machine is over.
func (c *Controller) Start() error {
	if c.State().live() || c.ended {
		return nil
	}
	if c.hooks.Ready != nil {
		if err := c.hooks.Ready(); err != nil {
			return err
		}
	}
	next := Running
	if c.asleep {
		next = Suspended
	}
	if err := c.Set(next); err != nil {
		return err
	}
	c.asleep = false
	if next == Running {
		c.bus.Publish(Resumed{})
	}
	c.virtual.Start()
	c.notify(true, next)
	if next == Running {
		c.resume()
	} else if c.wake != "" {
		c.wakeup(c.wake)
	}
	return nil
}

// Stop stops the guest and enters s, which is not a state in which it runs or
// sleeps. When the guest has stopped already, only the state changes.
func (c *Controller) Stop(s State) error {
	from := c.State()
	if s.live() || !from.CanFollow(s) {
		return &TransitionError{from, s}
	}
	if !from.live() || c.ended {
		return c.Set(s)
	}
	if from == Running {
		c.pause()
	}
	c.halt(s)
	c.asleep = from == Suspended
	if from == Running {
		c.bus.Publish(Stopped{})
	}
	return nil
}

// halt is the part of a stop that follows the pausing of vCPUs.
func (c *Controller) halt(s State) {
	c.notify(false, s)
	c.virtual.Stop()
	c.enter(s)
}

// Reset resets the machine at once. A machine that was stopped, or asleep, is
// then stopped in state prelaunch.
func (c *Controller) Reset(cause Cause) {
	traceReset.Emit(cause)
	if c.ended {
		return
	}
	from := c.State()
	if from == Running {
		c.pause()
	}
	// What the guest asked for before it was paused is moot.
	c.requests.forgetGuest()
	if c.hooks.Reset != nil {
		c.hooks.Reset(cause)
	}
	if cause.announced() {
		c.bus.Publish(ResetEvent{Guest: cause.Guest(), Reason: cause})
	}
	c.asleep, c.wake, c.stopped = false, "", ""
	switch {
	case from == Running:
		c.resume()
	case from == Suspended:
		c.halt(Prelaunch)
	case !from.passing(): // a migration or snapshot goes on
		c.enter(Prelaunch)
	}
}

// shutdown ends the machine, or pauses it where the policy says so. It reports
// whether the machine is over.
func (c *Controller) shutdown(cause Cause) bool {
	c.bus.Publish(ShutdownEvent{Guest: cause.Guest(), Reason: cause})
	if c.policy.NoShutdown && !cause.final() {
		_ = c.Stop(Shutdown) // a machine that has stopped for another reason stays as it is
		return false
	}
	c.end(cause)
	return true
}

func (c *Controller) end(cause Cause) {
	c.ended = true
	traceEnd.Emit(cause)
	if cause == CauseGuestPanic && c.policy.Panic == PanicExitFailure {
		failure := 1
		c.exitCode.Store(&failure)
	}
	if c.Running() {
		c.pause()
	}
	if c.hooks.End != nil {
		c.hooks.End(cause)
	}
}

// Close ends all dealings with the vCPUs, the hooks and the notifiers: nothing
// starts, stops or resets the machine any more.
func (c *Controller) Close() { c.ended = true }

// suspend follows the guest's entering S3. Its clock and devices go on: they can
// wake it.
func (c *Controller) suspend() {
	s := c.State()
	switch {
	case s == Running:
		c.pause()
	case s.live() || s.NeedsReset() || s == Prelaunch || s == GuestPanicked:
		return
	}
	call(c.hooks.Suspend)
	if s == Running {
		c.enter(Suspended)
	} else {
		c.asleep = true // it was stopped in the same moment
	}
	c.bus.Publish(SuspendEvent{})
}

func (c *Controller) wakeup(reason WakeReason) {
	if c.asleep {
		if c.wake == "" {
			c.wake = reason // when it goes on
		}
		return
	}
	if c.State() != Suspended {
		return
	}
	c.wake = ""
	if c.hooks.Wakeup != nil {
		c.hooks.Wakeup(reason)
	}
	c.enter(Running)
	c.resume()
	c.bus.Publish(WakeupEvent{})
	if s := c.stopped; s != "" {
		c.stopped = ""
		_ = c.Stop(s) // only states that may follow running are requested
	}
}

// panicked publishes what becomes of a guest that has panicked, and does it. It
// returns the shutdown that follows, if any.
func (c *Controller) panicked() Cause {
	action := c.policy.Panic
	if action == "" {
		action = PanicShutdown
	}
	switch {
	case action == PanicPause || action == PanicShutdown && c.policy.NoShutdown:
		c.bus.Publish(GuestPanickedEvent{Action: "pause"})
		if c.Running() {
			_ = c.Stop(GuestPanicked)
		}
	case action == PanicNone:
		c.bus.Publish(GuestPanickedEvent{Action: "run"})
	default:
		c.bus.Publish(GuestPanickedEvent{Action: "poweroff"})
		return CauseGuestPanic
	}
	return ""
}
