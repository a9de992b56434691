package chardev

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"govmd/internal/sock"
)

// sink is a front end that collects what it gets.
type sink struct {
	mu     sync.Mutex
	cond   *sync.Cond
	got    bytes.Buffer
	events []Event
	credit int
}

func newSink(credit int) *sink {
	s := &sink{credit: credit}
	s.cond = sync.NewCond(&s.mu)
	return s
}

func (s *sink) CanReceive() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.credit
}

func (s *sink) Receive(p []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.got.Write(p)
	s.credit -= len(p)
	s.cond.Broadcast()
}

func (s *sink) ChardevEvent(ev Event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.events = append(s.events, ev)
	s.cond.Broadcast()
}

func (s *sink) waitFor(ok func() bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for !ok() {
		s.cond.Wait()
	}
}

func add(t *testing.T, b any, mux bool) (*Registry, *Chardev) {
	t.Helper()
	var r Registry
	c, err := r.Add(t.Context(), Config{ID: "c0", Backend: b, Mux: mux})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	return &r, c
}

func TestFileOutput(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	r, c := add(t, FileConfig{Out: path}, false)
	p, err := c.Attach(newSink(0))
	if err != nil {
		t.Fatal(err)
	}
	if n := p.Write([]byte("last words\n")); n != 11 {
		t.Fatalf("Write took %d bytes", n)
	}
	p.Detach()
	r.Close()
	got, _ := os.ReadFile(path)
	if string(got) != "last words\n" {
		t.Errorf("file holds %q", got)
	}
}

func TestSocketServesOneClientAfterTheOther(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	r, c := add(t, SocketConfig{Addr: sock.NewUnix(path), Server: true}, false)
	s := newSink(1 << 20)
	p, err := c.Attach(s)
	if err != nil {
		t.Fatal(err)
	}
	for i, word := range []string{"one", "two"} {
		conn, err := net.Dial("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := conn.Write([]byte(word)); err != nil {
			t.Fatal(err)
		}
		s.waitFor(func() bool { return strings.HasSuffix(s.got.String(), word) })
		p.Write([]byte("echo " + word))
		buf := make([]byte, 8)
		if _, err := io.ReadFull(conn, buf); err != nil || string(buf) != "echo "+word {
			t.Fatalf("client read %q, %v", buf, err)
		}
		conn.Close()
		s.waitFor(func() bool { return len(s.events) == 2*i+2 })
	}
	want := []Event{Opened, Closed, Opened, Closed}
	for i, ev := range s.events {
		if ev != want[i] {
			t.Fatalf("events %v, want %v", s.events, want)
		}
	}
	if err := r.Remove("c0"); err == nil || !strings.Contains(err.Error(), "busy") {
		t.Errorf("removing a device in use: %v", err)
	}
	p.Detach()
	if err := r.Remove("c0"); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(path); err == nil {
		t.Error("the socket is still there")
	}
}

// A client that does not read must not block the writer, and what does not fit
// is refused, not lost.
func TestSlowReader(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	_, c := add(t, SocketConfig{Addr: sock.NewUnix(path), Server: true}, false)
	s := newSink(1)
	p, err := c.Attach(s)
	if err != nil {
		t.Fatal(err)
	}
	room := make(chan struct{}, 1)
	p.OnWritable(func() {
		select {
		case room <- struct{}{}:
		default:
		}
	})
	conn, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	s.waitFor(func() bool { return len(s.events) == 1 })
	chunk := bytes.Repeat([]byte("x"), 10000)
	sent := 0
	for {
		n := p.Write(chunk)
		sent += n
		if n < len(chunk) {
			if sent > 64<<20 {
				t.Fatal("output is not bounded")
			}
			// Full: the socket's buffers and ours. Only reading makes room.
			if n == 0 {
				break
			}
		}
	}
	go func() {
		_, _ = io.Copy(io.Discard, conn)
	}()
	for p.Write(chunk) == 0 { // hangs when OnWritable's function is not called
		<-room
	}
	conn.Close()
}

func TestInputWaitsForCredit(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	_, c := add(t, SocketConfig{Addr: sock.NewUnix(path), Server: true}, false)
	s := newSink(3)
	p, err := c.Attach(s)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.Write([]byte("abcdef")); err != nil {
		t.Fatal(err)
	}
	s.waitFor(func() bool { return s.got.Len() == 3 })
	s.mu.Lock()
	s.credit = 3
	s.mu.Unlock()
	p.AcceptInput()
	s.waitFor(func() bool { return s.got.String() == "abcdef" })
}

func TestAddressInUse(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	_, _ = add(t, SocketConfig{Addr: sock.NewUnix(path), Server: true}, false)
	var r Registry
	_, err := r.Add(t.Context(), Config{ID: "c1", Backend: SocketConfig{Addr: sock.NewUnix(path), Server: true}})
	if err == nil || !strings.Contains(err.Error(), "in use") || !strings.Contains(err.Error(), path) {
		t.Errorf("second server: %v", err)
	}
}

func TestMux(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	_, c := add(t, SocketConfig{Addr: sock.NewUnix(path), Server: true}, true)
	a, b := newSink(100), newSink(100)
	for _, s := range []*sink{a, b} {
		if _, err := c.Attach(s); err != nil {
			t.Fatal(err)
		}
	}
	quit := make(chan struct{})
	c.SetMuxHooks(MuxHooks{Quit: func() { close(quit) }})
	conn, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.Write([]byte("a\x01cb\x01cA\x01\x01\x01x")); err != nil {
		t.Fatal(err)
	}
	<-quit
	a.waitFor(func() bool { return a.got.String() == "aA\x01" })
	b.waitFor(func() bool { return b.got.String() == "b" })
}

// A user who wants to leave before anybody has said what that means is heard.
func TestMuxQuitsEarly(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	_, c := add(t, SocketConfig{Addr: sock.NewUnix(path), Server: true}, true)
	conn, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.Write([]byte("\x01x")); err != nil {
		t.Fatal(err)
	}
	var said [len("govmd: terminated\r\n")]byte
	if _, err := io.ReadFull(conn, said[:]); err != nil {
		t.Fatal(err)
	}
	quit := make(chan struct{})
	c.SetMuxHooks(MuxHooks{Quit: func() { close(quit) }})
	<-quit
}

// What is pasted while the guest is busy is not lost, and the multiplexer's keys
// work even if it never reads again.
func TestMuxKeepsInput(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	_, c := add(t, SocketConfig{Addr: sock.NewUnix(path), Server: true}, true)
	busy := newSink(1)
	p, err := c.Attach(busy)
	if err != nil {
		t.Fatal(err)
	}
	quit := make(chan struct{})
	c.SetMuxHooks(MuxHooks{Quit: func() { close(quit) }})
	conn, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	text := strings.Repeat("0123456789", 500)
	if _, err := conn.Write([]byte(text + "\x01x")); err != nil {
		t.Fatal(err)
	}
	<-quit
	for done := false; !done; {
		busy.waitFor(func() bool {
			done = busy.got.Len() >= len(text)
			return busy.credit == 0 || done
		})
		busy.mu.Lock()
		busy.credit = 16
		busy.mu.Unlock()
		p.AcceptInput()
	}
	busy.waitFor(func() bool { return busy.got.String() == text })
	if _, err := conn.Write(bytes.Repeat([]byte("x"), 2*muxInput)); err != nil {
		t.Fatal(err)
	}
	p.Detach()
}

// Front ends of a multiplexer come and go.
func TestMuxReattach(t *testing.T) {
	r, c := add(t, NullConfig{}, true)
	if c.InUse() {
		t.Error("in use by nobody")
	}
	for range 3 * maxMux {
		s := newSink(0)
		p, err := c.Attach(s)
		if err != nil {
			t.Fatal(err)
		}
		if len(s.events) != 2 || s.events[0] != Opened || s.events[1] != MuxIn || !c.InUse() {
			t.Fatalf("events %v", s.events)
		}
		p.Detach()
	}
	if err := r.Remove("c0"); err != nil {
		t.Error(err)
	}
}

// server is a front end that serves whole connections.
type server struct {
	*sink
	got chan error
}

func (s *server) ServeConn(c Conn) {
	s.got <- nil
	var b [1]byte
	_, err := c.Read(b[:])
	s.got <- err
}

// Detaching such a front end ends its connection.
func TestDetachEndsConnection(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	r, c := add(t, SocketConfig{Addr: sock.NewUnix(path), Server: true}, false)
	s := &server{newSink(0), make(chan error, 4)}
	p, err := c.Attach(s)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	<-s.got
	p.Detach()
	if err := <-s.got; err == nil {
		t.Error("the connection goes on")
	}
	if err := r.Remove("c0"); err != nil {
		t.Error(err)
	}
}

// The end of a stream is io.EOF, whatever else comes with it.
func TestEndOfStream(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		if c, err := net.Dial("unix", path); err == nil {
			_ = c.Close()
		}
	}()
	raw, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	if n, _, err := newNetConn(raw).ReadMsg(make([]byte, 10)); n != 0 || !errors.Is(err, io.EOF) {
		t.Errorf("%d bytes, %v", n, err)
	}
}

// A client that is to try again does not hold anybody up when there is no server.
func TestReconnectLater(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	_, c := add(t, SocketConfig{Addr: sock.NewUnix(path), Reconnect: 3600}, false)
	if c.Filename() != "disconnected:unix:"+path {
		t.Error(c.Filename())
	}
}

// A wait for the first client ends when the context does, and leaves nothing.
func TestWaitIsGivenUp(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	enough := errors.New("enough")
	ctx, cancel := context.WithCancelCause(t.Context())
	var r Registry
	failed := make(chan error)
	go func() {
		_, err := r.Add(ctx, Config{ID: "c0", Backend: SocketConfig{Addr: sock.NewUnix(path), Server: true, Wait: true}})
		failed <- err
	}()
	cancel(enough)
	if err := <-failed; !errors.Is(err, enough) || !strings.Contains(err.Error(), path) {
		t.Errorf("Add returned %v", err)
	}
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the socket is still there: %v", err)
	}
	if r.Get("c0") != nil {
		t.Error("there is a device")
	}
}

func TestStdioIsOneDevices(t *testing.T) {
	var r Registry
	r.devs = map[string]*Chardev{"a": newChardev("a", &stdioBackend{})} // not started: the test's own input is not ours
	_, err := r.Add(t.Context(), Config{ID: "b", Backend: StdioConfig{}})
	if err == nil || err.Error() != "cannot use stdio by multiple character devices" {
		t.Errorf("a second stdio: %v", err)
	}
}

// Abandon removes what outlives the process and waits for nobody, not even for a
// peer that does not read.
func TestAbandon(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	r, _ := add(t, SocketConfig{Addr: sock.NewUnix(path), Server: true}, false)
	r.Abandon()
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the socket is still there: %v", err)
	}
}

// echoer is a front end of whole connections that sends back what it gets.
type echoer struct{ *sink }

func (e echoer) ServeConn(c Conn) {
	buf := make([]byte, 1000)
	for {
		n, _, err := c.ReadMsg(buf)
		if err != nil {
			return
		}
		if _, err := c.Write(buf[:n]); err != nil {
			return
		}
	}
}

// A monitor shares a terminal with a console, over several connections.
func TestMuxWithWholeConnections(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	r, c := add(t, SocketConfig{Addr: sock.NewUnix(path), Server: true}, true)
	guest := newSink(1 << 20)
	p := attach(t, c, guest)
	mon := attach(t, c, echoer{newSink(0)})
	for i := range 3 {
		conn := dialUnix(t, path)
		guest.waitFor(func() bool { return guest.events[len(guest.events)-1] != Closed && len(guest.events) >= 2 })
		if i == 0 {
			if _, err := conn.Write([]byte("\x01c")); err != nil {
				t.Fatal(err)
			}
			guest.waitFor(func() bool { return guest.events[len(guest.events)-1] == MuxOut })
		}
		long := strings.Repeat("0123456789", 5000)
		go func() { _, _ = io.WriteString(conn, long) }()
		expect(t, conn, long)
		p.Write([]byte("from the guest"))
		expect(t, conn, "from the guest")
		_ = conn.Close()
		guest.waitFor(func() bool { return guest.events[len(guest.events)-1] == Closed })
	}
	mon.Detach()
	p.Detach()
	if err := r.Remove("c0"); err != nil {
		t.Error(err)
	}
}

// Lines have the time before them when that is asked for, however they are written.
func TestMuxTimes(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	_, c := add(t, SocketConfig{Addr: sock.NewUnix(path), Server: true}, true)
	s := newSink(100)
	p := attach(t, c, s)
	conn := dialUnix(t, path)
	if _, err := conn.Write([]byte("\x01t!")); err != nil {
		t.Fatal(err)
	}
	s.waitText("!")
	for _, piece := range []string{"ab", "c\nde", "f\n"} {
		if n := p.Write([]byte(piece)); n != len(piece) {
			t.Errorf("took %d of %q", n, piece)
		}
	}
	got := make([]byte, 2*len("[00:00:00.000] abc\n"))
	if _, err := io.ReadFull(conn, got); err != nil {
		t.Fatal(err)
	}
	for i, word := range []string{"abc\n", "def\n"} {
		line := string(got[i*len(got)/2 : (i+1)*len(got)/2])
		if !strings.HasPrefix(line, "[00:0") || !strings.HasSuffix(line, "] "+word) {
			t.Errorf("%q", line)
		}
	}
}

// What a guest writes costs no memory.
func BenchmarkWrite(b *testing.B) {
	for name, backend := range map[string]any{"null": NullConfig{}, "ringbuf": RingConfig{}, "file": FileConfig{Out: "/dev/null"}} {
		b.Run(name, func(b *testing.B) {
			var r Registry
			defer r.Close()
			c, err := r.Add(b.Context(), Config{ID: "c", Backend: backend})
			if err != nil {
				b.Fatal(err)
			}
			p, err := c.Attach(newSink(0))
			if err != nil {
				b.Fatal(err)
			}
			one := []byte("x")
			b.ReportAllocs()
			for b.Loop() {
				p.Write(one)
			}
		})
	}
}

// TestWriteAllocatesNothing holds BenchmarkWrite to what it says.
func TestWriteAllocatesNothing(t *testing.T) {
	_, c := add(t, RingConfig{}, false)
	p := attach(t, c, newSink(0))
	one := []byte("x")
	if n := testing.AllocsPerRun(100, func() { p.Write(one) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
