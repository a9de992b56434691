package vmtest

import "strings"

// Sh runs a command in the shell on the console and returns what it prints. The
// command must succeed.
func (v *VM) Sh(command string) string {
	v.t.Helper()
	v.Begin(command)
	return v.End()
}

// Begin types a command, whose echo does not hold the marks of its output.
func (v *VM) Begin(command string) {
	v.Type(`echo "<""<"; ` + command + `; echo "@""@$?@"` + "\n")
}

// End waits for the command to end.
func (v *VM) End() string {
	v.t.Helper()
	v.Expect("<<")
	out := strings.TrimSpace(strings.ReplaceAll(strings.TrimSuffix(v.Expect("@@"), "@@"), "\r", ""))
	if status := v.Expect("@"); status != "0@" {
		v.t.Fatalf("the command ends with status %s: %s", strings.TrimSuffix(status, "@"), out)
	}
	return out
}

// Kill ends the program without a warning, and waits until it is gone.
func (v *VM) Kill() {
	v.t.Helper()
	if err := v.cmd.Process.Kill(); err != nil {
		v.t.Fatal(err)
	}
	<-v.gone
}
