// Package vmtest runs whole virtual machines in tests: it starts the program,
// waits for words on its console, talks QMP to it, and leaves nothing behind.
// The program is govmd, or with VM=qemu in the environment QEMU: a test that QEMU
// passes tests what it means to.
//
// All waiting has the deadline of the machine's Options; a wait that fails ends
// the test, and the console is logged.
package vmtest

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Options says what to start.
type Options struct {
	// Args are the program's arguments. Start adds a console on the first
	// serial port, a QMP socket, and -nodefaults.
	Args []string
	// Program is started; "" means the program under test.
	Program string
	// Timeout bounds the machine's whole life; 0 means two minutes.
	Timeout time.Duration
	// NoConsole leaves standard input and output to Args.
	NoConsole bool
	// NoQMP leaves QMP to Args.
	NoQMP bool
}

// A VM is a running machine.
type VM struct {
	// Console is what standard output says.
	Console *Console
	// Stderr is what standard error says.
	Stderr *Console
	// QMPPath is the QMP socket's path. A program serves one client there at
	// a time.
	QMPPath string
	// Started is the time just before the program was executed.
	Started time.Time

	t     testing.TB
	ctx   context.Context
	cmd   *exec.Cmd
	stdin *os.File
	gone  chan struct{} // closed when the program has ended
	err   error         // what Wait said, valid after gone
	qmp   *QMP
}

// IsQEMU reports whether the machines are QEMU's.
func IsQEMU() bool { return os.Getenv("VM") == "qemu" }

// Program is the path of the program under test.
func Program() (string, error) {
	if IsQEMU() {
		return exec.LookPath("qemu-system-x86_64")
	}
	if program := os.Getenv("GOVMD"); program != "" {
		return program, nil
	}
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			program := filepath.Join(dir, "bin", "govmd")
			if _, err := os.Stat(program); err != nil {
				return "", errors.New("bin/govmd is not built: run make build, or set GOVMD to its path")
			}
			return program, nil
		}
		if parent := filepath.Dir(dir); parent != dir {
			dir = parent
			continue
		}
		return "", errors.New("not inside the project: set GOVMD to govmd's path")
	}
}

// systemVariable is set where whole-system tests run.
const systemVariable = "GOVMD_TEST_SYSTEM"

// NeedKVM says at its start that a test needs a KVM on which a stock kernel runs.
// Such tests run where GOVMD_TEST_SYSTEM is set, which scripts/test does in the
// nested host.
func NeedKVM(t testing.TB) {
	t.Helper()
	need(t, systemVariable, "whole-system test: run by `make test`, or GOVMD_TEST_SYSTEM=1 go test -exec scripts/nested")
}

// NeedAnyKVM says the same of a test that any KVM serves, firmware or a small
// guest of ours. Such tests are named TestKVM... and run where GOVMD_TEST_KVM is
// set, which scripts/test does on the host if it can.
func NeedAnyKVM(t testing.TB) {
	t.Helper()
	need(t, "GOVMD_TEST_KVM", "needs /dev/kvm: set GOVMD_TEST_KVM=1 to run it, as `make test` does")
}

func need(t testing.TB, variable, otherwise string) {
	t.Helper()
	if os.Getenv(variable) == "" {
		t.Skip(otherwise)
	}
	if _, err := os.Stat("/dev/kvm"); err != nil {
		t.Fatalf("%s is set, but there is no KVM: %v", variable, err)
	}
}

// Start starts the program under test. The machine ends with the test at the
// latest.
func Start(t testing.TB, o Options) *VM {
	t.Helper()
	program, err := o.Program, error(nil)
	if program == "" {
		program, err = Program()
	}
	if err != nil {
		t.Fatal(err)
	}
	if o.Timeout == 0 {
		o.Timeout = 2 * time.Minute
	}
	ctx, cancel := context.WithTimeout(context.Background(), o.Timeout)
	v := &VM{t: t, ctx: ctx, gone: make(chan struct{})}

	// The path of a Unix socket is short: a test's own folder may be too deep.
	dir, err := os.MkdirTemp("", "vm")
	if err != nil {
		t.Fatal(err)
	}
	v.QMPPath = filepath.Join(dir, "qmp")
	args := []string{"-nodefaults"}
	if !o.NoConsole {
		args = append(args, "-display", "none", "-chardev", "stdio,id=console,signal=off", "-serial", "chardev:console")
	}
	if !o.NoQMP {
		args = append(args, "-qmp", "unix:"+v.QMPPath+",server=on,wait=off")
	}
	v.cmd = exec.Command(program, append(args, o.Args...)...)
	t.Logf("starting %s", strings.Join(v.cmd.Args, " "))

	stdin, theirStdin := pipe(t)
	stdout, theirStdout := pipe(t)
	stderr, theirStderr := pipe(t)
	v.stdin = theirStdin
	v.cmd.Stdin, v.cmd.Stdout, v.cmd.Stderr = stdin, theirStdout, theirStderr
	v.Console, v.Stderr = NewConsole(stdout), NewConsole(stderr)
	v.Started = time.Now()
	err = v.cmd.Start()
	stdin.Close()
	theirStdout.Close()
	theirStderr.Close()
	if err != nil {
		cancel()
		os.RemoveAll(dir)
		t.Fatal(err)
	}
	go func() {
		v.err = v.cmd.Wait()
		close(v.gone)
	}()
	t.Cleanup(func() {
		v.cmd.Process.Kill() // fails if it has ended
		<-v.gone
		if v.qmp != nil {
			v.qmp.Close()
		}
		cancel()
		v.stdin.Close()
		os.RemoveAll(dir)
		if t.Failed() {
			t.Logf("%s: %v\nstderr:\n%s\nconsole:\n%s", program, v.cmd.ProcessState, v.Stderr.Text(), v.Console.Text())
		}
	})
	return v
}

func pipe(t testing.TB) (r, w *os.File) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	return r, w
}

// Context ends when the machine's time is up.
func (v *VM) Context() context.Context { return v.ctx }

// PID is the program's process id.
func (v *VM) PID() int { return v.cmd.Process.Pid }

// Expect waits for text on the console, after what earlier calls found, and
// returns all printed since.
func (v *VM) Expect(text string) string {
	v.t.Helper()
	s, err := v.Console.Wait(v.ctx, text)
	if err != nil {
		v.t.Fatal(err)
	}
	return s
}

// Type writes to the console.
func (v *VM) Type(s string) {
	v.t.Helper()
	if _, err := v.stdin.WriteString(s); err != nil {
		v.t.Fatal(err)
	}
}

// QMP returns the machine's QMP client, connecting it at the first call.
func (v *VM) QMP() *QMP {
	v.t.Helper()
	if v.qmp == nil {
		q, err := DialQMP(v.ctx, v.QMPPath, v.gone)
		if err != nil {
			v.t.Fatal(err)
		}
		v.qmp = q
	}
	return v.qmp
}

// Execute runs a QMP command that must succeed; its result is decoded into result
// unless that is nil.
func (v *VM) Execute(command string, arguments, result any) {
	v.t.Helper()
	if err := v.QMP().Execute(v.ctx, command, arguments, result); err != nil {
		v.t.Fatal(err)
	}
}

// ExpectEvent waits for a QMP event; those before it are dropped.
func (v *VM) ExpectEvent(name string) Event {
	v.t.Helper()
	e, err := v.QMP().WaitEvent(v.ctx, name)
	if err != nil {
		v.t.Fatal(err)
	}
	return e
}

// Status is the run state that query-status reports.
func (v *VM) Status() string {
	v.t.Helper()
	var s struct {
		Status string `json:"status"`
	}
	v.Execute("query-status", nil, &s)
	return s.Status
}

// ExpectExit waits for the program to end with that exit status.
func (v *VM) ExpectExit(status int) {
	v.t.Helper()
	select {
	case <-v.gone:
	case <-v.ctx.Done():
		v.t.Fatalf("the program does not end: %v", v.ctx.Err())
	}
	var failed *exec.ExitError
	if v.err != nil && !errors.As(v.err, &failed) {
		v.t.Fatal(v.err)
	}
	if got := v.cmd.ProcessState.ExitCode(); got != status {
		v.t.Fatalf("the program ended with %v, want exit status %d", v.cmd.ProcessState, status)
	}
}

// CPUTime is the processor time that the program has used.
func (v *VM) CPUTime() time.Duration {
	v.t.Helper()
	clock := int32(^v.PID()<<3 | 2) // the process CPU clock of that id, see clock_getcpuclockid(3)
	var ts unix.Timespec
	if err := unix.ClockGettime(clock, &ts); err != nil {
		v.t.Fatal(err)
	}
	return time.Duration(ts.Nano())
}
