package cli

import (
	"fmt"
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

// daemonProcess is a process that is nobody's child here.
type daemonProcess struct {
	t   *testing.T
	dir string
	pid int
	fd  int // a pidfd
}

// shortDir is a folder whose name leaves room for those of sockets.
func shortDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "cli")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// beginDaemon starts the program with -daemonize, in a folder, and expects that it
// is all there when the starter ends.
func beginDaemon(t *testing.T, dir string, args ...string) *daemonProcess {
	t.Helper()
	got := runIn(t, dir, append([]string{"-nodefaults", "-display", "none", "-daemonize", "-pidfile", "pid"}, args...)...)
	if got.status != 0 {
		t.Fatalf("status %d, %s", got.status, got.stderr)
	}
	text, err := os.ReadFile(filepath.Join(dir, "pid"))
	if err != nil {
		t.Fatal(err)
	}
	d := &daemonProcess{t: t, dir: dir}
	if d.pid, err = strconv.Atoi(strings.TrimSpace(string(text))); err != nil {
		t.Fatal(err)
	}
	if d.fd, err = unix.PidfdOpen(d.pid, 0); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = unix.PidfdSendSignal(d.fd, unix.SIGKILL, nil, 0) // fails if it has ended
		d.wait()
		_ = unix.Close(d.fd)
	})
	return d
}

func (d *daemonProcess) signal(sig unix.Signal) {
	d.t.Helper()
	if err := unix.PidfdSendSignal(d.fd, sig, nil, 0); err != nil {
		d.t.Fatal(err)
	}
}

// wait waits for its end.
func (d *daemonProcess) wait() {
	d.t.Helper()
	end := time.Now().Add(limit)
	for time.Now().Before(end) {
		p := []unix.PollFd{{Fd: int32(d.fd), Events: unix.POLLIN}}
		if n, err := unix.Poll(p, int(limit/time.Millisecond)); n == 1 && err == nil {
			return
		}
	}
	d.t.Fatal("the daemon does not end")
}

func (d *daemonProcess) dial(name string) *vmtest.QMP {
	d.t.Helper()
	conn, err := net.Dial("unix", filepath.Join(d.dir, name)) // once: it listens
	if err != nil {
		d.t.Fatal(err)
	}
	q, err := vmtest.NewQMP(conn)
	if err != nil {
		d.t.Fatal(err)
	}
	d.t.Cleanup(func() { q.Close() })
	return q
}

// When the starter ends every socket listens and the machine is there; what it
// was started from is left, and at the end nothing remains, though names were
// relative.
func TestDaemon(t *testing.T) {
	dir := shortDir(t)
	d := beginDaemon(t, dir, "-M", "pc", "-accel", "qtest", "-name", "guest=g,process=the-guest",
		"-qmp", "unix:one,server=on,wait=off", "-qmp", "unix:two,server=on,wait=off",
		"-chardev", "socket,id=c,path=three,server=on,wait=off", "-serial", "chardev:c", "-qtest", "unix:four,server=on,wait=off")
	for _, name := range []string{"three", "four"} {
		conn, err := net.Dial("unix", filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		conn.Close()
	}
	for _, name := range []string{"one", "two"} {
		var status struct{ Status string }
		q := d.dial(name)
		if err := q.Execute(t.Context(), "query-status", nil, &status); err != nil || status.Status != "running" {
			t.Errorf("%s: %+v, %v", name, status, err)
		}
	}
	proc := fmt.Sprintf("/proc/%d/", d.pid)
	for name, want := range map[string]string{"cwd": "/", "fd/0": "/dev/null", "fd/1": "/dev/null", "fd/2": "/dev/null"} {
		if got, err := os.Readlink(proc + name); got != want {
			t.Errorf("%s is %s (%v), want %s", name, got, err, want)
		}
	}
	if sid, err := unix.Getsid(d.pid); err != nil || sid != d.pid {
		t.Errorf("session %d (%v), want its own, %d", sid, err, d.pid)
	}
	if comm, _ := os.ReadFile(proc + "comm"); string(comm) != "the-guest\n" {
		t.Errorf("the process is called %q", comm)
	}
	if argv, _ := os.ReadFile(proc + "cmdline"); !strings.HasPrefix(string(argv), program+"\x00-nodefaults\x00") {
		t.Errorf("arguments %q", argv)
	}
	if environ, _ := os.ReadFile(proc + "environ"); !strings.Contains(string(environ), "GOVMD_DAEMON_STATUS") {
		t.Errorf("not the daemon: %q", environ)
	}
	again := runIn(t, dir, "-M", "none", "-nodefaults", "-daemonize", "-pidfile", "pid")
	if want := fmt.Sprintf("govmd: -pidfile pid: cannot create PID file: process %d has it\n", d.pid); again.status != 1 || again.stderr != want {
		t.Errorf("a second one: status %d, %q; want %q", again.status, again.stderr, want)
	}
	d.signal(unix.SIGTERM)
	d.wait()
	if left := files(t, dir); left != "" {
		t.Errorf("left behind:\n%s", left)
	}
}

// What goes wrong is said by the starter, whose status QEMU's starter has too.
func TestDaemonFailures(t *testing.T) {
	qemu, noQEMU := exec.LookPath("qemu-system-x86_64")
	for _, c := range []struct{ args, want string }{
		{"-qmp unix:a,server=on,wait=off -qmp unix:none/b,server=on,wait=off", "-qmp unix:none/b,server=on,wait=off: Failed to bind socket to none/b"},
		{"-pidfile none/pid", "cannot create PID file: no such file or directory"},
		{"-nographic", "-nographic cannot be used with -daemonize"},
		{"-serial stdio", "-serial stdio: cannot use stdio with -daemonize"},
		{"-chardev stdio,id=a", "-chardev stdio,id=a: cannot use stdio with -daemonize"},
		{"-device nope", "-device nope: 'nope' is not a valid device model name"},
		{"-object rng-random,id=r,filename=none/x", "none/x"},
		{"-runas nobody-there", `-runas nobody-there: User "nobody-there" doesn't exist (and is not <uid>:<gid>)`},
		{"-runas 1:x", `-runas 1:x: User "1:x" doesn't exist`},
		{"-runas 1:4294967295", `User "1:4294967295" doesn't exist`},
		{"-msg foo=on", "-msg foo=on: Invalid parameter 'foo'"},
		{"-overcommit mem-lock=x", "Parameter 'mem-lock' expects 'on' or 'off'"},
		{"-readconfig none", "Could not open 'none': no such file or directory"},
		{"-D none/log -d unimp", "-D none/log"},
	} {
		t.Run(c.args, func(t *testing.T) {
			dir := shortDir(t)
			args := append(strings.Fields("-M none -display none -daemonize"), strings.Fields(c.args)...)
			got := runIn(t, dir, args...)
			if got.status != 1 || !strings.HasPrefix(got.stderr, "govmd: ") || !strings.Contains(got.stderr, c.want) {
				t.Errorf("status %d, %q; want 1, %q", got.status, got.stderr, c.want)
			}
			if left := files(t, dir); left != "" {
				t.Errorf("left behind:\n%s", left)
			}
			if noQEMU != nil || strings.Contains(c.args, "4294967295") { // that QEMU goes on as root
				return
			}
			if theirs := runCommand(t, shortDir(t), qemu, args...); theirs.status != got.status {
				t.Errorf("status %d, QEMU's %d (%s)", got.status, theirs.status, theirs.stderr)
			}
		})
	}
}

// A starter that is told to end takes the daemon along, which waits for a client.
func TestDaemonInterrupted(t *testing.T) {
	p := begin(t, "-M", "none", "-daemonize", "-pidfile", "pid", "-qmp", "unix:qmp,server=on,wait=on")
	p.expectStderr("waiting for a client")
	p.signal(unix.SIGTERM)
	p.expectEnd(1)
	p.expectStderr("terminated by signal 15 before the machine was there")
}

// Descriptors that the starter was handed have their numbers in the daemon.
func TestDaemonInheritsDescriptors(t *testing.T) {
	dir := shortDir(t)
	script := fmt.Sprintf("exec 7>log 8<>other; exec %s -M none -nodefaults -display none -daemonize -pidfile pid "+
		"-add-fd fd=7,set=1 -D /dev/fdset/1 -qmp unix:qmp,server=on,wait=off -msg timestamp=on,guest-name=on -name me", program)
	if got := runShell(t, dir, script); got.status != 0 {
		t.Fatalf("status %d, %s", got.status, got.stderr)
	}
	text, _ := os.ReadFile(filepath.Join(dir, "pid"))
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	d := &daemonProcess{t: t, dir: dir, pid: pid, fd: fd}
	if other, _ := os.Readlink(fmt.Sprintf("/proc/%d/fd/8", pid)); other != filepath.Join(dir, "other") {
		t.Errorf("descriptor 8 is %q", other)
	}
	d.signal(unix.SIGTERM)
	d.wait()
	log, _ := os.ReadFile(filepath.Join(dir, "log"))
	if want := "Z me govmd: info: terminating on signal 15\n"; !strings.HasSuffix(string(log), want) {
		t.Errorf("log %q, want ...%q", log, want)
	}
}

// A log that was renamed is opened anew on SIGUSR1; one that was cut goes on at
// its new end.
func TestLogRotation(t *testing.T) {
	dir := shortDir(t)
	d := beginDaemon(t, dir, "-M", "none", "-D", "log", "-qmp", "unix:qmp,server=on,wait=off", "-chardev", "null,id=c,logfile=console")
	log, old := filepath.Join(dir, "log"), filepath.Join(dir, "log.1")
	console := filepath.Join(dir, "console")
	if err := os.WriteFile(log, []byte("what was logged\n"), 0); err != nil { // O_TRUNC: as copytruncate does
		t.Fatal(err)
	}
	if err := os.Rename(log, old); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(console, console+".1"); err != nil {
		t.Fatal(err)
	}
	d.signal(unix.SIGUSR1)
	d.waitFile(log)
	d.waitFile(console)
	if err := os.Truncate(log, 0); err != nil {
		t.Fatal(err)
	}
	d.signal(unix.SIGTERM)
	d.wait()
	if text, _ := os.ReadFile(old); string(text) != "what was logged\n" {
		t.Errorf("the old log has %q", text)
	}
	if text, _ := os.ReadFile(log); string(text) != "govmd: info: terminating on signal 15\n" {
		t.Errorf("the new log has %q", text)
	}
}

// waitFile waits until there is a file of that name.
func (d *daemonProcess) waitFile(name string) {
	d.t.Helper()
	watch, err := unix.InotifyInit1(unix.IN_CLOEXEC)
	if err != nil {
		d.t.Fatal(err)
	}
	defer unix.Close(watch)
	if _, err := unix.InotifyAddWatch(watch, filepath.Dir(name), unix.IN_CREATE); err != nil {
		d.t.Fatal(err)
	}
	for end := time.Now().Add(limit); time.Now().Before(end); {
		if _, err := os.Stat(name); err == nil {
			return
		}
		p := []unix.PollFd{{Fd: int32(watch), Events: unix.POLLIN}}
		if n, _ := unix.Poll(p, int(limit/time.Millisecond)); n == 1 {
			var buf [4096]byte
			_, _ = unix.Read(watch, buf[:])
		}
	}
	d.t.Fatalf("%s does not appear", name)
}

// -runas holds for every thread, and what was open stays so.
func TestRunAs(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root")
	}
	dir := shortDir(t)
	d := beginDaemon(t, dir, "-M", "pc", "-accel", "qtest", "-runas", "65534:65533", "-qmp", "unix:qmp,server=on,wait=off")
	var status struct{ Status string }
	if err := d.dial("qmp").Execute(t.Context(), "query-status", nil, &status); err != nil || status.Status != "running" {
		t.Errorf("%+v, %v", status, err)
	}
	tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", d.pid))
	if err != nil || len(tasks) < 3 {
		t.Fatalf("threads %q, %v", tasks, err)
	}
	for _, task := range tasks {
		text, _ := os.ReadFile(task)
		for _, want := range []string{"Uid:\t65534\t65534\t65534\t65534\n", "Gid:\t65533\t65533\t65533\t65533\n", "Groups:\t65533 \n", "CapEff:\t0000000000000000\n"} {
			if !strings.Contains(string(text), want) {
				t.Errorf("%s has no %q:\n%s", task, want, text)
			}
		}
	}
}

// -overcommit mem-lock=on locks what there is, the guest's memory too.
func TestMemLock(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root")
	}
	dir := shortDir(t)
	d := beginDaemon(t, dir, "-M", "pc", "-accel", "qtest", "-m", "16", "-overcommit", "mem-lock=on")
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", d.pid))
	var locked int
	for line := range strings.Lines(string(text)) {
		_, _ = fmt.Sscanf(line, "VmLck: %d kB", &locked)
	}
	if locked < 16<<10 {
		t.Errorf("%d kB are locked", locked)
	}
}
