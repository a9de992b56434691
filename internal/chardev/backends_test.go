package chardev

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"govmd/internal/fd"
	"govmd/internal/sock"
)

func attach(t *testing.T, c *Chardev, fe Frontend) Port {
	t.Helper()
	p, err := c.Attach(fe)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func (s *sink) waitText(text string) {
	s.waitFor(func() bool { return s.got.String() == text })
}

func (s *sink) waitEvents(want ...Event) {
	s.waitFor(func() bool {
		if len(s.events) < len(want) {
			return false
		}
		for i, ev := range want {
			if s.events[i] != ev {
				return false
			}
		}
		return true
	})
}

func mkfifo(t *testing.T, path string) {
	t.Helper()
	if err := unix.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
}

// expect reads text from r.
func expect(t *testing.T, r io.Reader, text string) {
	t.Helper()
	got := make([]byte, len(text))
	if n, err := io.ReadFull(r, got); err != nil || string(got) != text {
		t.Fatalf("read %q, %v, want %q", got[:n], err, text)
	}
}

func TestFileInput(t *testing.T) {
	dir := t.TempDir()
	in, out := filepath.Join(dir, "in"), filepath.Join(dir, "out")
	for _, f := range []struct{ path, text string }{{in, "typed"}, {out, "old "}} {
		if err := os.WriteFile(f.path, []byte(f.text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	r, c := add(t, FileConfig{Out: out, In: in, Append: true}, false)
	s := newSink(100)
	p := attach(t, c, s)
	s.waitText("typed")
	p.Write([]byte("new"))
	r.Close()
	if got, _ := os.ReadFile(out); string(got) != "old new" {
		t.Errorf("file holds %q", got)
	}
}

// A file can be one that a client has handed over.
func TestFileFromSet(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	n, err := unix.Open(path, unix.O_WRONLY|unix.O_CREAT|unix.O_CLOEXEC, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	r := Registry{FDs: &fd.Table{}}
	set := int64(4)
	if _, err := r.FDs.Add(&set, n, nil); err != nil {
		t.Fatal(err)
	}
	c, err := r.Add(t.Context(), Config{ID: "c", Backend: FileConfig{Out: "/dev/fdset/4"}})
	if err != nil {
		t.Fatal(err)
	}
	attach(t, c, newSink(0)).Write([]byte("hello"))
	r.Close()
	if got, _ := os.ReadFile(path); string(got) != "hello" {
		t.Errorf("file holds %q", got)
	}
	if _, err := r.FDs.OpenFD("/dev/fdset/5", unix.O_WRONLY, 0); err == nil {
		t.Error("a set that is not there was opened")
	}
	if sets := r.FDs.Sets(); len(sets) != 0 {
		t.Errorf("sets %v are still in use", sets)
	}
}

func TestPipe(t *testing.T) {
	path := filepath.Join(t.TempDir(), "p")
	mkfifo(t, path+".in")
	mkfifo(t, path+".out")
	_, c := add(t, PipeConfig{path}, false)
	s := newSink(100)
	p := attach(t, c, s)
	for range 2 { // that writers go ends nothing
		if err := os.WriteFile(path+".in", []byte("abc"), 0); err != nil {
			t.Fatal(err)
		}
	}
	s.waitText("abcabc")
	p.Write([]byte("out"))
	f, err := os.Open(path + ".out")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	expect(t, f, "out")
	if c.Filename() != "pipe" {
		t.Error(c.Filename())
	}
	var r Registry
	if _, err := r.Add(t.Context(), Config{ID: "x", Backend: PipeConfig{path + "x"}}); err == nil ||
		err.Error() != "Could not open '"+path+"x': No such file or directory" {
		t.Error(err)
	}
}

func openTTY(t *testing.T, name string) *os.File {
	t.Helper()
	f, err := os.OpenFile(name, os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestPTY(t *testing.T) {
	r, c := add(t, PTYConfig{}, false)
	s := newSink(100)
	p := attach(t, c, s)
	if p.Write([]byte("nobody hears this")) != 17 {
		t.Error("output without a reader is held up")
	}
	for i := range 2 {
		tty := openTTY(t, c.PTY())
		s.waitFor(func() bool { return len(s.events) == 2*i+1 })
		p.Write([]byte("hi\r\n"))
		expect(t, tty, "hi\r\n")
		if _, err := tty.Write([]byte{'a', 3, 4, '\r'}); err != nil {
			t.Fatal(err)
		}
		s.waitFor(func() bool { return bytes.HasSuffix(s.got.Bytes(), []byte{'a', 3, 4, '\r'}) && s.got.Len() == 4*i+4 })
		_ = tty.Close()
		s.waitFor(func() bool { return len(s.events) == 2*i+2 })
	}
	s.waitEvents(Opened, Closed, Opened, Closed)
	if c.Filename() != "pty:"+c.PTY() || !strings.HasPrefix(c.PTY(), "/dev/pts/") {
		t.Error(c.Filename())
	}
	name := c.PTY()
	r.Close()
	if _, err := os.Stat(name); err == nil {
		t.Error("the terminal is still there")
	}
}

// That a terminal is closed is noticed while the guest takes no input; what was
// typed arrives when it does.
func TestPTYHangup(t *testing.T) {
	_, c := add(t, PTYConfig{}, false)
	s := newSink(0)
	p := attach(t, c, s)
	tty := openTTY(t, c.PTY())
	if _, err := tty.Write([]byte("late")); err != nil {
		t.Fatal(err)
	}
	s.waitEvents(Opened)
	_ = tty.Close()
	s.waitEvents(Opened, Closed)
	s.mu.Lock()
	s.credit = 100
	s.mu.Unlock()
	p.AcceptInput()
	s.waitText("late")
}

// A terminal stands in for a serial line.
func TestSerialLine(t *testing.T) {
	master, name, err := openPTY()
	if err != nil {
		t.Fatal(err)
	}
	peer := os.NewFile(uintptr(master), "peer")
	defer peer.Close()
	tty := openTTY(t, name)
	defer tty.Close()
	before, err := unix.IoctlGetTermios(int(tty.Fd()), unix.TCGETS2)
	if err != nil {
		t.Fatal(err)
	}
	r, c := add(t, SerialConfig{name}, false)
	s := newSink(100)
	p := attach(t, c, s)
	p.SetParams(LineParams{Speed: 9600, Parity: 'E', DataBits: 7, StopBits: 2})
	got, err := unix.IoctlGetTermios(int(tty.Fd()), unix.TCGETS2)
	if err != nil {
		t.Fatal(err)
	}
	// A pty is always 8N, by its driver.
	if got.Ospeed != 9600 || got.Cflag&unix.CSTOPB == 0 || got.Lflag&unix.ICANON != 0 {
		t.Errorf("settings %+v", got)
	}
	p.SendBreak()
	if _, ok := p.(ModemPort).Modem(); ok {
		t.Error("a pty has no modem lines")
	}
	p.(ModemPort).SetModem(DTR | RTS)
	if _, err := peer.Write([]byte{'x', 0xff, 'y'}); err != nil {
		t.Fatal(err)
	}
	s.waitText("x\xffy")
	p.Write([]byte("out\n"))
	expect(t, peer, "out\n")
	if c.Filename() != "serial" {
		t.Error(c.Filename())
	}
	r.Close()
	if after, err := unix.IoctlGetTermios(int(tty.Fd()), unix.TCGETS2); err != nil || *after != *before {
		t.Errorf("settings are not put back: %+v, %v", after, err)
	}
}

// Parameters of each kind become the settings that termios(3) has for them.
func TestSetSpeed(t *testing.T) {
	for _, c := range []struct {
		p    LineParams
		want uint32
	}{
		{LineParams{300, 'N', 8, 1}, unix.CS8},
		{LineParams{300, 'E', 7, 1}, unix.CS7 | unix.PARENB},
		{LineParams{300, 'O', 6, 2}, unix.CS6 | unix.PARENB | unix.PARODD | unix.CSTOPB},
		{LineParams{300, 'N', 5, 2}, unix.CS5 | unix.CSTOPB},
	} {
		tio := unix.Termios{Cflag: unix.CS7 | unix.PARENB | unix.PARODD | unix.B50}
		setSpeed(&tio, c.p)
		if tio.Cflag != c.want|unix.BOTHER || tio.Ospeed != 300 || tio.Ispeed != 300 {
			t.Errorf("%+v: %#x, %d", c.p, tio.Cflag, tio.Ospeed)
		}
	}
}

// sliceConn reads what it was given, a piece at a time.
type sliceConn struct {
	Conn
	pieces [][]byte
	wrote  bytes.Buffer
}

func (s *sliceConn) Read(p []byte) (int, error) {
	if len(s.pieces) == 0 {
		return 0, io.EOF
	}
	n := copy(p, s.pieces[0])
	if s.pieces[0] = s.pieces[0][n:]; len(s.pieces[0]) == 0 {
		s.pieces = s.pieces[1:]
	}
	return n, nil
}

func (s *sliceConn) Write(p []byte) (int, error) { return s.wrote.Write(p) }

// split cuts text into pieces in every way that two cuts can.
func split(text string, try func(pieces [][]byte)) {
	for i := 0; i <= len(text); i++ {
		for j := i; j <= len(text); j++ {
			var pieces [][]byte
			for _, p := range []string{text[:i], text[i:j], text[j:]} {
				if p != "" {
					pieces = append(pieces, []byte(p))
				}
			}
			try(pieces)
		}
	}
}

// readAll reads everything; breaks are written as "^".
func readAll(t *testing.T, c interface {
	ReadMsg([]byte) (int, []int, error)
	takeBreak() bool
}, size int) string {
	t.Helper()
	var b strings.Builder
	p := make([]byte, size)
	for {
		n, _, err := c.ReadMsg(p)
		b.Write(p[:n])
		if err != nil {
			return b.String()
		}
		if c.takeBreak() {
			b.WriteByte('^')
		}
	}
}

func TestUnmark(t *testing.T) {
	for _, c := range [][2]string{
		{"plain", "plain"},
		{"a\xff\xffb", "a\xffb"},
		{"a\xff\x00\x00b", "a^b"},
		{"a\xff\x00xb", "axb"},
		{"\xff\x00\x00\xff\x00\x00", "^^"},
	} {
		for cut := range len(c[0]) {
			dst := make([]byte, 10)
			got, src := "", []byte(c[0][:cut])
			for _, more := range []string{"", c[0][cut:]} {
				src = append(src, more...)
				for {
					n, brk, used := unmark(dst, src)
					src = src[used:]
					if got += string(dst[:n]); brk {
						got += "^"
					}
					if used == 0 {
						break
					}
				}
			}
			if got != c[1] || len(src) != 0 {
				t.Errorf("%q cut at %d: %q", c[0], cut, got)
			}
		}
	}
}

func TestTelnet(t *testing.T) {
	for _, c := range []struct{ in, want, answer string }{
		{"plain\n", "plain\n", ""},
		{"\xff\xfd\x01\xff\xfd\x03\xff\xfb\x00\xff\xfd\x00x", "x", ""},       // what we offered is agreed to
		{"\xff\xfb\x1f\xff\xfd\x18x", "x", "\xff\xfe\x1f\xff\xfc\x18"},       // the rest is refused
		{"a\xff\xffb", "a\xffb", ""},                                         // escaped
		{"a\xff\xf3b", "a^b", ""},                                            // a break
		{"a\xff\xf1\xff\xf9b", "ab", ""},                                     // commands without a meaning here
		{"a\xff\xfa\x18\x01\xff\xff\xff\xf0b", "ab", ""},                     // a subnegotiation
		{"a\r\x00b\r\nc", "a\rb\r\nc", ""},                                   // ends of lines in text mode
		{"\xff\xfb\x00a\r\x00b", "a\r\x00b", ""},                             // and of bytes
		{"\xff\xfb\x00\xff\xfc\x00a\r\x00b", "a\rb", ""},                     // and of text again
		{"\xff\xf3\xff\xf3", "^^", ""},                                       // breaks alone
		{"\xff\xfb\x1f\xff\xfb\x1f", "", "\xff\xfe\x1f\xff\xfe\x1f"},         // nothing but requests
		{strings.Repeat("\xff\xff", 5000), strings.Repeat("\xff", 5000), ""}, // long
	} {
		check := func(pieces [][]byte) {
			conn := &sliceConn{pieces: pieces}
			tn := &telnetConn{Conn: conn}
			if got := readAll(t, tn, 7); got != c.want || conn.wrote.String() != c.answer {
				t.Errorf("%.60q in %d pieces: %.60q, answer %q", c.in, len(pieces), got, conn.wrote.String())
			}
		}
		if len(c.in) < 100 {
			split(c.in, check)
		} else {
			check([][]byte{[]byte(c.in)})
		}
	}
	conn := &sliceConn{}
	tn, err := newTelnetConn(conn)
	if err != nil || !bytes.Equal(conn.wrote.Bytes(), telnetHello) {
		t.Errorf("greeting %q, %v", conn.wrote.Bytes(), err)
	}
	conn.wrote.Reset()
	long := strings.Repeat("a\xff", 2000)
	if n, err := tn.Write([]byte(long)); n != len(long) || err != nil || conn.wrote.String() != strings.ReplaceAll(long, "\xff", "\xff\xff") {
		t.Errorf("Write: %d, %v, %d bytes", n, err, conn.wrote.Len())
	}
}

// However input is cut, it is decoded the same, and no more comes out than went in.
func FuzzTelnet(f *testing.F) {
	f.Add([]byte("a\xff\xfb\x1fb\xff\xf3\xff\xfa\x18\xff\xf0\r\x00"), 3)
	f.Fuzz(func(t *testing.T, in []byte, cut int) {
		whole := &sliceConn{pieces: [][]byte{in}}
		want := readAll(t, &telnetConn{Conn: whole}, 64)
		if len(want) > len(in) {
			t.Fatalf("%d bytes from %d", len(want), len(in))
		}
		if len(in) == 0 {
			return
		}
		if cut %= len(in); cut <= 0 {
			return
		}
		parts := &sliceConn{pieces: [][]byte{bytes.Clone(in[:cut]), bytes.Clone(in[cut:])}}
		if got := readAll(t, &telnetConn{Conn: parts}, 5); got != want || !bytes.Equal(parts.wrote.Bytes(), whole.wrote.Bytes()) {
			t.Errorf("cut at %d: %q, not %q", cut, got, want)
		}
	})
}

func TestTelnetServer(t *testing.T) {
	_, c := add(t, SocketConfig{Addr: sock.NewInet("127.0.0.1", "0"), Server: true, Telnet: true}, false)
	s := newSink(100)
	attach(t, c, s)
	if !strings.HasPrefix(c.Filename(), "disconnected:telnet:127.0.0.1:") {
		t.Error(c.Filename())
	}
	conn := dialDevice(t, c)
	expect(t, conn, string(telnetHello))
	if _, err := conn.Write([]byte("a\xff\xf3b")); err != nil {
		t.Fatal(err)
	}
	s.waitText("ab")
	s.waitEvents(Opened, Break)
	if name := c.Filename(); !strings.HasPrefix(name, "telnet:127.0.0.1:") || !strings.HasSuffix(name, " <-> "+conn.LocalAddr().String()) {
		t.Error(name)
	}
}

// dialDevice connects to a TCP server.
func dialDevice(t *testing.T, c *Chardev) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", c.backend.(*socketBackend).listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

func TestUDP(t *testing.T) {
	peer, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer peer.Close()
	_, port := sock.HostPort(peer.LocalAddr())
	_, c := add(t, UDPConfig{Remote: sock.NewInet("127.0.0.1", port)}, false)
	s := newSink(3000)
	p := attach(t, c, s)
	p.Write([]byte("hello"))
	buf := make([]byte, 100)
	n, from, err := peer.ReadFrom(buf)
	if err != nil || string(buf[:n]) != "hello" {
		t.Fatalf("%q, %v", buf[:n], err)
	}
	long := strings.Repeat("0123456789", 300) // more than the front end takes at a time
	for _, text := range []string{"", long} {
		if _, err := peer.WriteTo([]byte(text), from); err != nil {
			t.Fatal(err)
		}
	}
	s.waitText(long)
	if c.Filename() != "udp" {
		t.Error(c.Filename())
	}
}

// A datagram that nobody takes ends nothing.
func TestUDPNobody(t *testing.T) {
	peer, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	addr := peer.LocalAddr().(*net.UDPAddr)
	local := sock.NewInet("127.0.0.1", "0")
	_ = peer.Close()
	_, c := add(t, UDPConfig{Remote: sock.NewInet("127.0.0.1", strconv.Itoa(addr.Port)), Local: &local}, false)
	s := newSink(100)
	p := attach(t, c, s)
	for range 3 {
		p.Write([]byte("lost"))
	}
	if peer, err = net.ListenUDP("udp", addr); err != nil {
		t.Skip(err) // the port is somebody else's by now
	}
	defer peer.Close()
	if _, err := peer.WriteTo([]byte("back"), c.backend.(*udpBackend).conn.LocalAddr()); err != nil {
		t.Fatal(err)
	}
	s.waitText("back")
}

// The ring keeps what is newest, whatever is written at a time, and no more.
func TestRing(t *testing.T) {
	_, c := add(t, RingConfig{Size: 16}, false)
	p := attach(t, c, newSink(0))
	b := c.backend.(*ringBackend)
	for _, pieces := range [][]string{
		{"abc"}, {"0123456789abcdef"}, {"0123456789abcdefghij"}, {"abcdefgh", "ijklmnop", "q"}, {"", "x", strings.Repeat("y", 40), "z"},
	} {
		for _, s := range pieces {
			if n := p.Write([]byte(s)); n != len(s) {
				t.Fatalf("took %d of %d", n, len(s))
			}
		}
		all := strings.Join(pieces, "")
		want := all[max(0, len(all)-16):]
		half := len(want) / 2
		if got := string(b.read(uint64(half))) + string(b.read(1<<40)); got != want {
			t.Errorf("%q: %q, want %q", pieces, got, want)
		}
	}
	var r Registry
	defer r.Close()
	for size, ok := range map[uint64]bool{0: true, 1000: false, 1: true, 1 << 63: false, 1 << 40: false} {
		if _, err := r.Add(t.Context(), Config{ID: "r" + strconv.FormatUint(size, 10), Backend: RingConfig{Size: size}}); (err == nil) != ok {
			t.Errorf("size %d: %v", size, err)
		}
	}
}

func TestLogFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	for i, add := range []bool{false, true, false} {
		var r Registry
		c, err := r.Add(t.Context(), Config{ID: "c", Backend: NullConfig{}, Log: LogConfig{path, add}})
		if err != nil {
			t.Fatal(err)
		}
		p := attach(t, c, newSink(0))
		text := strings.Repeat(strconv.Itoa(i), 1000)
		for range 1000 { // more than waits at once
			for done := 0; done < len(text); {
				done += p.Write([]byte(text[done:]))
			}
		}
		r.Close()
		want := 1000000
		if i == 1 {
			want *= 2
		}
		if fi, err := os.Stat(path); err != nil || fi.Size() != int64(want) {
			t.Errorf("run %d: %v, %v", i, fi.Size(), err)
		}
	}
	var r Registry
	none := filepath.Join(path, "none")
	if _, err := r.Add(t.Context(), Config{ID: "c", Backend: NullConfig{}, Log: LogConfig{File: none}}); err == nil ||
		err.Error() != "Could not create '"+none+"': Not a directory" {
		t.Error(err)
	}
}

// A log that nobody reads holds the guest's output up, not its vCPU; its reader
// gets it going again.
func TestLogHeldUp(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	mkfifo(t, path)
	reader := openTTY(t, path) // for both directions: to open it is not to wait
	defer reader.Close()
	var r Registry
	defer r.Close()
	c, err := r.Add(t.Context(), Config{ID: "c", Backend: NullConfig{}, Log: LogConfig{File: path, Append: true}})
	if err != nil {
		t.Fatal(err)
	}
	p := attach(t, c, newSink(0))
	room := make(chan struct{}, 1)
	p.OnWritable(func() {
		select {
		case room <- struct{}{}:
		default:
		}
	})
	chunk := bytes.Repeat([]byte("x"), 10000)
	for p.Write(chunk) > 0 {
	}
	go func() {
		_, _ = io.Copy(io.Discard, reader)
	}()
	for p.Write(chunk) == 0 {
		<-room
	}
}

// A log that was renamed is opened anew, and nothing is lost.
func TestLogReopened(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	path := filepath.Join(dir, "log")
	var r Registry
	c, err := r.Add(t.Context(), Config{ID: "c", Backend: NullConfig{}, Log: LogConfig{File: "log"}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Add(t.Context(), Config{ID: "without", Backend: NullConfig{}}); err != nil {
		t.Fatal(err)
	}
	t.Chdir("/") // as daemons do
	p := attach(t, c, newSink(0))
	const rounds, lines = 50, 10
	files := make([]string, 0, rounds+1)
	for round := range rounds {
		for line := range lines {
			for text := []byte(fmt.Sprintf("%04d\n", round*lines+line)); len(text) > 0; {
				text = text[p.Write(text):]
			}
		}
		old := path + strconv.Itoa(round)
		files = append(files, old)
		if err := os.Rename(path, old); err != nil {
			t.Fatal(err)
		}
		r.ReopenLogs(t.Context(), func(id, path string, err error) { t.Errorf("%s, %s: %v", id, path, err) })
	}
	r.Close()
	var got, want []byte
	for _, name := range append(files, path) {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, text...)
	}
	for i := range rounds * lines {
		want = fmt.Appendf(want, "%04d\n", i)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("the logs hold %d bytes %q", len(got), got)
	}
}

func TestLogNotReopened(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "a"), 0o700); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "a", "log")
	var r Registry
	c, err := r.Add(t.Context(), Config{ID: "c", Backend: NullConfig{}, Log: LogConfig{File: path}})
	if err != nil {
		t.Fatal(err)
	}
	p := attach(t, c, newSink(0))
	if err := os.Rename(filepath.Join(dir, "a"), filepath.Join(dir, "b")); err != nil {
		t.Fatal(err)
	}
	var failed []string
	r.ReopenLogs(t.Context(), func(id, path string, err error) { failed = append(failed, id+" "+path+": "+err.Error()) })
	if len(failed) != 1 || failed[0] != "c "+path+": No such file or directory" {
		t.Errorf("%q", failed)
	}
	p.Write([]byte("still there"))
	r.Close()
	if got, _ := os.ReadFile(filepath.Join(dir, "b", "log")); string(got) != "still there" {
		t.Errorf("the log holds %q", got)
	}
}
