package runstate

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"govmd/internal/clock"
	"govmd/internal/event"
	"govmd/internal/lane"
)

// rig is a controller whose every effect is written down, in order.
type rig struct {
	*Controller
	lane *lane.Lane
	clk  *clock.Set
	mu   sync.Mutex
	log  []string
}

func (r *rig) note(format string, args ...any) {
	r.mu.Lock()
	r.log = append(r.log, fmt.Sprintf(format, args...))
	r.mu.Unlock()
}

// Pause and Resume stand for the vCPUs.
func (r *rig) Pause()  { r.note("pause") }
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
		Wakeup:    func() { r.note("wake") },
		End:       func(c Cause) { r.note("end(%s)", c) },
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
	if err := r.Stop(Running); err != nil || r.settle() != "" {
		t.Error("paused may become running without anything else")
	}
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
	r.SetPolicy(Policy{NoReboot: true})
	r.RequestReset(CauseGuestReset)
	r.expect(t, "-no-reboot", "SHUTDOWN{Guest:true Reason:guest-reset} pause end(guest-reset)")
	r.RequestReset(CauseGuestReset)
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
	r.RequestShutdown(CauseHostQMPQuit)
	r.expect(t, "quit", "SHUTDOWN{Guest:false Reason:host-qmp-quit} end(host-qmp-quit)")
}

func TestSuspendWakeup(t *testing.T) {
	r := newRig(t)
	_ = r.Start()
	r.settle()
	r.RequestWakeup()
	r.expect(t, "wakeup of a running machine", "")
	r.RequestSuspend()
	r.expect(t, "suspend", "pause sleep SUSPEND{}")
	r.RequestWakeup()
	r.expect(t, "wakeup", "wake resume WAKEUP{}")
	if !r.Running() {
		t.Error("state is", r.State())
	}
}

func TestPanic(t *testing.T) {
	for _, c := range []struct {
		policy Policy
		want   string
	}{
		{Policy{}, "GUEST_PANICKED{Action:poweroff} pause STOP{} SHUTDOWN{Guest:true Reason:guest-panic} end(guest-panic)"},
		{Policy{NoShutdown: true}, "GUEST_PANICKED{Action:pause} pause STOP{}"},
		{Policy{Panic: PanicPause}, "GUEST_PANICKED{Action:pause} pause STOP{}"},
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
