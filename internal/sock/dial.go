package sock

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// Dial connects to a.
func Dial(ctx context.Context, a Address, names *Names) (net.Conn, error) {
	conn, err := dial(ctx, a, names)
	if traceDial.On() {
		traceDial.Emit(a.String(), err)
	}
	return conn, err
}

func dial(ctx context.Context, a Address, names *Names) (net.Conn, error) {
	if err := a.Check(); err != nil {
		return nil, err
	}
	switch b := a.Branch.(type) {
	case *Unix:
		conn, err := new(net.Dialer).DialContext(ctx, "unix", b.unixName())
		if err != nil {
			return nil, fmt.Errorf("Failed to connect to '%s': %w", b.Path, reason(ctx, err))
		}
		return conn, nil
	case *Inet:
		return dialInet(ctx, b)
	case *Vsock:
		return dialVsock(ctx, b)
	case *FD:
		return dialFD(b, names)
	}
	return nil, errors.ErrUnsupported
}

func dialInet(ctx context.Context, i *Inet) (net.Conn, error) {
	hosts, port, err := i.resolve(ctx, "tcp", false)
	if err != nil {
		return nil, err
	}
	d := net.Dialer{KeepAlive: -1}
	d.SetMultipathTCP(on(i.MPTCP))
	for _, h := range hosts {
		var conn net.Conn
		if conn, err = d.DialContext(ctx, "tcp", net.JoinHostPort(h, strconv.Itoa(port))); err == nil {
			keepAlive(conn, on(i.KeepAlive))
			return conn, nil
		}
	}
	return nil, fmt.Errorf("Failed to connect to '%s:%s': %w", i.Host, i.Port, reason(ctx, err))
}

func dialFD(f *FD, names *Names) (net.Conn, error) {
	fd, err := names.fd(f.Name)
	if err != nil {
		return nil, err
	}
	file := os.NewFile(uintptr(fd), "socket")
	conn, err := net.FileConn(file)
	_ = file.Close()
	if err != nil {
		return nil, fmt.Errorf("File descriptor '%s' is no connection: %w", f.Name, SystemText(err))
	}
	return conn, nil
}

// DialUDP returns a datagram socket that sends to remote and is bound to local,
// or to what the system chooses when it is nil. Both are Inet.
func DialUDP(ctx context.Context, remote Address, local *Address) (*net.UDPConn, error) {
	r, ok := remote.Branch.(*Inet)
	if !ok {
		return nil, errors.New("socket type unsupported for datagram")
	}
	if r.Port == "" {
		return nil, errors.New("remote port not specified")
	}
	to := *r
	if to.Host == "" {
		to.Host = "localhost"
	}
	hosts, port, err := to.resolve(ctx, "udp", false)
	if err != nil {
		return nil, err
	}
	var d net.Dialer
	if local != nil {
		l, ok := local.Branch.(*Inet)
		if !ok {
			return nil, errors.New("socket type unsupported for datagram")
		}
		from := *l
		if from.Port == "" {
			from.Port = "0"
		}
		froms, fromPort, err := from.resolve(ctx, "udp", true)
		if err != nil {
			return nil, err
		}
		d.LocalAddr = &net.UDPAddr{IP: net.ParseIP(froms[0]), Port: fromPort}
	}
	for _, h := range hosts {
		var conn net.Conn
		if conn, err = d.DialContext(ctx, "udp", net.JoinHostPort(h, strconv.Itoa(port))); err == nil {
			return conn.(*net.UDPConn), nil
		}
	}
	return nil, fmt.Errorf("Failed to connect to '%s:%s': %w", to.Host, to.Port, reason(ctx, err))
}

// Shutdown ends both directions of a connection at once: whoever reads from it,
// writes to it or polls it is woken. It has still to be closed.
func Shutdown(conn net.Conn) {
	if s, ok := conn.(syscall.Conn); ok {
		if raw, err := s.SyscallConn(); err == nil {
			_ = raw.Control(func(fd uintptr) { _ = unix.Shutdown(int(fd), unix.SHUT_RDWR) })
		}
	}
}
