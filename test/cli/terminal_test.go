package cli

import (
	"bytes"
	"context"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"govmd/test/vmtest"
)

// terminal is the program on a terminal of its own, in a session of its own.
type terminal struct {
	*process
	master *os.File
	slave  *os.File
	before unix.Termios
	screen *vmtest.Console
}

func onTerminal(t *testing.T, args ...string) *terminal {
	t.Helper()
	fd, err := unix.Open("/dev/ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	master := os.NewFile(uintptr(fd), "/dev/ptmx")
	slave, err := os.OpenFile("/dev/pts/"+strconv.Itoa(n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	p := &process{t: t, ctx: ctx, dir: t.TempDir(), gone: make(chan struct{})}
	p.cmd = exec.Command(program, args...)
	p.cmd.Dir = p.dir
	p.cmd.Stdin, p.cmd.Stdout, p.cmd.Stderr = slave, slave, slave
	p.cmd.SysProcAttr = &unix.SysProcAttr{Setsid: true, Setctty: true}
	tty := &terminal{process: p, master: master, slave: slave}
	tty.before = tty.settings()
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	tty.screen = vmtest.NewConsole(master)
	go func() {
		_ = p.cmd.Wait() // the status is in ProcessState
		close(p.gone)
	}()
	t.Cleanup(func() {
		_ = p.cmd.Process.Kill() // fails if it has ended
		<-p.gone
		cancel()
		slave.Close()
		master.Close()
		if t.Failed() {
			t.Logf("%q: %v\n%q", p.cmd.Args, p.cmd.ProcessState, tty.screen.Text())
		}
	})
	return tty
}

func (t *terminal) settings() unix.Termios {
	t.t.Helper()
	s, err := unix.IoctlGetTermios(int(t.slave.Fd()), unix.TCGETS)
	if err != nil {
		t.t.Fatal(err)
	}
	return *s
}

func (t *terminal) raw() bool { return t.settings().Lflag&unix.ICANON == 0 }

func (t *terminal) write(text string) {
	t.t.Helper()
	if _, err := t.master.WriteString(text); err != nil {
		t.t.Fatal(err)
	}
}

// expectRestored waits until the terminal's settings are what they were: the
// guard of a process that was killed is another process.
func (t *terminal) expectRestored() {
	t.t.Helper()
	select {
	case <-t.gone:
	case <-t.ctx.Done():
		t.t.Fatal("the program does not end")
	}
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for t.settings() != t.before {
		select {
		case <-tick.C:
		case <-t.ctx.Done():
			t.t.Fatalf("the terminal stays %+v, was %+v", t.settings(), t.before)
		}
	}
}

// onIdleMachine has a machine that executes nothing; when it returns that is
// there, for it has called for its tests.
func onIdleMachine(t *testing.T, args ...string) *terminal {
	t.Helper()
	dir, err := os.MkdirTemp("", "cli") // a short name for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: filepath.Join(dir, "qtest"), Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if err := l.SetDeadline(time.Now().Add(limit)); err != nil {
		t.Fatal(err)
	}
	tty := onTerminal(t, append([]string{"-accel", "qtest", "-qtest", "unix:" + l.Addr().String(), "-S", "-vga", "none", "-nic", "none"}, args...)...)
	conn, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if !tty.raw() {
		t.Error("the terminal is not in raw mode")
	}
	return tty
}

// However the program ends, the terminal is as it was.
func TestTerminalIsRestored(t *testing.T) {
	for _, c := range []struct {
		name   string
		end    func(*terminal)
		status int
	}{
		{"C-a x", func(t *terminal) { t.write("\x01x") }, 0},
		{"SIGTERM", func(t *terminal) { t.signal(unix.SIGTERM) }, 0},
		{"SIGHUP", func(t *terminal) { t.signal(unix.SIGHUP) }, 0},
		{"SIGKILL", func(t *terminal) { t.signal(unix.SIGKILL) }, -1},
		// It ends the program as a panic does: by the Go runtime, at once.
		{"SIGQUIT", func(t *terminal) { t.signal(unix.SIGQUIT) }, 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			tty := onIdleMachine(t, "-nographic")
			c.end(tty)
			tty.expectRestored()
			if got := tty.cmd.ProcessState.ExitCode(); got != c.status {
				t.Errorf("exit status %d, want %d", got, c.status)
			}
		})
	}
}

// With -nographic alone the guest gets Ctrl-C; with -serial stdio, or where a
// monitor is elsewhere, it ends the program.
func TestInterruptKey(t *testing.T) {
	for _, c := range []struct {
		args string
		ends bool
	}{
		{"-nographic", false},
		{"-display none -serial mon:stdio", false},
		{"-display none -serial stdio", true},
		{"-nographic -monitor none", true},
		{"-display none -chardev stdio,id=c,signal=off -serial chardev:c", false},
	} {
		t.Run(c.args, func(t *testing.T) {
			tty := onIdleMachine(t, strings.Fields(c.args)...)
			if signals := tty.settings().Lflag&unix.ISIG != 0; signals != c.ends {
				t.Fatalf("the terminal makes signals: %v", signals)
			}
			if !c.ends {
				return
			}
			tty.write("\x03")
			tty.expectRestored()
			if got := tty.cmd.ProcessState.ExitCode(); got != 0 {
				t.Errorf("exit status %d", got)
			}
		})
	}
}

func TestMultiplexerKeys(t *testing.T) {
	tty := onIdleMachine(t, "-nographic")
	tty.write("\x01h")
	if _, err := tty.screen.Wait(tty.ctx, "C-a x"); err != nil {
		t.Error(err)
	}
	tty.write("\x01c\x01b\x01\x01\x01x") // none of these but the last ends it
	tty.expectRestored()
	if got := tty.cmd.ProcessState.ExitCode(); got != 0 {
		t.Errorf("exit status %d", got)
	}
}

// What a guest says on its serial port is on the terminal, byte by byte.
func TestKVMConsoleOnTerminal(t *testing.T) {
	vmtest.NeedAnyKVM(t)
	rom := vmtest.NewROM().Print("caf\xe9\r\n").
		Label("poll").In8(vmtest.PortSerial+5).JumpIfAL(0x60, "poll"). // nothing received
		In8(vmtest.PortSerial).JumpIfAL('x', "got").Jump("poll").
		Label("got").Print("got x\n").Out8(0x501, 3).Halt().File(t)
	tty := onTerminal(t, "-nographic", "-vga", "none", "-nic", "none", "-m", "16", "-cpu", "host", "-bios", rom, "-device", "isa-debug-exit")
	text, err := tty.screen.Wait(tty.ctx, "\r\n")
	for err == nil && !bytes.Contains([]byte(text), []byte("caf\xe9")) {
		text, err = tty.screen.Wait(tty.ctx, "\r\n") // past what is said about missing devices
	}
	if err != nil {
		t.Fatal(err)
	}
	tty.write("x")
	if _, err := tty.screen.Wait(tty.ctx, "got x"); err != nil {
		t.Error(err)
	}
	tty.expectRestored()
	if got := tty.cmd.ProcessState.ExitCode(); got != 7 {
		t.Errorf("exit status %d, want the guest's 7", got)
	}
}

// A program that was stopped and goes on finds the terminal as its shell left it.
func TestTerminalAfterStop(t *testing.T) {
	tty := onIdleMachine(t, "-nographic")
	tty.signal(unix.SIGSTOP)
	if err := unix.IoctlSetTermios(int(tty.slave.Fd()), unix.TCSETS, &tty.before); err != nil {
		t.Fatal(err)
	}
	tty.signal(unix.SIGCONT)
	await(tty.process, tty.raw)
	tty.write("\x01x")
	tty.expectRestored()
}
