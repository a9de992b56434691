package ctl

import (
	"bytes"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// openPTY returns both ends of a new terminal.
func openPTY(t *testing.T) (master, slave *os.File) {
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
	master = os.NewFile(uintptr(fd), "/dev/ptmx")
	slave, err = os.OpenFile("/dev/pts/"+strconv.Itoa(n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { master.Close(); slave.Close() })
	return master, slave
}

func consoleAt(label, where string) map[string]string {
	return map[string]string{"query-chardev": `"return": [{"label": "` + label + `", "filename": "` + where + `"}]`}
}

// What is typed reaches the guest up to the escape key; what the guest says is
// shown after what it said before, and the terminal is as it was at the end.
func TestConsole(t *testing.T) {
	path := script(t, consoleAt("serial0", "disconnected:unix:con,server=on"), nil)
	socket := filepath.Join(filepath.Dir(path), "con")
	if err := os.WriteFile(socket+".log", []byte(strings.Repeat("old\n", historyLimit)+"before\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	typed := make(chan string, 1)
	listen(t, socket, func(conn net.Conn) {
		_, _ = io.WriteString(conn, "login: ")
		all, _ := io.ReadAll(conn)
		typed <- string(all)
	})
	master, slave := openPTY(t)
	settings := func() unix.Termios {
		s, err := unix.IoctlGetTermios(int(slave.Fd()), unix.TCGETS)
		if err != nil {
			t.Fatal(err)
		}
		return *s
	}
	before := settings()
	// The escape key is typed when the guest has been heard: the output says so.
	heard := &trigger{at: "login: ", then: func() {
		if s := settings(); s.Lflag&(unix.ICANON|unix.ISIG|unix.ECHO) != 0 {
			t.Errorf("the terminal is not raw: %+v", s)
		}
		_, _ = master.WriteString("root\x03\x14not this")
	}}
	p := &program{name: "govmctl", stdin: slave, stdout: heard, stderr: io.Discard, getenv: os.Getenv}
	if status := p.run([]string{path, "console", "--escape", "^T"}); status != 0 {
		t.Errorf("status %d", status)
	}
	if got := <-typed; got != "root\x03" {
		t.Errorf("the guest heard %q", got)
	}
	if !strings.HasPrefix(heard.buf.String(), "old\n") || !strings.HasSuffix(heard.buf.String(), "old\nbefore\nlogin: ") || heard.buf.Len() > historyLimit+20 {
		t.Errorf("%d bytes are shown, at the end %q", heard.buf.Len(), heard.buf.String()[max(0, heard.buf.Len()-40):])
	}
	if settings() != before {
		t.Error("the terminal is not as it was")
	}
}

// trigger is a writer that does something when it has seen a text.
type trigger struct {
	buf  bytes.Buffer // not embedded: it would have a ReadFrom
	at   string
	then func()
}

func (w *trigger) Write(p []byte) (int, error) {
	n, err := w.buf.Write(p)
	if w.then != nil && strings.Contains(w.buf.String(), w.at) {
		w.then()
		w.then = nil
	}
	return n, err
}

// Without a terminal all input goes to the guest, and its end is not the end.
func TestConsoleOfScript(t *testing.T) {
	path := script(t, consoleAt("console", "disconnected:unix:con,server=on"), nil)
	listen(t, filepath.Join(filepath.Dir(path), "con"), func(conn net.Conn) {
		buf := make([]byte, 4)
		if _, err := io.ReadFull(conn, buf); err == nil {
			_, _ = conn.Write([]byte("heard " + string(buf)))
		}
	})
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	_, _ = w.WriteString("\x1dls\n")
	w.Close()
	if got := runWith(r, nil, path, "console"); got.status != 0 || got.stdout != "heard \x1dls\n" {
		t.Errorf("%+v", got)
	}
	if got := runWith(r, nil, path, "console", "--history", "/nowhere"); got.status != int(Unreachable) {
		t.Errorf("%+v", got)
	}
	for where, says := range map[string]string{
		"disconnected:unix:gone,server=on": "no machine listens there",
		"unix:/a":                          "only a listening",
		"pty:/dev/pts/x":                   "no such file",
		"mux":                              "only a listening",
	} {
		path := script(t, consoleAt("console", where), nil)
		if got := runWith(r, nil, path, "console"); got.status == 0 || !strings.Contains(got.stderr, says) {
			t.Errorf("%s: %+v", where, got)
		}
	}
	path = script(t, consoleAt("other", "null"), nil)
	if got := runWith(r, nil, path, "console", "--chardev", "othre"); got.stderr != "govmctl: there is no character device 'othre'; did you mean 'other'?\n" {
		t.Errorf("%+v", got)
	}
}

func TestKeys(t *testing.T) {
	for name, want := range map[string]int{"^]": 0x1d, "^a": 1, "^A": 1, "^@": 0, "^_": 0x1f, "none": -1} {
		if got, err := parseKey(name); got != want || err != nil {
			t.Errorf("%s: %d, %v", name, got, err)
		}
	}
	for _, name := range []string{"", "^", "a", "^1", "^aa", "^ "} {
		if _, err := parseKey(name); err == nil {
			t.Errorf("%q is taken", name)
		}
	}
}

// Of two that want the same terminal the second is told so, whoever they are.
func TestTerminalIsHeld(t *testing.T) {
	_, slave := openPTY(t)
	name := slave.Name()
	held, err := openTerminal(name)
	if err != nil {
		t.Fatal(err)
	}
	path := script(t, consoleAt("console", "pty:"+name), nil)
	got := runWith(slave, nil, path, "console")
	if want := "govmctl: " + name + ": somebody else is attached to it\n"; got.status != int(Unreachable) || got.stderr != want {
		t.Errorf("%+v", got)
	}
	// Reading ends when the terminal is closed.
	done := make(chan error)
	go func() {
		_, err := held.Read(make([]byte, 1))
		done <- err
	}()
	_ = held.Close()
	<-done
	again, err := openTerminal(name)
	if err != nil {
		t.Fatal(err)
	}
	again.Close()
}
