package cli

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// What passes trace points is logged where -D says, from the start on.
func TestTrace(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "points"), []byte("# of the monitor\nmonitor_*\n-monitor_event_*\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	r := runShell(t, dir, `printf '{"execute":"qmp_capabilities"}{"execute":"quit"}' |
		"$GOVMD" -M none -nodefaults -display none -qmp stdio -trace 'runstate_*,events=points,file=log' -d trace:nope`)
	log, err := os.ReadFile(filepath.Join(dir, "log"))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"runstate_set from prelaunch to running\n", "runstate_end cause host-qmp-quit\n",
		"monitor_qmp_command session 1 command quit out-of-band false\n",
	} {
		if !strings.Contains(string(log), want) {
			t.Errorf("the log lacks %q:\n%s", want, log)
		}
	}
	if strings.Contains(string(log), "monitor_event_emit") {
		t.Errorf("what was taken away is there:\n%s", log)
	}
	if !strings.Contains(r.stderr, "trace event 'nope' does not exist") {
		t.Errorf("standard error: %s", r.stderr)
	}
}
