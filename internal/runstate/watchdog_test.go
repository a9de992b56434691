package runstate

import "testing"

func TestWatchdog(t *testing.T) {
	for action, want := range map[WatchdogAction]string{
		"":                "WATCHDOG{Action:reset} pause reset(guest-reset) RESET{Guest:true Reason:guest-reset} resume",
		WatchdogReset:     "WATCHDOG{Action:reset} pause reset(guest-reset) RESET{Guest:true Reason:guest-reset} resume",
		WatchdogShutdown:  "WATCHDOG{Action:shutdown} POWERDOWN{} button",
		WatchdogPoweroff:  "WATCHDOG{Action:poweroff} pause end(none)",
		WatchdogPause:     "WATCHDOG{Action:pause} pause STOP{}",
		WatchdogDebug:     "WATCHDOG{Action:debug} watchdog(debug)",
		WatchdogInjectNMI: "WATCHDOG{Action:inject-nmi} watchdog(inject-nmi)",
		WatchdogNone:      "WATCHDOG{Action:none}",
	} {
		r := newRig(t)
		_ = r.Start()
		r.settle()
		r.SetPolicy(Policy{Watchdog: action})
		r.RequestWatchdog()
		r.RequestWatchdog()
		r.expect(t, string(action), want)
		if s := r.State(); (s == Watchdog) != (action == WatchdogPause) {
			t.Errorf("%s: state is %s", action, s)
		}
	}
}

// What a guest that is being reset has not fed does not bite the one after.
func TestWatchdogAndReset(t *testing.T) {
	r := newRig(t)
	_ = r.Start()
	r.settle()
	r.onPause = r.RequestWatchdog
	r.RequestReset(CauseHostQMPReset)
	r.expect(t, "reset", "pause reset(host-qmp-system-reset) RESET{Guest:false Reason:host-qmp-system-reset} resume")
	r.onPause = nil
	r.SetPolicy(Policy{NoReboot: true})
	r.RequestWatchdog()
	r.expect(t, "-no-reboot", "WATCHDOG{Action:reset} SHUTDOWN{Guest:true Reason:guest-reset} pause end(guest-reset)")
}

func TestPanicExitFailure(t *testing.T) {
	r := newRig(t)
	_ = r.Start()
	var a Actions
	for _, name := range []string{"reboot", "shutdown", "panic", "watchdog"} {
		if err := a.Set(name, "zork"); err == nil || err.Error() != "Parameter '"+name+"' does not accept value 'zork'" {
			t.Errorf("%s=zork: %v", name, err)
		}
	}
	if err := a.Set("panic", "exit-failure"); err != nil {
		t.Error(err)
	}
	p := r.Policy()
	p.Apply(&a)
	r.SetPolicy(p)
	if want := (Policy{Panic: PanicExitFailure}); p != want {
		t.Errorf("policy %+v, want %+v", p, want)
	}
	r.RequestPanicked()
	r.settle()
	if code, ok := r.ExitCode(); !ok || code != 1 {
		t.Errorf("exit status %d, %v", code, ok)
	}
}
