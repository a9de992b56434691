package cli

import (
	"strings"
	"testing"
)

// saying types text and waits for what it brings.
func (t *terminal) saying(text, want string) {
	t.t.Helper()
	t.write(text)
	if got, err := t.screen.Wait(t.ctx, want); err != nil {
		t.t.Fatalf("%q brings %q: %v", text, got, err)
	}
}

// Console and monitor share a terminal: C-a c goes from one to the other.
func TestHumanMonitorBesideConsole(t *testing.T) {
	tty := onIdleMachine(t, "-nographic")
	// The terminal puts a carriage return before each line feed, and the monitor's
	// have one already.
	tty.write("\x01c")
	if _, err := tty.screen.Wait(tty.ctx, " monitor - type 'help' for more information\r\r\n(qemu) "); err != nil {
		t.Fatal(err)
	}
	tty.saying("info status\r", "VM status: paused (prelaunch)\r\r\n(qemu) ")
	tty.saying("info sta\t", "info status \x1b[K")
	tty.saying("\r", "(prelaunch)\r\r\n(qemu) ")
	tty.saying("\x1b[A\x1b[A\r", "(prelaunch)\r\r\n(qemu) ") // an earlier line
	tty.saying("p 1\x03", "^C\r\r\n(qemu) ")                 // which is no signal
	tty.saying("p 1", "p 1\x1b[K")
	tty.saying("\x01c", "\r\r\n")
	tty.saying("to the guest\x01c", "(qemu) ") // and the line has gone
	tty.saying("\r", "\r\r\n(qemu) ")
	tty.write("quit\r")
	tty.expectRestored()
	if got := tty.cmd.ProcessState.ExitCode(); got != 0 {
		t.Errorf("exit status %d", got)
	}
	if text := tty.screen.Text(); strings.Contains(text, "to the guest") {
		t.Errorf("the monitor echoes what is the guest's: %q", text)
	}
}

// A monitor alone on a terminal.
func TestHumanMonitorOnTerminal(t *testing.T) {
	for _, args := range []string{"-display none -monitor stdio", "-display none -chardev stdio,id=m -mon m", "-nographic -serial null"} {
		t.Run(args, func(t *testing.T) {
			tty := onIdleMachine(t, strings.Fields(args)...)
			if _, err := tty.screen.Wait(tty.ctx, "(qemu) "); err != nil {
				t.Fatal(err)
			}
			tty.saying("info name\r", "(qemu) ")
			tty.saying("x/1i 0\r", "(qemu) ")
			tty.write("q\r")
			tty.expectRestored()
			if got := tty.cmd.ProcessState.ExitCode(); got != 0 {
				t.Errorf("exit status %d", got)
			}
		})
	}
}
