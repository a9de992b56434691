package main

import (
	"encoding/binary"
	"io"
	"os"
	"os/exec"
	"os/signal"

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
// returns what dismisses it. When it returns the guard is at its post.
func startTerminalGuard(log *logrus.Logger) (dismiss func()) {
	settings, err := unix.IoctlGetTermios(0, unix.TCGETS)
	if err != nil {
		return func() {} // no terminal
	}
	dismiss, err = postGuard(settings)
	if err != nil {
		log.Debugf("terminal guard: %v", err)
		return func() {}
	}
	return dismiss
}

func postGuard(settings *unix.Termios) (dismiss func(), err error) {
	sock, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	ours, theirs := os.NewFile(uintptr(sock[0]), "guard"), os.NewFile(uintptr(sock[1]), "guard")
	cmd := exec.Command("/proc/self/exe")
	cmd.Args[0] = program() + "-terminal"
	cmd.Env = []string{guardVariable + "=1"}
	cmd.Stdin = os.Stdin
	cmd.ExtraFiles = []*os.File{theirs}
	err = cmd.Start()
	_ = theirs.Close()
	if err != nil {
		_ = ours.Close()
		return nil, err
	}
	dismiss = func() {
		_, _ = ours.Write([]byte{1})
		_ = ours.Close()
		_ = cmd.Wait()
	}
	if err := binary.Write(ours, binary.NativeEndian, settings); err != nil {
		dismiss()
		return nil, err
	}
	var ready [1]byte
	if _, err := io.ReadFull(ours, ready[:]); err != nil {
		dismiss()
		return nil, err
	}
	return dismiss, nil
}

// guardTerminal is what the guard does.
func guardTerminal() {
	// These are for the program; the last two are how a process of the
	// background is kept from the terminal.
	signal.Ignore(unix.SIGINT, unix.SIGTERM, unix.SIGHUP, unix.SIGQUIT, unix.SIGTSTP, unix.SIGPIPE, unix.SIGTTOU, unix.SIGTTIN)
	var settings unix.Termios
	program := os.NewFile(3, "program")
	if binary.Read(program, binary.NativeEndian, &settings) != nil {
		return
	}
	_, _ = program.Write([]byte{1}) // ready
	var word [1]byte
	if _, err := io.ReadFull(program, word[:]); err == nil {
		return // the program has put the terminal back itself
	}
	_ = unix.IoctlSetTermios(0, unix.TCSETS, &settings)
}
