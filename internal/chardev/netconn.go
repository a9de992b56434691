package chardev

import (
	"crypto/tls"
	"net"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"govmd/internal/sock"
)

// netConn is a socket as a Conn.
type netConn struct {
	net.Conn
	reader *sock.RightsReader
	raw    syscall.Conn // nil where there is none
	half   bool         // that the peer has ended its output means that it has gone

	mu     sync.Mutex // guards what follows
	wake   int        // an eventfd that ends waitHup, or -1
	closed bool
}

func newNetConn(conn net.Conn) *netConn {
	n := &netConn{Conn: conn, reader: sock.NewRightsReader(conn), wake: -1}
	if t, ok := conn.(*tls.Conn); ok {
		conn = t.NetConn()
	}
	n.raw, _ = conn.(syscall.Conn)
	// A Unix socket tells its end from the end of its output; others do not.
	_, isUnix := conn.(*net.UnixConn)
	n.half = !isUnix
	return n
}

// ReadMsg implements Conn.
func (n *netConn) ReadMsg(p []byte) (int, []int, error) { return n.reader.ReadMsg(p) }

// Close implements Conn.
func (n *netConn) Close() error {
	n.mu.Lock()
	n.closed = true
	if n.wake >= 0 {
		one := [8]byte{1}
		_, _ = unix.Write(n.wake, one[:])
	}
	n.mu.Unlock()
	return n.Conn.Close()
}

// waitHup implements hangup.
func (n *netConn) waitHup() bool {
	if n.raw == nil || !n.openWake() {
		return false
	}
	defer n.closeWake()
	rc, err := n.raw.SyscallConn()
	if err != nil {
		return false
	}
	var events int16 // a hang-up is reported without being asked for
	if n.half {
		events = unix.POLLRDHUP
	}
	gone := false
	err = rc.Control(func(fd uintptr) { gone = pollOrWake(int(fd), events, n.wake) == nil })
	return gone && err == nil
}

func (n *netConn) openWake() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed || n.wake >= 0 {
		return false
	}
	wake, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		return false
	}
	n.wake = wake
	return true
}

func (n *netConn) closeWake() {
	n.mu.Lock()
	defer n.mu.Unlock()
	_ = unix.Close(n.wake)
	n.wake = -1
}
