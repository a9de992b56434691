package main

import (
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// A Go program has threads before it runs a line of ours, so that it cannot fork.
// With -daemonize it starts itself once more instead, before anything is opened:
// the first process, the starter, waits until the second, the daemon, says by a
// pipe that it is there, and hands on its exit status otherwise.

// daemonVariable has the number of that pipe in the daemon's environment.
const daemonVariable = "GOVMD_DAEMON_STATUS"

// statusFD is where the pipe's number is looked for from: above what a parent
// hands on by number.
const statusFD = 200

// ready is what the daemon says when it is there.
const ready = 0

// errDaemonStdio is what a character device on the terminal meets.
var errDaemonStdio = errors.New("cannot use stdio with -daemonize")

// wantsDaemon reports whether the command line has -daemonize. It does not look
// at what options say: the daemon does.
func wantsDaemon(args []string) bool {
	for i := 0; i < len(args); i++ {
		name, ok := strings.CutPrefix(args[i], "-")
		if !ok {
			continue
		}
		name = strings.TrimPrefix(name, "-")
		def := findOption(name)
		switch {
		case def == nil:
			return false // who reads the options complains
		case name == "daemonize":
			return true
		case def.arg != "":
			i++
		}
	}
	return false
}

// startDaemon starts the daemon and returns the exit status of the starter. The
// daemon has the starter's descriptors, under their numbers, its folder, and its
// argv.
func startDaemon(argv []string) int {
	status, err := daemonize(argv)
	if err != nil {
		return complain(&usageError{"-daemonize", err})
	}
	return status
}

func daemonize(argv []string) (status int, err error) {
	r, theirs, err := statusPipe()
	if err != nil {
		return 1, err
	}
	defer r.Close()
	// Before there is a daemon: what ends the starter ends it too.
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	attr := &os.ProcAttr{
		Env:   append(os.Environ(), daemonVariable+"="+strconv.Itoa(theirs)),
		Files: []*os.File{os.Stdin, os.Stdout, os.Stderr},
		Sys:   &syscall.SysProcAttr{Setsid: true},
	}
	p, err := os.StartProcess("/proc/self/exe", argv, attr)
	_ = unix.Close(theirs)
	if err != nil {
		return 1, err
	}
	go func() {
		for sig := range signals {
			_ = p.Signal(sig)
		}
	}()
	var word [1]byte
	if n, _ := r.Read(word[:]); n == 1 && word[0] == ready {
		return 0, nil
	}
	state, err := p.Wait()
	if err != nil {
		return 1, err
	}
	if w := state.Sys().(syscall.WaitStatus); w.Signaled() {
		return 1, fmt.Errorf("the process ended at its start by signal %d (%v)", w.Signal(), w.Signal())
	}
	return state.ExitCode(), nil
}

// statusPipe returns a pipe whose end for the daemon is a bare descriptor that
// outlives exec, and has a number that nobody has asked for.
func statusPipe() (r *os.File, theirs int, err error) {
	var p [2]int
	if err := unix.Pipe2(p[:], unix.O_CLOEXEC); err != nil {
		return nil, -1, err
	}
	defer unix.Close(p[1])
	r = os.NewFile(uintptr(p[0]), "status")
	// Without close-on-exec: this process starts nothing else.
	if theirs, err = unix.FcntlInt(uintptr(p[1]), unix.F_DUPFD, statusFD); err != nil {
		_ = r.Close()
		return nil, -1, err
	}
	return r, theirs, nil
}

// daemon is the daemon's side: whom to tell that it is there.
type daemon struct{ status *os.File }

// asDaemon returns nil in a process that is no daemon, or not yet.
func asDaemon() *daemon {
	text, ok := os.LookupEnv(daemonVariable)
	if !ok {
		return nil
	}
	_ = os.Unsetenv(daemonVariable)
	n, err := strconv.Atoi(text)
	if err != nil || n < 3 {
		return nil
	}
	unix.CloseOnExec(n)
	unix.Umask(0o027)
	signal.Ignore(syscall.SIGTSTP, syscall.SIGTTOU, syscall.SIGTTIN)
	return &daemon{os.NewFile(uintptr(n), "status")}
}

// detach leaves what the starter had: folder and terminal. Standard error goes
// on to the log when there is one; d may be nil.
func (d *daemon) detach(log *logFile) error {
	if d == nil {
		return nil
	}
	if err := unix.Chdir("/"); err != nil {
		return fmt.Errorf("not able to chdir to /: %w", err)
	}
	null, err := unix.Open("/dev/null", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("cannot open /dev/null: %w", err)
	}
	defer unix.Close(null)
	std := []int{0, 1, 2}
	if log != nil {
		std = std[:2]
		if err := log.takeStderr(); err != nil {
			return err
		}
	}
	for _, fd := range std {
		if err := unix.Dup3(null, fd, 0); err != nil {
			return fmt.Errorf("cannot leave the terminal: %w", err)
		}
	}
	return nil
}

// ready tells the starter that the daemon is there. When there is no starter any
// more the daemon is not wanted.
func (d *daemon) ready() error {
	if d == nil {
		return nil
	}
	defer d.status.Close()
	if _, err := d.status.Write([]byte{ready}); err != nil {
		return fmt.Errorf("who started the daemon is gone: %w", err)
	}
	return nil
}
