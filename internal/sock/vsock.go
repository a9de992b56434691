package sock

import (
	"context"
	"fmt"
	"net"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

func (v *Vsock) numbers() (cid, port uint32, err error) {
	c, err := strconv.ParseUint(v.CID, 10, 32)
	if err != nil {
		return 0, 0, fmt.Errorf("Failed to parse cid '%s'", v.CID)
	}
	p, err := strconv.ParseUint(v.Port, 10, 32)
	if err != nil {
		return 0, 0, fmt.Errorf("Failed to parse port '%s'", v.Port)
	}
	return uint32(c), uint32(p), nil
}

// vsockAddr is a net.Addr.
type vsockAddr struct{ cid, port uint32 }

func (vsockAddr) Network() string  { return "vsock" }
func (a vsockAddr) String() string { return fmt.Sprintf("%d:%d", a.cid, a.port) }

// vsockConn is a connection, which package net has no type for.
type vsockConn struct {
	*os.File
	local, remote vsockAddr
}

// LocalAddr implements net.Conn.
func (c *vsockConn) LocalAddr() net.Addr { return c.local }

// RemoteAddr implements net.Conn.
func (c *vsockConn) RemoteAddr() net.Addr { return c.remote }

func vsockSocket() (int, error) {
	fd, err := unix.Socket(unix.AF_VSOCK, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return -1, fmt.Errorf("Failed to create socket family vsock: %w", SystemText(err))
	}
	return fd, nil
}

func newVsockConn(fd int, remote vsockAddr) *vsockConn {
	c := &vsockConn{File: os.NewFile(uintptr(fd), "vsock"), remote: remote}
	if sa, err := unix.Getsockname(fd); err == nil {
		if v, ok := sa.(*unix.SockaddrVM); ok {
			c.local = vsockAddr{v.CID, v.Port}
		}
	}
	return c
}

func dialVsock(ctx context.Context, v *Vsock) (net.Conn, error) {
	cid, port, err := v.numbers()
	if err != nil {
		return nil, err
	}
	fail := func(err error) error {
		return fmt.Errorf("Failed to connect to '%s:%s': %w", v.CID, v.Port, reason(ctx, err))
	}
	fd, err := vsockSocket()
	if err != nil {
		return nil, err
	}
	err = unix.Connect(fd, &unix.SockaddrVM{CID: cid, Port: port})
	if err != nil && err != unix.EINPROGRESS {
		_ = unix.Close(fd)
		return nil, fail(err)
	}
	c := newVsockConn(fd, vsockAddr{cid, port})
	if err == nil {
		return c, nil
	}
	// The socket is writable once the attempt has ended, one way or the other.
	stop := context.AfterFunc(ctx, func() { _ = c.Close() })
	defer stop()
	raw, err := c.SyscallConn()
	if err == nil {
		first := true
		werr := raw.Write(func(fd uintptr) bool {
			if first {
				first = false
				return false
			}
			var errno int
			if errno, err = unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_ERROR); err == nil && errno != 0 {
				err = unix.Errno(errno)
			}
			return true
		})
		if err == nil {
			err = werr
		}
	}
	if err != nil {
		_ = c.Close()
		return nil, fail(err)
	}
	return c, nil
}

// vsockListener is a net.Listener.
type vsockListener struct {
	file *os.File
	addr vsockAddr
}

func listenVsock(v *Vsock) (*Listener, error) {
	cid, port, err := v.numbers()
	if err != nil {
		return nil, err
	}
	fd, err := vsockSocket()
	if err != nil {
		return nil, err
	}
	if err = unix.Bind(fd, &unix.SockaddrVM{CID: cid, Port: port}); err != nil {
		err = fmt.Errorf("Failed to bind socket: %w", SystemText(err))
	} else if err = unix.Listen(fd, backlog); err != nil {
		err = fmt.Errorf("Failed to listen on socket: %w", SystemText(err))
	}
	if err != nil {
		_ = unix.Close(fd)
		return nil, err
	}
	return &Listener{Listener: &vsockListener{os.NewFile(uintptr(fd), "vsock"), vsockAddr{cid, port}}}, nil
}

// Accept implements net.Listener.
func (l *vsockListener) Accept() (net.Conn, error) {
	raw, err := l.file.SyscallConn()
	if err != nil {
		return nil, err
	}
	var conn *vsockConn
	if rerr := raw.Read(func(fd uintptr) bool {
		var n int
		var sa unix.Sockaddr
		if n, sa, err = unix.Accept4(int(fd), unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK); err != nil {
			return err != unix.EAGAIN && err != unix.EINTR
		}
		var remote vsockAddr
		if v, ok := sa.(*unix.SockaddrVM); ok {
			remote = vsockAddr{v.CID, v.Port}
		}
		conn = newVsockConn(n, remote)
		return true
	}); rerr != nil {
		return nil, net.ErrClosed
	}
	if err != nil {
		return nil, err
	}
	return conn, nil
}

// Close implements net.Listener.
func (l *vsockListener) Close() error { return l.file.Close() }

// Addr implements net.Listener.
func (l *vsockListener) Addr() net.Addr { return l.addr }
