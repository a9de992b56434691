package main

import (
	"encoding/binary"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"syscall"

	"github.com/sirupsen/logrus"
	"golang.org/x/sys/unix"
)

// The terminal's settings are put back by the character device that changed
// them. A process that is killed, or one of whose goroutines panics, does not
// come to that. For this end there is a second process, the guard, where the
// program's terminal is one: it waits until the first is gone.

// guardVariable marks the guard in its environment.
const guardVariable = "GOVMD_TERMINAL_GUARD"

func isTerminalGuard() bool { return os.Getenv(guardVariable) != "" }

// startTerminalGuard starts the guard when standard input is a terminal, and
// returns what dismisses it.
func startTerminalGuard(log *logrus.Logger) (dismiss func()) {
	settings, err := unix.IoctlGetTermios(0, unix.TCGETS)
	if err != nil {
		return func() {} // no terminal
	}
	r, w, err := os.Pipe()
	if err != nil {
		log.Debugf("terminal guard: %v", err)
		return func() {}
	}
	cmd := exec.Command("/proc/self/exe")
	cmd.Args[0] = program() + "-terminal"
	cmd.Env = []string{guardVariable + "=1"}
	cmd.Stdin = os.Stdin
	cmd.ExtraFiles = []*os.File{r}
	err = cmd.Start()
	_ = r.Close()
	if err == nil {
		err = binary.Write(w, binary.NativeEndian, settings)
	}
	if err != nil {
		log.Debugf("terminal guard: %v", err)
	}
	return func() {
		_, _ = w.Write([]byte{1})
		_ = w.Close()
		if cmd.Process != nil {
			_ = cmd.Wait()
		}
	}
}

// guardTerminal is what the guard does.
func guardTerminal() {
	// These are for the program; the last two are how a process of the
	// background is kept from the terminal.
	signal.Ignore(unix.SIGINT, unix.SIGTERM, unix.SIGHUP, unix.SIGQUIT, unix.SIGTSTP, unix.SIGTTOU, unix.SIGTTIN)
	var settings unix.Termios
	pipe := os.NewFile(3, "pipe")
	if binary.Read(pipe, binary.NativeEndian, &settings) != nil {
		return
	}
	var word [1]byte
	if _, err := io.ReadFull(pipe, word[:]); err == nil {
		return // the program has put the terminal back itself
	}
	_ = unix.IoctlSetTermios(syscall.Stdin, unix.TCSETS, &settings)
}
