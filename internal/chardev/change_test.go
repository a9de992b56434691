package chardev

import (
	"context"
	"errors"
	"net"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"govmd/internal/qmp"
	"govmd/internal/sock"
	"govmd/internal/yank"
)

// result is how AddFor or ChangeFor ended.
type result struct {
	c   *Chardev
	err error
}

func changed(r *Registry, cfg Config) result {
	done := make(chan result, 1)
	r.ChangeFor(nil, cfg, func(c *Chardev, err error) { done <- result{c, err} })
	return <-done
}

// A front end goes on while its back end changes: it is told what is new, and
// nothing that it wrote is lost.
func TestChange(t *testing.T) {
	dir := t.TempDir()
	first, second := filepath.Join(dir, "1"), filepath.Join(dir, "2")
	r, c := add(t, SocketConfig{Addr: sock.NewUnix(first), Server: true}, false)
	s := newSink(100)
	p := attach(t, c, s)
	conn := dialUnix(t, first)
	s.waitEvents(Opened)
	p.Write([]byte("before"))
	res := changed(r, Config{ID: "c0", Backend: SocketConfig{Addr: sock.NewUnix(second), Server: true}})
	if res.err != nil || r.Get("c0") != res.c || res.c == c {
		t.Fatalf("%+v", res)
	}
	expect(t, conn, "before")
	s.waitEvents(Opened, Closed)
	if _, err := conn.Read(make([]byte, 1)); err == nil {
		t.Error("the old connection goes on")
	}
	if _, err := net.Dial("unix", first); err == nil {
		t.Error("the old socket is still there")
	}
	conn = dialUnix(t, second)
	s.waitEvents(Opened, Closed, Opened)
	p.Write([]byte("after"))
	expect(t, conn, "after")
	if _, err := conn.Write([]byte("in")); err != nil {
		t.Fatal(err)
	}
	s.waitText("in")
	// To a terminal that nobody has open, and on to what is always open.
	if res = changed(r, Config{ID: "c0", Backend: PTYConfig{}}); res.err != nil || res.c.PTY() == "" {
		t.Fatalf("%+v", res)
	}
	s.waitEvents(Opened, Closed, Opened, Closed)
	if res = changed(r, Config{ID: "c0", Backend: NullConfig{}}); res.err != nil {
		t.Fatal(res.err)
	}
	s.waitEvents(Opened, Closed, Opened, Closed, Opened)
	// What cannot be opened changes nothing.
	if bad := changed(r, Config{ID: "c0", Backend: FileConfig{Out: dir + "/none/x"}}); bad.err == nil || r.Get("c0") != res.c {
		t.Errorf("%+v", bad)
	}
	p.Detach()
	if err := r.Remove("c0"); err != nil {
		t.Error(err)
	}
}

func dialUnix(t *testing.T, path string) net.Conn {
	t.Helper()
	conn, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

func TestChangeRefused(t *testing.T) {
	r, _ := add(t, NullConfig{}, true)
	for id, want := range map[string]string{
		"nope":    "Chardev 'nope' does not exist",
		"c0":      "Mux device hotswap not supported yet",
		"c0-base": "",
	} {
		res := changed(r, Config{ID: id, Backend: NullConfig{}})
		if (res.err == nil) != (want == "") || res.err != nil && res.err.Error() != want {
			t.Errorf("%s: %v", id, res.err)
		}
	}
	c, err := r.Add(t.Context(), Config{ID: "mon", Backend: NullConfig{}})
	if err != nil {
		t.Fatal(err)
	}
	attach(t, c, &server{newSink(0), make(chan error, 4)})
	if res := changed(r, Config{ID: "mon", Backend: NullConfig{}}); res.err == nil || res.err.Error() != "Chardev user does not support chardev hotswap" {
		t.Error(res.err)
	}
}

// The device that a multiplexer shares changes beneath its front ends.
func TestChangeUnderMux(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	r, c := add(t, NullConfig{}, true)
	a, b := newSink(100), newSink(100)
	p := attach(t, c, a)
	attach(t, c, b)
	if res := changed(r, Config{ID: "c0-base", Backend: SocketConfig{Addr: sock.NewUnix(path), Server: true}}); res.err != nil {
		t.Fatal(res.err)
	}
	conn := dialUnix(t, path)
	if _, err := conn.Write([]byte("x\x01cy")); err != nil {
		t.Fatal(err)
	}
	a.waitText("x")
	b.waitText("y")
	p.Write([]byte("out"))
	expect(t, conn, "out")
}

// Many changes while a guest writes: each byte goes somewhere, once.
func TestChangeWhileWriting(t *testing.T) {
	r, c := add(t, RingConfig{Size: 1 << 20}, false)
	p := attach(t, c, newSink(0))
	stop, total := make(chan struct{}), make(chan int)
	go func() {
		n := 0
		for {
			select {
			case <-stop:
				total <- n
				return
			default:
				n += p.Write([]byte("x"))
			}
		}
	}()
	rings := []*Chardev{c}
	for range 20 {
		res := changed(r, Config{ID: "c0", Backend: RingConfig{Size: 1 << 20}})
		if res.err != nil {
			t.Fatal(res.err)
		}
		rings = append(rings, res.c)
	}
	close(stop)
	n, kept := <-total, 0
	for _, c := range rings {
		kept += len(c.backend.(*ringBackend).read(1 << 21))
	}
	if n < 1<<20 && kept != n {
		t.Errorf("%d bytes written, %d kept", n, kept)
	}
}

// A client that hangs up is noticed at once although the guest takes no input, the
// next one is served, and what the first has sent still arrives before its.
func TestHangupWhileStalled(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	for name, cfg := range map[string]SocketConfig{
		"unix":   {Addr: sock.NewUnix(path), Server: true},
		"tcp":    {Addr: sock.NewInet("127.0.0.1", "0"), Server: true},
		"telnet": {Addr: sock.NewInet("127.0.0.1", "0"), Server: true, Telnet: true},
	} {
		t.Run(name, func(t *testing.T) {
			_, c := add(t, cfg, false)
			s := newSink(2)
			p := attach(t, c, s)
			dial := func() net.Conn {
				if name == "unix" {
					return dialUnix(t, path)
				}
				return dialDevice(t, c)
			}
			for i := range 3 {
				conn := dial()
				if name == "telnet" {
					expect(t, conn, string(telnetHello)) // else the peer's end is a reset
				}
				if _, err := conn.Write([]byte("client" + strconv.Itoa(i))); err != nil {
					t.Fatal(err)
				}
				s.waitFor(func() bool { return len(s.events) == 2*i+1 })
				_ = conn.Close()
				s.waitFor(func() bool { return len(s.events) == 2*i+2 })
			}
			s.mu.Lock()
			s.credit = 100
			s.mu.Unlock()
			p.AcceptInput()
			s.waitText("client0client1client2")
		})
	}
}

// The same before there is any front end.
func TestHangupBeforeFrontend(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	_, c := add(t, SocketConfig{Addr: sock.NewUnix(path), Server: true}, false)
	conn := dialUnix(t, path)
	if _, err := conn.Write([]byte("early ")); err != nil {
		t.Fatal(err)
	}
	_ = conn.Close()
	conn = dialUnix(t, path)
	if _, err := conn.Write([]byte("bird")); err != nil {
		t.Fatal(err)
	}
	s := newSink(100)
	attach(t, c, s)
	s.waitText("early bird")
}

// Yank ends a connection whose guest takes nothing, and an attempt to connect.
func TestYank(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	r := newRegistry(t)
	r.Yanks = &yank.Registry{}
	c, err := r.Add(t.Context(), Config{ID: "c0", Backend: SocketConfig{Addr: sock.NewUnix(path), Server: true}})
	if err != nil {
		t.Fatal(err)
	}
	s := newSink(0)
	attach(t, c, s)
	dialUnix(t, path)
	s.waitEvents(Opened)
	if err := r.Yanks.Yank(yank.Chardev("c0")); err != nil || len(r.Yanks.Instances()) != 1 {
		t.Errorf("a socket that cannot be yanked: %v", err)
	}
	s.waitEvents(Opened, Closed)
	if _, err := r.Add(t.Context(), Config{ID: "c1", Backend: NullConfig{}}); err != nil {
		t.Fatal(err)
	}
	if r.Yanks.Yank(yank.Chardev("c1")) == nil || len(r.Yanks.Instances()) != 1 {
		t.Error("a null device was yanked")
	}
}

// passed is a session with named descriptors.
type passed struct{ id uint64 }

func (p passed) SessionID() uint64   { return p.id }
func (p passed) TakeFD() (int, bool) { return -1, false }

// pair returns a descriptor of a connection and its other end.
func pair(t *testing.T) (int, int) {
	t.Helper()
	p, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	return p[0], p[1]
}

// A device can be a connection that a client has handed over.
func TestPassedConnection(t *testing.T) {
	r := newRegistry(t)
	r.FDs.SessionBegins(7)
	ours, theirs := pair(t)
	defer unix.Close(theirs)
	if err := r.FDs.Put(7, "sock", ours); err != nil {
		t.Fatal(err)
	}
	ctx := &qmp.Context{Context: t.Context(), Session: passed{7}}
	cfg := Config{ID: "c", Backend: SocketConfig{Addr: sock.NewFD("sock")}}
	done := make(chan result, 1)
	r.AddFor(ctx, cfg, func(c *Chardev, err error) { done <- result{c, err} })
	res := <-done
	if res.err != nil {
		t.Fatal(res.err)
	}
	s := newSink(100)
	attach(t, res.c, s)
	if _, err := unix.Write(theirs, []byte("hello")); err != nil {
		t.Fatal(err)
	}
	s.waitText("hello")
	cfg.ID = "d" // it has been taken
	r.AddFor(ctx, cfg, func(c *Chardev, err error) { done <- result{c, err} })
	if res = <-done; res.err == nil || res.err.Error() != "File descriptor named 'sock' has not been found" {
		t.Error(res.err)
	}
}

// Waiting for a client does not outlast the registry, nor hold its ID up.
func TestAddForIsGivenUp(t *testing.T) {
	r := newRegistry(t)
	path := filepath.Join(t.TempDir(), "s")
	done := make(chan result, 1)
	r.AddFor(nil, Config{ID: "c", Backend: SocketConfig{Addr: sock.NewUnix(path), Server: true, Wait: true}},
		func(c *Chardev, err error) { done <- result{c, err} })
	if _, err := r.Add(t.Context(), Config{ID: "c", Backend: NullConfig{}}); err == nil || err.Error() != "Chardev with id 'c' already exists" {
		t.Error(err)
	}
	r.Close()
	if res := <-done; !errors.Is(res.err, context.Canceled) {
		t.Error(res.err)
	}
	if _, err := r.Add(t.Context(), Config{ID: "e", Backend: NullConfig{}}); err == nil {
		t.Error("a registry that is closed takes devices")
	}
}

type noAuthz struct{}

func (noAuthz) Allows(string) (bool, error) { return false, nil }

// Objects are in use while the device is there.
func TestObjectsInUse(t *testing.T) {
	r := newRegistry(t)
	used := map[string]int{}
	r.TLS = func(id, by string) (sock.TLSCreds, func(), error) {
		if id != "creds" {
			return nil, nil, errors.New("no " + id)
		}
		used[by]++
		return nil, func() { used[by]-- }, nil
	}
	r.Authz = func(id, by string) (sock.Authz, func(), error) {
		if id != "authz" {
			return nil, nil, errors.New("no " + id)
		}
		used[by]++
		return noAuthz{}, func() { used[by]-- }, nil
	}
	addr := sock.NewUnix(filepath.Join(t.TempDir(), "s"))
	for id, c := range map[string]SocketConfig{
		"a": {Addr: addr, Server: true, Creds: "creds", AuthzID: "nope"},
		"b": {Addr: addr, Server: true, Creds: "nope"},
		"c": {Addr: addr, Creds: "creds"}, // nobody listens
	} {
		if _, err := r.Add(t.Context(), Config{ID: id, Backend: c}); err == nil || used["chardev '"+id+"'"] != 0 {
			t.Errorf("%s: %v, %v", id, err, used)
		}
	}
	if _, err := r.Add(t.Context(), Config{ID: "d", Backend: SocketConfig{Addr: addr, Server: true, Creds: "creds", AuthzID: "authz"}}); err != nil || used["chardev 'd'"] != 2 {
		t.Errorf("%v, %v", err, used)
	}
	if err := r.Remove("d"); err != nil || used["chardev 'd'"] != 0 {
		t.Errorf("%v, %v", err, used)
	}
}

// Attempts to connect are made again, said once, and end with the device.
func TestReconnect(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	r := newRegistry(t)
	said := make(chan string, 10)
	r.Warn = func(text string) { said <- text }
	c, err := r.Add(t.Context(), Config{ID: "c", Backend: SocketConfig{Addr: sock.NewUnix(path), Reconnect: 1}})
	if err != nil {
		t.Fatal(err)
	}
	if text := <-said; !strings.HasPrefix(text, "Unable to connect character device c: Failed to connect to '"+path) {
		t.Error(text)
	}
	s := newSink(100)
	attach(t, c, s)
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	conn, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	s.waitEvents(Opened)
	_ = conn.Close()
	if conn, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	_ = conn.Close()
	s.waitEvents(Opened, Closed, Opened)
}
