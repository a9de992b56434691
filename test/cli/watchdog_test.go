package cli

import (
	"strings"
	"testing"

	"govmd/test/vmtest"
)

// A guest that starts a watchdog and does not feed it gets what the user has said.
func TestKVMWatchdog(t *testing.T) {
	const startNow = 15 // of the IB700: 30 - 2*15 seconds
	for _, c := range []struct {
		args   string
		set    string // by watchdog-set-action, if it is not ""
		action string // of the event
		then   string // the event that follows, if any
		status string // "" where the program ends
	}{
		{"-watchdog-action debug", "reset", "reset", "RESET", "running"},
		{"-watchdog-action reset -no-reboot", "", "reset", "SHUTDOWN", ""},
		{"-action watchdog=shutdown", "", "shutdown", "POWERDOWN", "running"},
		{"-watchdog-action poweroff -no-shutdown", "", "poweroff", "", ""},
		{"-action watchdog=pause", "", "pause", "STOP", "watchdog"},
		{"", "debug", "debug", "", "running"},
		{"", "none", "none", "", "running"},
		{"", "inject-nmi", "inject-nmi", "", "running"},
	} {
		t.Run(c.args+c.set, func(t *testing.T) {
			rom := vmtest.NewROM().ReadCMOS(cmosNote).JumpIfAL(1, "again").CMOS(cmosNote, 1).
				Out8(0x443, startNow).Label("again").Print("up\n").Halt()
			vm := boot(t, rom, append([]string{"-device", "ib700"}, strings.Fields(c.args)...)...)
			if c.set != "" {
				vm.Execute("watchdog-set-action", map[string]any{"action": c.set}, nil)
			}
			vm.Execute("cont", nil, nil)
			expectData(t, vm.ExpectEvent("WATCHDOG"), `{"action": "`+c.action+`"}`)
			if c.then != "" {
				vm.ExpectEvent(c.then)
			}
			if c.status == "" {
				vm.ExpectExit(0)
				return
			}
			vm.Expect("up\n")
			if s := vm.Status(); s != c.status {
				t.Errorf("status is %q, want %q", s, c.status)
			}
			vm.Execute("quit", nil, nil)
			vm.ExpectExit(0)
		})
	}
}
