package cli

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
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

// process is a run of the program that goes on beside the test.
type process struct {
	t      *testing.T
	ctx    context.Context
	cmd    *exec.Cmd
	dir    string
	stderr *vmtest.Console
	gone   chan struct{}
}

// begin starts the program in a folder of its own.
func begin(t *testing.T, args ...string) *process {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	p := beginProgram(t, program, w, args...)
	p.stderr = vmtest.NewConsole(r)
	return p
}

// beginProgram starts any program that takes govmd's options; what it says goes to
// stderr.
func beginProgram(t *testing.T, name string, stderr *os.File, args ...string) *process {
	t.Helper()
	dir, err := os.MkdirTemp("", "cli") // a short name: sockets are made there
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	p := &process{t: t, ctx: ctx, dir: dir, gone: make(chan struct{})}
	p.cmd = exec.Command(name, append([]string{"-nodefaults", "-display", "none"}, args...)...)
	p.cmd.Dir = dir
	if stderr != nil {
		p.cmd.Stderr = stderr
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		_ = p.cmd.Wait() // the status is in ProcessState
		close(p.gone)
	}()
	t.Cleanup(func() {
		_ = p.cmd.Process.Kill() // fails if it has ended
		<-p.gone
		cancel()
		os.RemoveAll(dir)
		if t.Failed() {
			t.Logf("%q: %v", p.cmd.Args, p.cmd.ProcessState)
			if p.stderr != nil {
				t.Log(p.stderr.Text())
			}
		}
	})
	return p
}

func (p *process) path(name string) string { return filepath.Join(p.dir, name) }

// dialQMP connects a client to a socket in the folder.
func (p *process) dialQMP(name string) *vmtest.QMP {
	p.t.Helper()
	q, err := vmtest.DialQMP(p.ctx, p.path(name), p.gone)
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() { q.Close() })
	return q
}

func (p *process) signal(sig unix.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(sig); err != nil {
		p.t.Fatal(err)
	}
}

func (p *process) expectStderr(text string) {
	p.t.Helper()
	if _, err := p.stderr.Wait(p.ctx, text); err != nil {
		p.t.Fatal(err)
	}
}

// expectEnd waits for the program to end with that status, and nothing but the
// named files left.
func (p *process) expectEnd(status int, left ...string) {
	p.t.Helper()
	select {
	case <-p.gone:
	case <-p.ctx.Done():
		p.t.Fatal("the program does not end")
	}
	if got := p.cmd.ProcessState.ExitCode(); got != status {
		p.t.Errorf("the program ended with %v, want exit status %d", p.cmd.ProcessState, status)
	}
	entries, err := os.ReadDir(p.dir)
	if err != nil {
		p.t.Fatal(err)
	}
	for _, e := range entries {
		if !strings.Contains(" "+strings.Join(left, " ")+" ", " "+e.Name()+" ") {
			p.t.Errorf("%s is left behind", e.Name())
		}
	}
}

const qmpSocket = "unix:qmp,server=on,wait=off"

func TestSignalEndsTheMachine(t *testing.T) {
	for _, sig := range []unix.Signal{unix.SIGTERM, unix.SIGINT, unix.SIGHUP} {
		for _, state := range []string{"-S", "-no-shutdown"} {
			t.Run(sig.String()+" "+state, func(t *testing.T) {
				p := begin(t, "-accel", "qtest", "-M", "pc", "-qmp", qmpSocket, "-pidfile", "pid", state,
					"-serial", "unix:serial,server=on,wait=off")
				q := p.dialQMP("qmp")
				text, err := os.ReadFile(p.path("pid"))
				if want := strconv.Itoa(p.cmd.Process.Pid) + "\n"; err != nil || string(text) != want {
					t.Errorf("the pid file says %q, want %q: %v", text, want, err)
				}
				p.signal(sig)
				e, err := q.WaitEvent(p.ctx, "SHUTDOWN")
				if err != nil {
					t.Fatal(err)
				}
				expectData(t, e, `{"guest": false, "reason": "host-signal"}`)
				p.expectEnd(0)
				if want := "govmd: info: terminating on signal " + strconv.Itoa(int(sig)) + "\n"; p.stderr.Text() != want {
					t.Errorf("says %q, want %q", p.stderr.Text(), want)
				}
			})
		}
	}
}

// While the start waits for somebody a signal ends it.
func TestSignalEndsTheStart(t *testing.T) {
	for _, c := range []struct{ name, option, value, says string }{
		{"client", "-serial", "unix:serial,server=on", "waiting for a client"},
		{"monitor's client", "-qmp", "unix:other,server=on", "waiting for a client"},
		{"reader of a pipe", "-serial", "file:fifo", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			fifo := filepath.Join(dir, "fifo")
			if err := unix.Mkfifo(fifo, 0o600); err != nil {
				t.Fatal(err)
			}
			value := strings.ReplaceAll(c.value, "file:fifo", "file:"+fifo)
			p := begin(t, "-accel", "qtest", "-pidfile", "pid", "-qmp", qmpSocket, c.option, value)
			if c.says != "" {
				p.expectStderr(c.says)
			} else {
				await(p, func() bool { _, err := os.Stat(p.path("qmp")); return err == nil })
			}
			p.signal(unix.SIGTERM)
			p.expectEnd(1)
			p.expectStderr("govmd: terminated by signal 15 before the machine was there\n")
		})
	}
}

// await polls for what gives no sign of itself.
func await(p *process, there func() bool) {
	p.t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !there() {
		select {
		case <-tick.C:
		case <-p.gone:
			p.t.Fatal("the program has ended")
		case <-p.ctx.Done():
			p.t.Fatal("it does not come to pass")
		}
	}
}

// A client that does not read what it asks for keeps nobody from ending.
func TestDeafClientDelaysNoEnd(t *testing.T) {
	p := begin(t, "-M", "none", "-qmp", qmpSocket, "-qmp", "unix:other,server=on,wait=off")
	other := p.dialQMP("other")
	deaf, err := net.Dial("unix", p.path("qmp"))
	if err != nil {
		t.Fatal(err)
	}
	defer deaf.Close()
	// It asks until it would have to wait, and reads nothing.
	requests := `{"execute":"qmp_capabilities"}` + strings.Repeat(`{"execute":"query-qmp-schema"}`, 100)
	for range 100 {
		if err := deaf.SetWriteDeadline(time.Now().Add(100 * time.Millisecond)); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(deaf, requests); errors.Is(err, os.ErrDeadlineExceeded) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
	}
	if err := other.Execute(p.ctx, "quit", nil, nil); err != nil {
		t.Error(err)
	}
	if _, err := other.WaitEvent(p.ctx, "SHUTDOWN"); err != nil {
		t.Error(err)
	}
	p.expectEnd(0)
}

// Neither does a peer of the serial port that does not take what the guest says.
func TestKVMDeafPeerDelaysNoEnd(t *testing.T) {
	vmtest.NeedAnyKVM(t)
	rom := vmtest.NewROM().Label("again").Print("noise").Jump("again").File(t)
	p := begin(t, "-M", "pc", "-cpu", "host", "-m", "16", "-bios", rom, "-qmp", qmpSocket,
		"-serial", "unix:serial,server=on", "-serial", "unix:second,server=on,wait=off")
	var deaf net.Conn
	await(p, func() (there bool) {
		conn, err := net.Dial("unix", p.path("serial"))
		deaf = conn
		return err == nil
	})
	defer deaf.Close()
	q := p.dialQMP("qmp")
	if err := q.Execute(p.ctx, "query-status", nil, nil); err != nil {
		t.Error(err)
	}
	p.signal(unix.SIGTERM)
	if _, err := q.WaitEvent(p.ctx, "SHUTDOWN"); err != nil {
		t.Error(err)
	}
	p.expectEnd(0)
}

// Whoever comes last hears of the end: the response to quit, and the event.
func TestQuitTellsEverybody(t *testing.T) {
	const clients = 8
	args := []string{"-M", "none"}
	for i := range clients {
		args = append(args, "-qmp", "unix:qmp"+strconv.Itoa(i)+",server=on,wait=off")
	}
	p := begin(t, args...)
	var all []*vmtest.QMP
	for i := range clients {
		all = append(all, p.dialQMP("qmp"+strconv.Itoa(i)))
	}
	if err := all[3].Execute(p.ctx, "quit", nil, nil); err != nil {
		t.Error(err)
	}
	for i, q := range all {
		e, err := q.WaitEvent(p.ctx, "SHUTDOWN")
		if err != nil {
			t.Fatalf("client %d: %v", i, err)
		}
		expectData(t, e, `{"guest": false, "reason": "host-qmp-quit"}`)
	}
	p.expectEnd(0)
}

// A client that goes away in the middle of everything disturbs nobody, and the
// next one is served.
func TestClientsComeAndGo(t *testing.T) {
	p := begin(t, "-M", "none", "-qmp", qmpSocket)
	p.dialQMP("qmp").Close()
	for range 20 {
		conn, err := net.Dial("unix", p.path("qmp"))
		if err != nil {
			t.Fatal(err)
		}
		if line, err := bufio.NewReader(conn).ReadString('\n'); err != nil || !strings.HasPrefix(line, `{"QMP": `) {
			t.Fatalf("greeting %q, %v", line, err)
		}
		if _, err := io.WriteString(conn, `{"execute":"qmp_capabilities"}{"execute":"stop"}{"execute":"query-st`); err != nil {
			t.Fatal(err)
		}
		conn.Close()
	}
	q := p.dialQMP("qmp")
	var status struct{ Status string }
	if err := q.Execute(p.ctx, "query-status", nil, &status); err != nil {
		t.Error(err)
	}
	if err := q.Execute(p.ctx, "quit", nil, nil); err != nil {
		t.Error(err)
	}
	p.expectEnd(0)
}

// A pid file belongs to one process, and is taken over from a dead one.
func TestPIDFile(t *testing.T) {
	p := begin(t, "-M", "none", "-qmp", qmpSocket, "-pidfile", "pid")
	p.dialQMP("qmp")
	got := runIn(t, p.dir, "-M", "none", "-nodefaults", "-pidfile", "pid")
	if want := "govmd: -pidfile pid: cannot create PID file: process " + strconv.Itoa(p.cmd.Process.Pid) + " has it\n"; got.status != 1 || got.stderr != want {
		t.Errorf("a second process: status %d, %q, want %q", got.status, got.stderr, want)
	}
	if _, err := os.Stat(p.path("pid")); err != nil {
		t.Errorf("the refused process took the file away: %v", err)
	}
	p.signal(unix.SIGKILL)
	<-p.gone
	if _, err := os.Stat(p.path("pid")); err != nil {
		t.Fatalf("a killed process cannot remove its file: %v", err)
	}
	left := runIn(t, p.dir, "-M", "none", "-nodefaults", "-pidfile", "pid", "-device", "nope")
	if left.status != 1 {
		t.Errorf("status %d", left.status)
	}
	if err := os.Remove(p.path("qmp")); err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
}

// The name of the process is as -name says.
func TestProcessName(t *testing.T) {
	p := begin(t, "-M", "none", "-qmp", qmpSocket, "-name", "guest=a,process=vm-a,debug-threads=on")
	q := p.dialQMP("qmp")
	comm, err := os.ReadFile("/proc/" + strconv.Itoa(p.cmd.Process.Pid) + "/comm")
	if err != nil || string(comm) != "vm-a\n" {
		t.Errorf("the process is called %q, %v", comm, err)
	}
	var name json.RawMessage
	if err := q.Execute(p.ctx, "query-name", nil, &name); err != nil || string(name) != `{"name": "a"}` {
		t.Errorf("query-name says %s, %v", name, err)
	}
}

// Where even what it says goes nowhere the process ends, and cleans up.
func TestNothingKeepsTheProcess(t *testing.T) {
	t.Parallel() // it takes the time that an orderly end is given
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	if err := w.SetWriteDeadline(time.Now().Add(10 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(make([]byte, 1<<20)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("filling a pipe: %v", err)
	}
	// Not the same open file: the program's blocks.
	full, err := os.OpenFile("/proc/self/fd/"+strconv.Itoa(int(w.Fd())), os.O_WRONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer full.Close()
	if err := unix.SetNonblock(int(full.Fd()), false); err != nil {
		t.Fatal(err)
	}
	p := beginProgram(t, program, full, "-M", "none", "-qmp", qmpSocket, "-pidfile", "pid")
	p.dialQMP("qmp")
	p.signal(unix.SIGTERM)
	p.expectEnd(1)
}
