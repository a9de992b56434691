package cli

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Under qtest no privilege is needed; and what may not be read is named.
func TestUnprivileged(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "secret"), []byte("x"), 0); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(program) // it may be where only we can reach it
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "govmd"), data, 0o755); err != nil {
		t.Fatal(err)
	}
	command := "./govmd -accel qtest -m 64 -nodefaults -display none "
	if os.Getuid() == 0 {
		command = "setpriv --reuid=65534 --regid=65534 --clear-groups " + command
	}
	got := runShell(t, dir, `echo '{"execute":"qmp_capabilities"}{"execute":"query-status"}{"execute":"quit"}' | `+command+"-M pc -qmp stdio")
	if got.status != 0 || got.stderr != "" || !strings.Contains(got.stdout, `"status": "running"`) {
		t.Errorf("status %d, %q, says %q", got.status, got.stderr, got.stdout)
	}
	for args, want := range map[string]string{
		"-kernel secret":                       "could not open kernel image 'secret': permission denied",
		"-bios secret":                         "could not open firmware 'secret': permission denied",
		"-device loader,file=secret,addr=4096": "-device loader,file=secret,addr=4096: could not open loader file 'secret': permission denied",
		"-qmp unix:s,server=on,wait=off":       "-qmp unix:s,server=on,wait=off: Failed to bind socket to s: Permission denied",
		"-pidfile p":                           "-pidfile p: ",
	} {
		if os.Getuid() != 0 && !strings.Contains(args, "secret") {
			continue // the folder is ours
		}
		got := runShell(t, dir, command+args)
		if got.status != 1 || !strings.HasPrefix(got.stderr, "govmd: "+want) || strings.Count(got.stderr, "\n") != 1 {
			t.Errorf("%s: status %d, %q, want %q", args, got.status, got.stderr, want)
		}
	}
}
