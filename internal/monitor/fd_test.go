package monitor

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func pipe() (a, b net.Conn) { return net.Pipe() }

// unixConn is a Conn that passes descriptors.
type unixConn struct{ *net.UnixConn }

func (c unixConn) ReadMsg(p []byte) (int, []int, error) {
	var oob [256]byte
	n, oobn, _, _, err := c.ReadMsgUnix(p, oob[:])
	var fds []int
	if msgs, e := unix.ParseSocketControlMessage(oob[:oobn]); e == nil {
		for i := range msgs {
			got, _ := unix.ParseUnixRights(&msgs[i])
			fds = append(fds, got...)
		}
	}
	return n, fds, err
}

// socketPair returns two ends of a Unix socket.
func socketPair(t testing.TB) (a, b *net.UnixConn) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	var ends [2]*net.UnixConn
	for i, fd := range fds {
		f := os.NewFile(uintptr(fd), "socket")
		c, err := net.FileConn(f)
		if err != nil {
			t.Fatal(err)
		}
		_ = f.Close()
		ends[i] = c.(*net.UnixConn)
	}
	return ends[0], ends[1]
}

// fdClient passes descriptors of pipes and reads responses.
type fdClient struct {
	t    *testing.T
	conn *net.UnixConn
	r    *bufio.Reader
}

func (c *fdClient) send(text string, fds ...int) {
	c.t.Helper()
	var oob []byte
	if len(fds) > 0 {
		oob = unix.UnixRights(fds...)
	}
	if _, _, err := c.conn.WriteMsgUnix([]byte(text), oob, nil); err != nil {
		c.t.Fatal(err)
	}
}

func (c *fdClient) line() string {
	c.t.Helper()
	l, err := c.r.ReadString('\n')
	if err != nil {
		c.t.Fatal(err)
	}
	return strings.TrimSuffix(l, "\r\n")
}

// fd returns the descriptor number in the next response, -1 for an error.
func (c *fdClient) fd() int {
	c.t.Helper()
	var n int
	l := c.line()
	if _, err := fmt.Sscanf(l, `{"return": {"fd": %d}`, &n); err != nil {
		if !strings.Contains(l, "No file descriptor supplied via SCM_RIGHTS") {
			c.t.Fatal(l)
		}
		return -1
	}
	return n
}

func TestDescriptors(t *testing.T) {
	v := newMachine()
	defer v.close()
	a, b := socketPair(t)
	done := make(chan struct{})
	go func() {
		defer close(done)
		v.m.ServeConn(unixConn{a}, Options{})
	}()
	c := &fdClient{t, b, bufio.NewReader(b)}
	c.line()
	c.send(`{"execute":"qmp_capabilities"}`)
	c.line()

	// Each of files is told apart by its inode.
	var files [6]*os.File
	for i := range files {
		f, err := os.CreateTemp(t.TempDir(), "")
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		files[i] = f
	}
	num := func(i int) int { return int(files[i].Fd()) }
	check := func(what string, got, want int) {
		t.Helper()
		if want < 0 {
			if got >= 0 {
				t.Errorf("%s: took a descriptor that was not passed", what)
			}
			return
		}
		var g, w unix.Stat_t
		if err := unix.Fstat(got, &g); err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		if err := unix.Fstat(num(want), &w); err != nil {
			t.Fatal(err)
		}
		if g.Ino != w.Ino {
			t.Errorf("%s: took the wrong descriptor", what)
		}
		_ = unix.Close(got)
	}
	const take = `{"execute":"take-fd"}`

	c.send(take)
	check("none", c.fd(), -1)
	c.send(take, num(0))
	check("with the command", c.fd(), 0)
	c.send(" ", num(1))
	c.send(take)
	check("before the command", c.fd(), 1)
	c.send(take+take, num(2), num(3))
	check("first of two", c.fd(), 2)
	check("second of two", c.fd(), 3)
	c.send(take, num(4))
	c.send(take, num(5))
	check("pipelined", c.fd(), 4)
	check("pipelined", c.fd(), 5)

	// One that a failed command left goes to a later command without its own...
	c.send(`{"execute":"take-fd","arguments":{"x":1}}`, num(0))
	c.line()
	c.send(take)
	check("left over", c.fd(), 0)
	// ...but not to one that brings its own.
	c.send(`{"execute":"take-fd","arguments":{"x":1}}`, num(0))
	c.line()
	c.send(take+take, num(1))
	check("own before left over", c.fd(), 1)
	check("left over was closed", c.fd(), -1)

	// What nobody takes is closed at the end.
	before := openFDs(t)
	c.send(" ", num(0), num(1))
	c.send(`{"execute":"nope"}`, num(2), num(3))
	c.line()
	for range maxFDs {
		c.send(" ", num(4), num(5))
	}
	c.send(`{"execute":"nope"}`)
	c.line()
	if n := openFDs(t); n > before+maxFDs {
		t.Errorf("%d descriptors are open, %d before", n, before)
	}
	_ = b.Close()
	<-done
	if n := openFDs(t); n != before-2 {
		t.Errorf("%d descriptors are open, %d before two were closed", n, before)
	}
}

func openFDs(t *testing.T) int {
	list, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(list)
}
