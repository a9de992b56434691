package runstate

import (
	"sort"
	"sync"
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

// Hooks are what the board does at changes of the machine's life. All run on
// the control lane with the vCPUs paused; nil ones are left out.
type Hooks struct {
	Reset     func(Cause) // reset every device and vCPU
	Powerdown func()      // press the power button
	Suspend   func()      // the guest has entered S3
	Wakeup    func()      // leave S3: reset all but memory and enter the wake-up path
	End       func(Cause) // the machine is over: leave the process
}

// Policy says what follows a reset, a shutdown and a panic of the guest.
type Policy struct {
	NoReboot   bool // a reset ends the machine
	NoShutdown bool // a shutdown pauses the machine in state "shutdown"
	Panic      PanicAction
}

// PanicAction is what follows a guest's panic.
type PanicAction string

// The panic actions; the zero value acts as PanicShutdown.
const (
	PanicShutdown    PanicAction = "shutdown"
	PanicPause       PanicAction = "pause"
	PanicNone        PanicAction = "none"
	PanicExitFailure PanicAction = "exit-failure"
)

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

	mu   sync.Mutex // guards what follows; nothing is called with it held
	reqs requests
}

// requests are what has been asked for and not yet acted upon. Each kind is
// remembered once, so that a guest which asks in a loop costs nothing.
type requests struct {
	stop      State
	shutdown  Cause
	reset     Cause
	powerdown bool
	suspend   bool
	wakeup    bool
	panicked  bool
	exit      *int
}

type notifier struct {
	priority int
	fn       func(running bool, s State)
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

// SetPolicy sets what follows resets, shutdowns and panics.
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
// runs; fn must take nothing new and must not wait for storage or peers. The
// returned function removes it.
func (c *Controller) AddNotifier(priority int, fn func(running bool, s State)) (remove func()) {
	n := &notifier{priority, fn}
	c.notifiers = append(c.notifiers, n)
	sort.SliceStable(c.notifiers, func(i, j int) bool { return c.notifiers[i].priority < c.notifiers[j].priority })
	return func() {
		for i, x := range c.notifiers {
			if x == n {
				c.notifiers = append(c.notifiers[:i:i], c.notifiers[i+1:]...)
				return
			}
		}
	}
}

// Set changes the state without starting or stopping anything, as migration
// does between its phases.
func (c *Controller) Set(s State) error {
	from := c.State()
	if !from.CanFollow(s) {
		return &TransitionError{from, s}
	}
	c.state.Store(s)
	return nil
}

// Start lets the guest run. It does nothing when it runs already.
func (c *Controller) Start() error {
	if c.Running() {
		return nil
	}
	if err := c.Set(Running); err != nil {
		return err
	}
	c.bus.Publish(Resumed{})
	c.virtual.Start()
	for _, n := range append([]*notifier(nil), c.notifiers...) {
		n.fn(true, Running)
	}
	if c.vcpus != nil {
		c.vcpus.Resume()
	}
	return nil
}

// Stop stops the guest and enters s. When the guest does not run, only the
// state changes.
func (c *Controller) Stop(s State) error {
	if !c.Running() {
		return c.Set(s)
	}
	if !Running.CanFollow(s) {
		return &TransitionError{Running, s}
	}
	if c.vcpus != nil {
		c.vcpus.Pause()
	}
	list := append([]*notifier(nil), c.notifiers...)
	for i := len(list) - 1; i >= 0; i-- {
		list[i].fn(false, s)
	}
	c.virtual.Stop()
	c.state.Store(s)
	c.bus.Publish(Stopped{})
	return nil
}

// RequestStop asks for the machine to stop in state s, as an I/O error does.
func (c *Controller) RequestStop(s State) { c.request(func(r *requests) { r.stop = s }) }

// RequestShutdown asks for the end of the machine.
func (c *Controller) RequestShutdown(cause Cause) {
	c.request(func(r *requests) {
		if r.shutdown == "" {
			r.shutdown = cause
		}
	})
}

// RequestReset asks for a reset. The caller's vCPU may run on for a moment: a
// device whose register write resets the machine stops nothing itself.
func (c *Controller) RequestReset(cause Cause) { c.request(func(r *requests) { r.reset = cause }) }

// RequestPowerdown asks the guest to shut down, by its power button.
func (c *Controller) RequestPowerdown() { c.request(func(r *requests) { r.powerdown = true }) }

// RequestSuspend says that the guest has entered S3.
func (c *Controller) RequestSuspend() { c.request(func(r *requests) { r.suspend = true }) }

// RequestWakeup asks for the guest to leave S3; it does nothing in other states.
func (c *Controller) RequestWakeup() { c.request(func(r *requests) { r.wakeup = true }) }

// RequestPanicked says that the guest has panicked.
func (c *Controller) RequestPanicked() { c.request(func(r *requests) { r.panicked = true }) }

// RequestExit asks for the end of the program with the given status, as a test
// guest does: no event, no policy.
func (c *Controller) RequestExit(code int) { c.request(func(r *requests) { r.exit = &code }) }

// ExitCode returns the status that RequestExit asked for, once the machine is
// over because of it.
func (c *Controller) ExitCode() (code int, ok bool) {
	p := c.exitCode.Load()
	if p == nil {
		return 0, false
	}
	return *p, true
}

func (c *Controller) request(set func(*requests)) {
	c.mu.Lock()
	set(&c.reqs)
	c.mu.Unlock()
	c.task.Schedule()
}

// serve acts on all requests, in QEMU's order.
func (c *Controller) serve() {
	c.mu.Lock()
	r := c.reqs
	c.reqs = requests{}
	c.mu.Unlock()

	if c.ended {
		return
	}
	if r.exit != nil {
		c.exitCode.Store(r.exit)
		c.end(CauseNone)
		return
	}
	if r.panicked {
		c.panicked(&r)
	}
	if r.suspend {
		c.suspend()
	}
	if r.reset != "" && c.policy.NoReboot && r.reset != CauseSubsystemReset {
		r.shutdown, r.reset = r.reset, ""
	}
	if r.shutdown != "" && c.shutdown(r.shutdown) {
		return
	}
	if r.reset != "" {
		c.Reset(r.reset)
	}
	if r.wakeup {
		c.wakeup()
	}
	if r.powerdown {
		c.bus.Publish(PowerdownEvent{})
		if c.hooks.Powerdown != nil {
			c.hooks.Powerdown()
		}
	}
	if r.stop != "" && c.Running() {
		_ = c.Stop(r.stop) // only states that may follow running are requested
	}
}

// Reset resets the machine at once. A machine that was stopped stays stopped,
// in state prelaunch.
func (c *Controller) Reset(cause Cause) {
	running := c.Running()
	if running && c.vcpus != nil {
		c.vcpus.Pause()
	}
	if c.hooks.Reset != nil {
		c.hooks.Reset(cause)
	}
	c.bus.Publish(ResetEvent{Guest: cause.Guest(), Reason: cause})
	if running {
		if c.vcpus != nil {
			c.vcpus.Resume()
		}
		return
	}
	if s := c.State(); s != InMigrate && s != FinishMigrate {
		_ = c.Set(Prelaunch) // every stopped state may become prelaunch
	}
}

// shutdown ends the machine, or pauses it where the policy says so. It reports
// whether the machine is over.
func (c *Controller) shutdown(cause Cause) bool {
	c.bus.Publish(ShutdownEvent{Guest: cause.Guest(), Reason: cause})
	// A client's quit and a signal are for the process, not for the guest.
	if c.policy.NoShutdown && cause != CauseHostQMPQuit && cause != CauseHostSignal {
		_ = c.Stop(Shutdown)
		return false
	}
	c.end(cause)
	return true
}

func (c *Controller) end(cause Cause) {
	c.ended = true
	if c.Running() && c.vcpus != nil {
		c.vcpus.Pause()
	}
	if c.hooks.End != nil {
		c.hooks.End(cause)
	}
}

func (c *Controller) suspend() {
	if !c.Running() {
		return
	}
	if c.vcpus != nil {
		c.vcpus.Pause()
	}
	if c.hooks.Suspend != nil {
		c.hooks.Suspend()
	}
	c.virtual.Stop()
	c.state.Store(Suspended)
	c.bus.Publish(SuspendEvent{})
}

func (c *Controller) wakeup() {
	if c.State() != Suspended {
		return
	}
	if c.hooks.Wakeup != nil {
		c.hooks.Wakeup()
	}
	c.state.Store(Running)
	c.virtual.Start()
	if c.vcpus != nil {
		c.vcpus.Resume()
	}
	c.bus.Publish(WakeupEvent{})
}

func (c *Controller) panicked(r *requests) {
	action := c.policy.Panic
	if action == "" {
		action = PanicShutdown
	}
	switch {
	case action == PanicPause || action == PanicShutdown && c.policy.NoShutdown:
		c.bus.Publish(GuestPanickedEvent{Action: "pause"})
		_ = c.Stop(GuestPanicked)
	case action == PanicNone:
		c.bus.Publish(GuestPanickedEvent{Action: "run"})
	default:
		c.bus.Publish(GuestPanickedEvent{Action: "poweroff"})
		_ = c.Stop(GuestPanicked)
		r.shutdown = CauseGuestPanic
	}
}
