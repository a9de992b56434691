package sock

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Names looks up what an address refers to by name. A nil *Names knows none.
type Names struct {
	// FD takes the descriptor that a client or parent has handed over: the caller
	// owns it then. CommandLineFD serves addresses of the command line.
	FD func(name string) (int, error)
}

func (n *Names) fd(name string) (int, error) {
	if n == nil || n.FD == nil {
		return -1, fmt.Errorf("File descriptor named '%s' has not been found", name)
	}
	fd, err := n.FD(name)
	if err != nil {
		return -1, err
	}
	if _, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TYPE); err != nil {
		_ = unix.Close(fd)
		return -1, fmt.Errorf("File descriptor '%s' is not a socket", name)
	}
	unix.CloseOnExec(fd)
	return fd, nil
}

// CommandLineFD takes the descriptor of that number.
func CommandLineFD(name string) (int, error) {
	n, err := strconv.ParseUint(name, 10, 31)
	if err != nil {
		return -1, fmt.Errorf("Unable to parse FD number %s", name)
	}
	return int(n), nil
}

// Listener is a listening socket. Closing it removes the name of a Unix socket
// that it has made.
type Listener struct {
	net.Listener
	keepAlive bool
	remove    func() // of the name; nil where the listener does that
}

// Close ends listening.
func (l *Listener) Close() error {
	if l.remove != nil {
		l.remove()
	}
	return l.Listener.Close()
}

// Accept waits for a connection.
func (l *Listener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	if traceAccept.On() {
		traceAccept.Emit(l.Addr().String())
	}
	keepAlive(conn, l.keepAlive)
	return conn, nil
}

func keepAlive(conn net.Conn, on bool) {
	if t, ok := conn.(*net.TCPConn); ok && on {
		_ = t.SetKeepAlive(true)
	}
}

// Listen listens on a. A Unix socket that nobody serves any more is replaced; one
// with a living server is not. An empty path is replaced by one that is free.
func Listen(ctx context.Context, a Address, names *Names) (*Listener, error) {
	l, err := listen(ctx, a, names)
	if traceListen.On() {
		traceListen.Emit(a.String(), err)
	}
	return l, err
}

func listen(ctx context.Context, a Address, names *Names) (*Listener, error) {
	if err := a.Check(); err != nil {
		return nil, err
	}
	switch b := a.Branch.(type) {
	case *Unix:
		return listenUnix(ctx, b)
	case *Inet:
		return listenInet(ctx, b)
	case *Vsock:
		return listenVsock(b)
	case *FD:
		return listenFD(b, names)
	}
	return nil, errors.ErrUnsupported
}

// probeTime is how long a Unix socket's server has to show that it lives.
const probeTime = time.Second

func listenUnix(ctx context.Context, u *Unix) (*Listener, error) {
	if u.Path == "" && !on(u.Abstract) {
		path, err := freePath()
		if err != nil {
			return nil, err
		}
		u.Path = path
	}
	name := u.unixName()
	if !on(u.Abstract) {
		if fi, err := os.Lstat(name); err == nil && fi.Mode()&os.ModeSocket != 0 {
			probe, err := net.DialTimeout("unix", name, probeTime)
			switch {
			case err == nil:
				_ = probe.Close()
				return nil, fmt.Errorf("Failed to bind socket to %s: %w", u.Path, sysError{unix.EADDRINUSE})
			case errors.Is(err, unix.ECONNREFUSED):
				_ = os.Remove(name)
			}
		}
	}
	l, err := new(net.ListenConfig).Listen(ctx, "unix", name)
	if err != nil {
		return nil, fmt.Errorf("Failed to bind socket to %s: %w", u.Path, reason(ctx, err))
	}
	out := &Listener{Listener: l}
	if ul, ok := l.(*net.UnixListener); ok && !on(u.Abstract) && !filepath.IsAbs(name) {
		// The folder may be another when it is closed: a daemon leaves it.
		if abs, err := filepath.Abs(name); err == nil {
			ul.SetUnlinkOnClose(false)
			out.remove = sync.OnceFunc(func() { _ = os.Remove(abs) })
		}
	}
	return out, nil
}

func freePath() (string, error) {
	f, err := os.CreateTemp("", "govmd-socket-")
	if err != nil {
		return "", err
	}
	_ = f.Close()
	return filepath.Clean(f.Name()), os.Remove(f.Name())
}

func listenInet(ctx context.Context, i *Inet) (*Listener, error) {
	hosts, port, err := i.resolve(ctx, "tcp", true)
	if err != nil {
		return nil, err
	}
	fam, _ := i.family()
	last := port
	if i.To != nil {
		last = max(port, int(*i.To))
	}
	lc := net.ListenConfig{KeepAlive: -1}
	lc.SetMultipathTCP(on(i.MPTCP))
	for ; port <= last; port++ {
		for _, h := range hosts {
			l, e := lc.Listen(ctx, "tcp"+fam, net.JoinHostPort(h, strconv.Itoa(port)))
			if e == nil {
				return &Listener{Listener: l, keepAlive: on(i.KeepAlive)}, nil
			}
			if err = reason(ctx, e); ctx.Err() != nil {
				return nil, err
			}
			if !errors.Is(e, unix.EADDRINUSE) {
				err = fmt.Errorf("Failed to bind socket: %w", err)
				break
			}
			err = fmt.Errorf("Failed to find an available port: %w", err)
		}
	}
	return nil, err
}

func listenFD(f *FD, names *Names) (*Listener, error) {
	fd, err := names.fd(f.Name)
	if err != nil {
		return nil, err
	}
	if on, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ACCEPTCONN); err == nil && on == 0 {
		if err := unix.Listen(fd, backlog); err != nil {
			_ = unix.Close(fd)
			return nil, fmt.Errorf("Failed to listen on fd socket: %w", SystemText(err))
		}
	}
	file := os.NewFile(uintptr(fd), "socket")
	l, err := net.FileListener(file)
	_ = file.Close()
	if err != nil {
		return nil, fmt.Errorf("File descriptor '%s' cannot be listened on: %w", f.Name, SystemText(err))
	}
	return &Listener{Listener: l}, nil
}

// backlog is how many clients wait to be accepted.
const backlog = 128

// Once returns Names that know one descriptor, under any name, and hand it out
// once. done closes it if that has not happened.
func Once(fd int) (names *Names, done func()) {
	var mu sync.Mutex
	taken := false
	take := func() bool {
		mu.Lock()
		defer mu.Unlock()
		first := !taken
		taken = true
		return first
	}
	names = &Names{FD: func(name string) (int, error) {
		if !take() {
			return -1, fmt.Errorf("File descriptor named '%s' has not been found", name)
		}
		return fd, nil
	}}
	return names, func() {
		if take() {
			_ = unix.Close(fd)
		}
	}
}
