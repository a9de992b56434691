package runstate

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"

	"govmd/internal/clock"
	"govmd/internal/event"
	"govmd/internal/lane"
	"govmd/internal/qmp"
)

// rig is a controller whose every effect is written down, in order.
type rig struct {
	*Controller
	lane *lane.Lane
	clk  *clock.Set
	mu   sync.Mutex
	log  []string

	onPause func() // what the guest still does
}

func (r *rig) note(format string, args ...any) {
	r.mu.Lock()
	r.log = append(r.log, fmt.Sprintf(format, args...))
	r.mu.Unlock()
}

// Pause and Resume stand for the vCPUs.
func (r *rig) Pause() {
	r.note("pause")
	if r.onPause != nil {
		r.onPause()
	}
}

func (r *rig) Resume() { r.note("resume") }

func newRig(t *testing.T) *rig {
	t.Helper()
	clk, err := clock.New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(clk.Close)
	r := &rig{lane: lane.New(), clk: clk}
	bus := &event.Bus{}
	bus.Subscribe(func(s event.Stamped) { r.note("%s%+v", s.Event.EventName(), s.Event) })
	r.Controller = New(r.lane, bus, clk.Virtual)
	r.Attach(r, Hooks{
		Reset:     func(c Cause) { r.note("reset(%s)", c) },
		Powerdown: func() { r.note("button") },
		Suspend:   func() { r.note("sleep") },
		Wakeup:    func(why WakeReason) { r.note("wake(%s)", why) },
		End:       func(c Cause) { r.note("end(%s)", c) },
		Watchdog:  func(a WatchdogAction) { r.note("watchdog(%s)", a) },
	})
	return r
}

// settle runs what was posted to the lane and returns what happened since the
// last call.
func (r *rig) settle() string {
	next := lane.New()
	r.lane.Post(r.lane.Close)
	r.lane.Run()
	// A closed lane does not open again: go on with a fresh one.
	r.lane, r.Controller.lane = next, next
	r.task = next.NewTask(r.serve)
	r.mu.Lock()
	defer r.mu.Unlock()
	s := strings.Join(r.log, " ")
	r.log = nil
	return s
}

func (r *rig) expect(t *testing.T, what, want string) {
	t.Helper()
	if got := r.settle(); got != want {
		t.Errorf("%s:\n got %s\nwant %s", what, got, want)
	}
}

func TestStartStop(t *testing.T) {
	r := newRig(t)
	for _, p := range []int{2, 1, 3} {
		r.AddNotifier(p, func(running bool, _ State) { r.note("n%d:%v", p, running) })
	}
	if err := r.Start(); err != nil {
		t.Fatal(err)
	}
	r.expect(t, "start", "RESUME{} n1:true n2:true n3:true resume")
	if !r.clk.Virtual.Running() {
		t.Error("the virtual clock does not run")
	}
	if err := r.Stop(Paused); err != nil {
		t.Fatal(err)
	}
	r.expect(t, "stop", "pause n3:false n2:false n1:false STOP{}")
	if r.clk.Virtual.Running() || r.State() != Paused {
		t.Error("the machine is not stopped")
	}
	for _, s := range []State{Running, Suspended, SaveVM} {
		if err := r.Stop(s); err == nil || r.State() != Paused {
			t.Errorf("a stop in state %s: %v", s, err)
		}
	}
	r.expect(t, "stops that are none", "")
}

// What removes itself, or another, while the machine stops is not called after.
func TestNotifierRemoved(t *testing.T) {
	r := newRig(t)
	var remove func()
	r.AddNotifier(2, func(running bool, _ State) {
		r.note("first")
		remove()
	})
	remove = r.AddNotifier(1, func(bool, State) { r.note("removed") })
	r.AddNotifier(0, func(bool, State) { r.note("last") })
	_ = r.Start()
	r.expect(t, "start", "RESUME{} last removed first resume")
	_ = r.Stop(Paused)
	r.expect(t, "stop", "pause first last STOP{}")
}

func TestReset(t *testing.T) {
	r := newRig(t)
	r.RequestReset(CauseHostQMPReset)
	r.expect(t, "reset before the start", "reset(host-qmp-system-reset) RESET{Guest:false Reason:host-qmp-system-reset}")
	if r.State() != Prelaunch {
		t.Error("state is", r.State())
	}
	_ = r.Start()
	r.settle()
	for range 100 {
		r.RequestReset(CauseGuestReset)
	}
	r.expect(t, "many resets at once", "pause reset(guest-reset) RESET{Guest:true Reason:guest-reset} resume")
	r.RequestReset(CauseSubsystemReset)
	r.expect(t, "reset of a part", "pause reset(subsystem-reset) resume")
	// What the guest does until it is paused does not outlive the reset.
	r.onPause = func() {
		r.RequestReset(CauseGuestReset)
		r.RequestSuspend()
	}
	r.RequestReset(CauseGuestReset)
	r.expect(t, "a guest that runs on", "pause reset(guest-reset) RESET{Guest:true Reason:guest-reset} resume")
	r.onPause = nil
	r.RequestSuspend()
	r.RequestReset(CauseGuestReset)
	r.expect(t, "reset and sleep", "pause reset(guest-reset) RESET{Guest:true Reason:guest-reset} resume")
	r.SetPolicy(Policy{NoReboot: true})
	r.RequestReset(CauseGuestReset)
	r.expect(t, "-no-reboot", "SHUTDOWN{Guest:true Reason:guest-reset} pause end(guest-reset)")
	r.RequestReset(CauseGuestReset)
	r.expect(t, "after the end", "")
}

// A board that cannot be reset must not run on.
func TestFailedReset(t *testing.T) {
	r := newRig(t)
	_ = r.Start()
	r.settle()
	r.hooks.Reset = func(Cause) { r.RequestShutdown(CauseHostError) }
	r.RequestReset(CauseGuestReset)
	r.expect(t, "reset", "pause RESET{Guest:true Reason:guest-reset} "+
		"SHUTDOWN{Guest:false Reason:host-error} pause end(host-error)")
	if err := r.Start(); err != nil {
		t.Error(err)
	}
	_ = r.Stop(Paused)
	r.Reset(CauseHostQMPReset)
	_ = r.Start()
	r.expect(t, "after the end", "")
}

func TestShutdown(t *testing.T) {
	r := newRig(t)
	r.SetPolicy(Policy{NoShutdown: true})
	_ = r.Start()
	r.settle()
	r.RequestShutdown(CauseGuestShutdown)
	r.expect(t, "-no-shutdown", "SHUTDOWN{Guest:true Reason:guest-shutdown} pause STOP{}")
	if r.State() != Shutdown {
		t.Error("state is", r.State())
	}
	if err := r.Start(); err == nil || err.Error() != "invalid runstate transition: 'shutdown' -> 'running'" {
		t.Error("start after a shutdown:", err)
	}
	r.RequestShutdown(CauseGuestShutdown)
	r.RequestShutdown(CauseHostQMPQuit)
	r.RequestShutdown(CauseHostSignal)
	r.expect(t, "quit", "SHUTDOWN{Guest:false Reason:host-qmp-quit} end(host-qmp-quit)")
}

func TestSuspendWakeup(t *testing.T) {
	r := newRig(t)
	_ = r.Start()
	r.settle()
	r.RequestWakeup(WakeOther)
	r.expect(t, "wakeup of a running machine", "")
	r.RequestSuspend()
	r.expect(t, "suspend", "pause sleep SUSPEND{}")
	if r.State() != Suspended || !r.clk.Virtual.Running() {
		t.Errorf("state is %s, the clock runs: %v", r.State(), r.clk.Virtual.Running())
	}
	r.RequestWakeup(WakeOther)
	r.expect(t, "wakeup", "wake(other) resume WAKEUP{}")
	if !r.Running() {
		t.Error("state is", r.State())
	}
	r.RequestSuspend()
	r.RequestWakeup(WakeTimer)
	r.RequestWakeup(WakeRTC)
	r.expect(t, "several at once", "pause sleep SUSPEND{} wake(pm-timer) resume WAKEUP{}")
	r.RequestSuspend()
	r.settle()
	r.RequestStop(IOError)
	r.RequestStop(Paused)
	r.expect(t, "stop of a sleeping guest", "")
	r.RequestWakeup(WakeOther)
	r.expect(t, "it wakes", "wake(other) resume WAKEUP{} pause STOP{}")
	if r.State() != IOError {
		t.Error("state is", r.State())
	}
}

// A migration of a guest that sleeps stops its clock and devices; if it fails
// the guest sleeps on.
func TestStopWhileAsleep(t *testing.T) {
	r := newRig(t)
	r.AddNotifier(0, func(running bool, s State) { r.note("n:%v:%s", running, s) })
	_ = r.Start()
	r.RequestSuspend()
	r.settle()
	if err := r.Stop(FinishMigrate); err != nil {
		t.Fatal(err)
	}
	r.expect(t, "stop", "n:false:finish-migrate")
	if got := r.Save(); got != (Saved{State: Suspended, Asleep: true}) || r.clk.Virtual.Running() {
		t.Errorf("saved %+v, the clock runs: %v", got, r.clk.Virtual.Running())
	}
	if err := r.Start(); err != nil {
		t.Fatal(err)
	}
	r.expect(t, "start", "n:true:suspended")
	if r.State() != Suspended || !r.clk.Virtual.Running() {
		t.Errorf("state is %s, the clock runs: %v", r.State(), r.clk.Virtual.Running())
	}
	_ = r.Stop(FinishMigrate)
	r.settle()
	r.RequestWakeup(WakeRTC)
	r.RequestWakeup(WakeOther)
	r.expect(t, "wakeup while stopped", "")
	_ = r.Start()
	r.expect(t, "start and wake", "n:true:suspended wake(rtc) resume WAKEUP{}")

	// The guest enters S3 in the moment in which it is stopped.
	r.onPause = r.RequestSuspend
	_ = r.Stop(Paused)
	r.onPause = nil
	r.expect(t, "stop and suspend", "pause n:false:paused STOP{} sleep SUSPEND{}")
	_ = r.Start()
	r.expect(t, "start", "n:true:suspended")

	r.RequestReset(CauseHostQMPReset)
	r.expect(t, "reset", "reset(host-qmp-system-reset) RESET{Guest:false Reason:host-qmp-system-reset} n:false:prelaunch")
	if r.State() != Prelaunch || r.clk.Virtual.Running() {
		t.Errorf("state is %s, the clock runs: %v", r.State(), r.clk.Virtual.Running())
	}
	_ = r.Start()
	r.expect(t, "start", "RESUME{} n:true:running resume")
}

func TestSaved(t *testing.T) {
	for _, c := range []struct {
		stop State // "" leaves it running
		want State
	}{{SaveVM, Running}, {FinishMigrate, Running}, {Paused, Paused}, {IOError, IOError}} {
		from, to := newRig(t), newRig(t)
		_ = from.Start()
		_ = from.Stop(c.stop)
		s := from.Save()
		if s != (Saved{State: c.want}) {
			t.Errorf("stopped as %s: saved %+v", c.stop, s)
		}
		if _, ok := to.Loaded(); ok {
			t.Error("something was loaded")
		}
		if err := to.Load(&s); err != nil {
			t.Fatal(err)
		}
		if got, ok := to.Loaded(); !ok || got != c.want || to.Save() != s || to.State() != Prelaunch {
			t.Errorf("loaded %s, saved again %+v, state %s", got, to.Save(), to.State())
		}
		if err := to.Start(); err != nil || !to.Running() {
			t.Error(err)
		}
		if err := to.Load(&s); err == nil {
			t.Error("a running machine takes a saved state")
		}
	}
	asleep := newRig(t)
	if err := asleep.Load(&Saved{State: Paused, Asleep: true}); err != nil {
		t.Fatal(err)
	}
	_ = asleep.Start()
	if asleep.State() != Suspended {
		t.Error("state is", asleep.State())
	}
	asleep = newRig(t)
	if err := asleep.Load(&Saved{State: Suspended, Wake: WakeRTC}); err != nil {
		t.Fatal(err)
	}
	_ = asleep.Start()
	asleep.expect(t, "woken while it was saved", "wake(rtc) resume WAKEUP{}")
	if err := newRig(t).Load(&Saved{State: Suspended, Wake: "x"}); err == nil {
		t.Error("an unknown reason to wake is loaded")
	}
	for _, s := range []State{"", "colo", InMigrate, SaveVM, "x"} {
		if err := newRig(t).Load(&Saved{State: s}); err == nil {
			t.Errorf("run state %q is loaded", s)
		}
	}
}

func TestRequestStop(t *testing.T) {
	for _, c := range []struct {
		states []State
		want   State
	}{
		{[]State{IOError, Paused}, IOError},
		{[]State{Paused, InternalError, IOError}, InternalError},
		{[]State{Running, Suspended, "x"}, Running}, // none that can be asked for
	} {
		r := newRig(t)
		_ = r.Start()
		for _, s := range c.states {
			r.RequestStop(s)
		}
		r.settle()
		if r.State() != c.want {
			t.Errorf("%v: state is %s", c.states, r.State())
		}
	}
}

// A vCPU that asks for what it does not survive executes nothing more, as if the
// register write that asks did it at once.
func TestPauseSelf(t *testing.T) {
	r := newRig(t)
	r.Attach(selfRig{r}, r.hooks)
	_ = r.Start()
	r.settle()
	r.RequestWakeup(WakeOther)
	r.RequestStop("x")
	r.RequestPowerdown()
	r.expect(t, "the guest goes on", "POWERDOWN{} button")
	r.RequestReset(CauseGuestReset)
	r.expect(t, "reset", "self pause reset(guest-reset) RESET{Guest:true Reason:guest-reset} resume")
	r.RequestSuspend()
	r.expect(t, "suspend", "self pause sleep SUSPEND{}")
	r.RequestShutdown(CauseGuestShutdown)
	r.expect(t, "shutdown", "self SHUTDOWN{Guest:true Reason:guest-shutdown} end(guest-shutdown)")
}

type selfRig struct{ *rig }

func (r selfRig) PauseSelf() { r.note("self") }

// Requests from everywhere while the machine starts and stops, for the race
// detector; in the end one that counts.
func TestConcurrency(t *testing.T) {
	r := newRig(t)
	go r.lane.Run()
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			for i := range 300 {
				switch i % 6 {
				case 0:
					r.RequestReset(CauseGuestReset)
				case 1:
					r.RequestSuspend()
				case 2:
					r.RequestWakeup(WakeOther)
				case 3:
					r.RequestStop(IOError)
				case 4:
					r.RequestPowerdown()
				case 5:
					_ = r.State()
				}
			}
		})
	}
	for range 100 {
		_ = r.lane.Do(context.Background(), func() {
			_ = r.Start()
			_ = r.Stop(Paused)
			r.AddNotifier(0, func(bool, State) {})()
		})
	}
	wg.Wait()
	over := make(chan struct{})
	r.hooks.End = func(Cause) { close(over) }
	r.RequestShutdown(CauseHostQMPQuit)
	<-over
	r.lane.Close()
	<-r.lane.Done()
}

func TestPanic(t *testing.T) {
	for _, c := range []struct {
		policy Policy
		want   string
	}{
		{Policy{}, "GUEST_PANICKED{Action:poweroff} SHUTDOWN{Guest:true Reason:guest-panic} pause end(guest-panic)"},
		{Policy{NoShutdown: true}, "GUEST_PANICKED{Action:pause} pause STOP{}"},
		{Policy{Panic: PanicPause}, "GUEST_PANICKED{Action:pause} pause STOP{}"},
		{Policy{Panic: PanicExitFailure, NoShutdown: true}, "GUEST_PANICKED{Action:poweroff} SHUTDOWN{Guest:true Reason:guest-panic} pause STOP{}"},
		{Policy{Panic: PanicNone}, "GUEST_PANICKED{Action:run}"},
	} {
		r := newRig(t)
		r.SetPolicy(c.policy)
		_ = r.Start()
		r.settle()
		r.RequestPanicked()
		r.expect(t, fmt.Sprint(c.policy), c.want)
	}
}

func TestPowerdownIsOneEvent(t *testing.T) {
	r := newRig(t)
	r.RequestPowerdown()
	r.RequestPowerdown()
	r.expect(t, "powerdown", "POWERDOWN{} button")
}

// The events of what a command requests come before its response, and a guest
// that cannot sleep cannot be woken.
func TestCommandsServeWhatTheyRequest(t *testing.T) {
	r := newRig(t)
	reg := qmp.NewRegistry()
	reg.Add(r.Commands()...)
	run := func(name string) error {
		t.Helper()
		_, err := reg.Lookup(name).Call(&qmp.Context{Context: t.Context(), Registry: reg}, qmp.Value{}, qmp.JSON, nil)
		return err
	}
	for _, c := range []struct{ command, want string }{
		{"system_reset", "reset(host-qmp-system-reset) RESET{Guest:false Reason:host-qmp-system-reset}"},
		{"system_powerdown", "POWERDOWN{} button"},
		{"quit", "SHUTDOWN{Guest:false Reason:host-qmp-quit} end(host-qmp-quit)"},
	} {
		if err := run(c.command); err != nil {
			t.Error(err)
		}
		if got := strings.Join(r.log, " "); got != c.want {
			t.Errorf("%s: %s, want %s", c.command, got, c.want)
		}
		r.log = nil
	}
	r.hooks.Wakeup = nil
	if err := run("system_wakeup"); err == nil || err.Error() != "wake-up from suspend is not supported by this guest" {
		t.Errorf("system_wakeup: %v", err)
	}
}
