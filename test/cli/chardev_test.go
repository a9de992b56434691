package cli

import (
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"govmd/test/vmtest"
)

// answering is a guest that answers digits, and breaks, on its serial port.
func answering() *vmtest.ROM {
	const lineStatus = vmtest.PortSerial + 5
	r := vmtest.NewROM().Print("hello\n").
		Label("poll").In8(lineStatus).JumpIfAL(0x60, "poll"). // nothing received
		JumpIfAL(0x71, "break").
		In8(vmtest.PortSerial).JumpIfAL('1', "one").JumpIfAL('2', "two").JumpIfAL('3', "three").Jump("poll")
	for _, word := range []string{"one", "two", "three"} {
		r.Label(word).Print(word + "\n").Jump("poll")
	}
	return r.Label("break").In8(vmtest.PortSerial).Print("break\n").Jump("poll")
}

// console is a connection to a guest's console.
type console struct {
	t testing.TB
	io.ReadWriteCloser
}

// says sends text and waits for the answer.
func (c console) says(text, answer string) {
	c.t.Helper()
	if _, err := io.WriteString(c, text); err != nil {
		c.t.Fatal(err)
	}
	got := make([]byte, len(answer))
	if n, err := io.ReadFull(c, got); err != nil || string(got) != answer {
		c.t.Fatalf("%q brings %q, %v, not %q", text, got[:n], err, answer)
	}
}

// A guest's console moves from a file to a socket, a terminal and a telnet server,
// and into a ring buffer, while the guest runs and notices nothing.
func TestKVMConsoleMoves(t *testing.T) {
	vmtest.NeedAnyKVM(t)
	dir, err := os.MkdirTemp("", "con")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	file, logFile, path := filepath.Join(dir, "out"), filepath.Join(dir, "log"), filepath.Join(dir, "s")
	vm := vmtest.Start(t, vmtest.Options{Timeout: limit, NoConsole: true, Args: []string{
		"-M", "pc", "-accel", "kvm", "-cpu", "host", "-m", "16", "-display", "none", "-bios", answering().File(t), "-S",
		"-chardev", "file,id=con,path=" + file, "-serial", "chardev:con",
	}})
	q, ctx := vm.QMP(), vm.Context()
	change := func(kind, data string) (pty string) {
		t.Helper()
		var r struct{ PTY string }
		args := map[string]any{"id": "con", "backend": map[string]any{"type": kind, "data": raw(data)}}
		if err := q.Execute(ctx, "chardev-change", args, &r); err != nil {
			t.Fatalf("to %s: %v", kind, err)
		}
		return r.PTY
	}
	filename := func() string {
		t.Helper()
		var list []struct{ Label, Filename string }
		if err := q.Execute(ctx, "query-chardev", nil, &list); err != nil {
			t.Fatal(err)
		}
		for _, c := range list {
			if c.Label == "con" {
				return c.Filename
			}
		}
		return "none"
	}
	if err := q.Execute(ctx, "cont", nil, nil); err != nil {
		t.Fatal(err)
	}
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for said := ""; said != "hello\n"; said = contents(file) {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("the guest has said %q", said)
		}
	}

	change("socket", fmt.Sprintf(`{"addr": {"type": "unix", "data": {"path": %q}}, "server": true, "wait": false, "logfile": %q}`, path, logFile))
	conn, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	console{t, conn}.says("1", "one\n")
	if name := filename(); name != "unix:"+path+",server=on" {
		t.Error(name)
	}

	pty := change("pty", "{}")
	if n, err := conn.Read(make([]byte, 1)); err == nil {
		t.Errorf("%d more bytes on the socket", n)
	}
	tty, err := os.OpenFile(pty, os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer tty.Close()
	console{t, tty}.says("2", "two\n")

	change("socket", `{"addr": {"type": "inet", "data": {"host": "127.0.0.1", "port": "0"}}, "telnet": true, "wait": false}`)
	addr, _, _ := strings.Cut(strings.TrimPrefix(filename(), "disconnected:telnet:"), ",")
	if conn, err = net.Dial("tcp", addr); err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	console{t, conn}.says("3", "\xff\xfb\x01\xff\xfb\x03\xff\xfb\x00\xff\xfd\x00three\n")
	console{t, conn}.says("\xff\xf3", "break\n")

	change("ringbuf", `{"size": 4096}`)
	if log := contents(logFile); log != "one\n" {
		t.Errorf("the log has %q", log)
	}
}

// contents is what a file holds; nothing when it is not there.
func contents(path string) string {
	data, _ := os.ReadFile(path)
	return string(data)
}

// raw is JSON as it is.
type raw string

// MarshalJSON implements json.Marshaler.
func (r raw) MarshalJSON() ([]byte, error) { return []byte(r), nil }

// A program is started with a connection, and with a socket that listens, as its
// parent's descriptors.
func TestInheritedSockets(t *testing.T) {
	dir, err := os.MkdirTemp("", "inh")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: filepath.Join(dir, "s"), Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	listening, err := l.File()
	if err != nil {
		t.Fatal(err)
	}
	theirs, ours := os.NewFile(uintptr(pair[0]), "theirs"), os.NewFile(uintptr(pair[1]), "ours")
	defer ours.Close()
	cmd := exec.CommandContext(t.Context(), program, "-M", "none", "-S", "-nodefaults", "-display", "none",
		"-chardev", "socket,id=m,fd=3", "-mon", "m,mode=control",
		"-chardev", "socket,id=n,fd=4,server=on,wait=off", "-mon", "n,mode=control")
	cmd.ExtraFiles, cmd.Stderr = []*os.File{theirs, listening}, os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	for _, f := range cmd.ExtraFiles {
		_ = f.Close()
	}
	conn, err := net.Dial("unix", filepath.Join(dir, "s"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	for _, c := range []io.ReadWriteCloser{ours, conn} {
		console{t, c}.says("", `{"QMP": {"version": {`)
	}
	if _, err := io.WriteString(ours, `{"execute": "qmp_capabilities"}{"execute": "quit"}`); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
}

// A descriptor of the parent is a file of the machine's, also where it can no
// longer be opened by name.
func TestInheritedFile(t *testing.T) {
	file, err := os.CreateTemp(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if err := os.Remove(file.Name()); err != nil {
		t.Fatal(err)
	}
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	theirs, ours := os.NewFile(uintptr(pair[0]), "theirs"), os.NewFile(uintptr(pair[1]), "ours")
	defer ours.Close()
	cmd := exec.CommandContext(t.Context(), program, "-M", "none", "-S", "-nodefaults", "-display", "none",
		"-add-fd", "fd=3,set=7,opaque=log", "-chardev", "file,id=f,path=/dev/fdset/7")
	cmd.ExtraFiles = []*os.File{file}
	out, err := cmd.CombinedOutput()
	if err == nil || !strings.Contains(string(out), "Could not open '/dev/fdset/7': Permission denied") {
		t.Errorf("a descriptor for both directions serves writing alone: %v, %s", err, out)
	}
	cmd = exec.CommandContext(t.Context(), program, "-M", "none", "-S", "-nodefaults", "-display", "none",
		"-add-fd", "fd=3,set=7,opaque=log", "-chardev", "socket,id=m,fd=4", "-mon", "m,mode=control",
		"-chardev", "pipe,id=f,path=/dev/fdset/7")
	cmd.ExtraFiles, cmd.Stderr = []*os.File{file, theirs}, os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	_ = theirs.Close()
	if _, err := io.WriteString(ours, `{"execute": "qmp_capabilities"}{"execute": "query-fdsets"}{"execute": "quit"}`); err != nil {
		t.Fatal(err)
	}
	said, _ := io.ReadAll(ours)
	if !strings.Contains(string(said), `"opaque": "log"`) || !strings.Contains(string(said), `"fdset-id": 7`) {
		t.Errorf("%s", said)
	}
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
}
