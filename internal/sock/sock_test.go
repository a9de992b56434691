package sock

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"govmd/internal/crypto/cryptotest"
	"govmd/internal/option"
	"govmd/internal/qmp"
	"govmd/internal/qmp/qjson"
)

func ptr[T any](v T) *T { return &v }

// echo serves one connection of l.
func echo(t *testing.T, l net.Listener) {
	t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		if c, err := l.Accept(); err == nil {
			_, _ = io.Copy(c, c)
			_ = c.Close()
		}
	}()
	t.Cleanup(func() {
		_ = l.Close()
		<-done
	})
}

func talk(t *testing.T, c net.Conn) {
	t.Helper()
	defer c.Close()
	var got [5]byte
	if _, err := c.Write([]byte("hello")); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(c, got[:]); err != nil || string(got[:]) != "hello" {
		t.Errorf("read %q, %v", got, err)
	}
}

func TestUnix(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	for _, u := range []Unix{
		{Path: filepath.Join(dir, "s")},
		{Path: "@s"},
		{Path: ""},
		{Path: filepath.Join(dir, "abstract"), Abstract: ptr(true)},
		{Path: filepath.Join(dir, "padded"), Abstract: ptr(true), Tight: ptr(false)},
	} {
		a := Address{TypeUnix, &u}
		l, err := Listen(t.Context(), a, nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := Listen(t.Context(), a, nil); !errors.Is(err, unix.EADDRINUSE) {
			t.Errorf("%+v: a second listener: %v", u, err)
		}
		if _, err := os.Lstat(u.Path); on(u.Abstract) != errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%+v: Lstat: %v", u, err)
		}
		// The probe of the second listener is a client, too.
		if !on(u.Abstract) {
			c, err := l.Accept()
			if err != nil {
				t.Fatal(err)
			}
			_ = c.Close()
		}
		echo(t, l)
		c, err := Dial(t.Context(), a, nil)
		if err != nil {
			t.Fatal(err)
		}
		talk(t, c)
		_ = l.Close()
		if _, err := os.Lstat(u.Path); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%+v: left behind: %v", u, err)
		}
	}
}

// A socket whose server has died is replaced.
func TestUnixStale(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	_ = l.Close()
	l2, err := Listen(t.Context(), NewUnix(path), nil)
	if err != nil {
		t.Fatal(err)
	}
	_ = l2.Close()
}

func TestInet(t *testing.T) {
	l, err := Listen(t.Context(), Address{TypeInet, &Inet{Host: "localhost", Port: "0", IPv4: ptr(true), KeepAlive: ptr(true)}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	echo(t, l)
	host, port := HostPort(l.Addr())
	if host != "127.0.0.1" {
		t.Errorf("host %s", host)
	}
	_, err = Listen(t.Context(), NewInet(host, port), nil)
	if err == nil || err.Error() != "Failed to find an available port: Address already in use" {
		t.Errorf("a port in use: %v", err)
	}
	n, _ := strconv.Atoi(port)
	if n < 65000 {
		l2, err := Listen(t.Context(), Address{TypeInet, &Inet{Host: host, Port: port, To: ptr(uint16(n + 100))}}, nil)
		if err != nil {
			t.Errorf("to=: %v", err)
		} else {
			_ = l2.Close()
		}
	}
	c, err := Dial(t.Context(), NewInet(host, port), nil)
	if err != nil {
		t.Fatal(err)
	}
	talk(t, c)
}

// freePort is a port that nobody listens on.
func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_, port, _ := net.SplitHostPort(l.Addr().String())
	_ = l.Close()
	return port
}

func TestErrors(t *testing.T) {
	dir, port := t.TempDir(), freePort(t)
	for _, c := range []struct {
		a          Address
		dial, list string // the errors, "" for not tried
	}{
		{NewUnix(dir + "/none"), "Failed to connect to '" + dir + "/none': No such file or directory", ""},
		{NewUnix(dir + "/no/ne"), "", "Failed to bind socket to " + dir + "/no/ne: No such file or directory"},
		{NewUnix(strings.Repeat("x", 108)), "UNIX socket path '" + strings.Repeat("x", 108) + "' is too long", "UNIX socket path '" + strings.Repeat("x", 108) + "' is too long"},
		{NewInet("127.0.0.1", port), "Failed to connect to '127.0.0.1:" + port + "': Connection refused", ""},
		{NewInet("127.0.0.1", "xx"), "address resolution failed for 127.0.0.1:xx: Servname not supported for ai_socktype", "address resolution failed for 127.0.0.1:xx: Servname not supported for ai_socktype"},
		{NewInet("", ""), "address resolution failed for :: Name or service not known", "address resolution failed for :: Name or service not known"},
		{NewInet("192.0.2.1", "1"), "", "Failed to bind socket: Cannot assign requested address"},
		{NewInet("127.0.0.1", "70000"), "address resolution failed for 127.0.0.1:70000: port is above 65535", ""},
		{Address{TypeInet, &Inet{Host: "127.0.0.1", Port: "1", IPv6: ptr(true)}}, "address resolution failed for 127.0.0.1:1: Address family for hostname not supported", ""},
		{Address{TypeInet, &Inet{Host: "x", Port: "1", IPv6: ptr(false), IPv4: ptr(false)}}, "Cannot disable IPv4 and IPv6 at same time", "Cannot disable IPv4 and IPv6 at same time"},
		{NewFD("x"), "File descriptor named 'x' has not been found", "File descriptor named 'x' has not been found"},
		{Address{TypeVsock, &Vsock{"x", "1"}}, "Failed to parse cid 'x'", "Failed to parse cid 'x'"},
		{Address{TypeVsock, &Vsock{"1", ""}}, "Failed to parse port ''", ""},
	} {
		if c.dial != "" {
			if conn, err := Dial(t.Context(), c.a, nil); err == nil || err.Error() != c.dial {
				t.Errorf("Dial %v: %v, %v, want %s", c.a, conn, err, c.dial)
			}
		}
		if c.list != "" {
			if l, err := Listen(t.Context(), c.a, nil); err == nil || err.Error() != c.list {
				t.Errorf("Listen %v: %v, %v, want %s", c.a, l, err, c.list)
			}
		}
	}
}

func TestDialIsGivenUp(t *testing.T) {
	enough := errors.New("enough")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(enough)
	if _, err := Dial(ctx, NewInet("192.0.2.1", "9"), nil); !errors.Is(err, enough) {
		t.Error(err)
	}
}

func TestFD(t *testing.T) {
	names := &Names{FD: CommandLineFD}
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	peer := os.NewFile(uintptr(pair[1]), "peer")
	defer peer.Close()
	c, err := Dial(t.Context(), NewFD(strconv.Itoa(pair[0])), names)
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		_, _ = io.Copy(peer, peer)
	}()
	talk(t, c)

	s, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0) // bound, not listening
	if err == nil {
		err = unix.Bind(s, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}})
	}
	if err != nil {
		t.Fatal(err)
	}
	l, err := Listen(t.Context(), NewFD(strconv.Itoa(s)), names)
	if err != nil {
		t.Fatal(err)
	}
	echo(t, l)
	host, port := HostPort(l.Addr())
	if c, err = Dial(t.Context(), NewInet(host, port), nil); err != nil {
		t.Fatal(err)
	}
	talk(t, c)

	null, err := unix.Open("/dev/null", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range [][2]string{
		{strconv.Itoa(null), "File descriptor '" + strconv.Itoa(null) + "' is not a socket"},
		{"x", "Unable to parse FD number x"},
		{"", "Unable to parse FD number "},
	} {
		if _, err := Dial(t.Context(), NewFD(c[0]), names); err == nil || err.Error() != c[1] {
			t.Errorf("%s: %v", c[0], err)
		}
	}
}

// Descriptors come through; of a message with too many none does.
func TestRights(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	l, err := Listen(t.Context(), NewUnix(path), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c, err := Dial(t.Context(), NewUnix(path), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	s, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	r := NewRightsReader(s)
	for _, n := range []int{0, 1, MaxRights, MaxRights + 3} {
		fds := make([]int, n)
		for i := range fds {
			fds[i] = 0
		}
		if _, _, err := c.(*net.UnixConn).WriteMsgUnix([]byte("x"), unix.UnixRights(fds...), nil); err != nil {
			t.Fatal(err)
		}
		got, list, err := r.ReadMsg(make([]byte, 9))
		if want := n * max(0, min(1, MaxRights+1-n)); got != 1 || err != nil || len(list) != want {
			t.Errorf("%d descriptors: %d bytes, %d descriptors, %v", n, got, len(list), err)
		}
		for _, fd := range list {
			_ = unix.Close(fd)
		}
	}
	_ = c.Close()
	if n, _, err := r.ReadMsg(make([]byte, 9)); n != 0 || !errors.Is(err, io.EOF) {
		t.Errorf("at the end: %d, %v", n, err)
	}
}

func TestUDP(t *testing.T) {
	peer, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer peer.Close()
	_, port := HostPort(peer.LocalAddr())
	local := NewInet("127.0.0.1", "")
	c, err := DialUDP(t.Context(), NewInet("127.0.0.1", port), &local)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	if n, from, err := peer.ReadFrom(make([]byte, 9)); n != 1 || err != nil || from.String() != c.LocalAddr().String() {
		t.Errorf("%d bytes from %v, %v", n, from, err)
	}
	for _, a := range []Address{NewUnix("/x"), NewInet("", "")} {
		if _, err := DialUDP(t.Context(), a, nil); err == nil {
			t.Errorf("%v was taken", a)
		}
	}
}

// creds are credentials with one certificate for everything.
type creds struct {
	cert tls.Certificate
	pool *x509.CertPool
}

func newCreds(t *testing.T) *creds {
	t.Helper()
	a := cryptotest.New(t)
	return &creds{a.Certificate("me", func(c *x509.Certificate) { c.DNSNames = []string{"me"} }), a.Pool()}
}

func (c *creds) ServerTLS() (*tls.Config, error) {
	return &tls.Config{Certificates: []tls.Certificate{c.cert}, ClientCAs: c.pool, ClientAuth: tls.RequireAndVerifyClientCert}, nil
}

func (c *creds) ClientTLS(host string) (*tls.Config, error) {
	return &tls.Config{Certificates: []tls.Certificate{c.cert}, RootCAs: c.pool, ServerName: host}, nil
}

type only string

func (o only) Allows(name string) (bool, error) { return name == string(o), nil }

func TestTLS(t *testing.T) {
	cr := newCreds(t)
	for _, c := range []struct {
		host   string
		authz  Authz
		client bool // is content
		server string
	}{
		{"me", nil, true, ""},
		{"me", only("CN=me"), true, ""},
		{"me", only("CN=you"), true, "TLS x509 authz check for CN=me is denied"},
		{"you", nil, false, "TLS handshake failed"},
	} {
		l, err := Listen(t.Context(), NewInet("127.0.0.1", "0"), nil)
		if err != nil {
			t.Fatal(err)
		}
		served := make(chan error)
		go func() {
			conn, err := l.Accept()
			if err != nil {
				served <- err
				return
			}
			s, err := ServeTLS(t.Context(), conn, cr, c.authz)
			if err == nil {
				go func() {
					_, _ = io.Copy(s, s)
				}()
			}
			served <- err
		}()
		host, port := HostPort(l.Addr())
		conn, err := Dial(t.Context(), NewInet(host, port), nil)
		if err != nil {
			t.Fatal(err)
		}
		tc, cerr := DialTLS(t.Context(), conn, cr, c.host)
		serr := <-served
		if (cerr == nil) != c.client || (serr == nil) != (c.server == "") || serr != nil && !strings.Contains(serr.Error(), c.server) {
			t.Errorf("%+v: client %v, server %v", c, cerr, serr)
		}
		if cerr == nil && serr == nil {
			talk(t, tc)
		}
		_ = l.Close()
	}
}

// Both forms of the protocol's addresses come out the same.
func TestDecode(t *testing.T) {
	for _, c := range [][2]string{
		{`{"type": "unix", "path": "/x", "abstract": true}`, `{"type": "unix", "data": {"path": "/x", "abstract": true}}`},
		{`{"type": "inet", "host": "h", "port": "1", "to": 7}`, `{"type": "inet", "data": {"host": "h", "port": "1", "to": 7}}`},
		{`{"type": "fd", "str": "x"}`, `{"type": "fd", "data": {"str": "x"}}`},
		{`{"type": "vsock", "cid": "1", "port": "2"}`, `{"type": "vsock", "data": {"cid": "1", "port": "2"}}`},
	} {
		var a Address
		var l Legacy
		if err := decode(c[0], &a); err != nil {
			t.Error(err)
		}
		if err := decode(c[1], &l); err != nil {
			t.Error(err)
		}
		if got := string(qmp.Append(nil, l.Address())); got != c[0] || got != string(qmp.Append(nil, a)) {
			t.Errorf("%s, want %s", got, c[0])
		}
	}
}

func decode[T any](text string, v *T) error {
	doc, err := qjson.Parse([]byte(text))
	if err != nil {
		return err
	}
	return qmp.Decode(doc.Root(), qmp.JSON, v)
}

func FuzzAddress(f *testing.F) {
	for _, s := range []string{"type=inet,host=::1,port=5,to=9,ipv4=off", "type=unix,path=@x,abstract=on,tight=off", "type=vsock,cid=3,port=9", "type=fd,str=7"} {
		f.Add(s)
	}
	f.Fuzz(func(_ *testing.T, s string) {
		kv, err := option.ParseKeyval(s, "")
		if err != nil {
			return
		}
		var a Address
		if qmp.Decode(kv.Doc.Root(), qmp.Keyval, &a) == nil && a.Check() == nil {
			_ = a.String()
			if u, ok := a.Branch.(*Unix); ok {
				_ = u.unixName()
			}
		}
	})
}
