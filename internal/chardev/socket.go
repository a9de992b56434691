package chardev

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// socketBackend is a stream socket: a server that serves one client at a time,
// or a client.
type socketBackend struct {
	cfg    SocketConfig
	c      *Chardev
	ctx    context.Context
	cancel context.CancelFunc
	done   sync.WaitGroup

	mu       sync.Mutex
	listener net.Listener
	conn     net.Conn
	first    chan struct{} // closed at the first connection, for Wait
}

func (b *socketBackend) network() (network, addr string) {
	if b.cfg.Path != "" {
		return "unix", b.cfg.Path
	}
	network = "tcp"
	switch {
	case b.cfg.IPv4Only:
		network = "tcp4"
	case b.cfg.IPv6Only:
		network = "tcp6"
	}
	return network, net.JoinHostPort(b.cfg.Host, b.cfg.Port)
}

func (b *socketBackend) start(ctx context.Context, c *Chardev) error {
	b.c = c
	b.ctx, b.cancel = context.WithCancel(context.Background())
	b.first = make(chan struct{})
	if b.cfg.Server {
		if err := b.listen(); err != nil {
			return err
		}
		b.run(b.accept)
		return nil
	}
	if b.cfg.Reconnect != 0 { // there is time: nobody waits for the first attempt
		b.run(func() {
			conn, _ := b.dial(b.ctx)
			b.connect(conn)
		})
		return nil
	}
	conn, err := b.dial(ctx)
	if err != nil {
		return err
	}
	b.run(func() { b.connect(conn) })
	return nil
}

// wait implements waiter.
func (b *socketBackend) wait(ctx context.Context) error {
	if !b.cfg.Server || !b.cfg.Wait {
		return nil
	}
	select {
	case <-b.first:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("no client came to %s: %w", b.describe(), context.Cause(ctx))
	}
}

// abandon implements abandoner: the name of a Unix socket goes with its listener.
func (b *socketBackend) abandon() {
	if b.listener != nil {
		_ = b.listener.Close()
	}
}

func (b *socketBackend) run(fn func()) {
	b.done.Add(1)
	go func() {
		defer b.done.Done()
		fn()
	}()
}

// listen opens the listening socket. A Unix socket that nobody listens on any
// more is replaced; one with a living server is not.
func (b *socketBackend) listen() error {
	network, addr := b.network()
	if network == "unix" {
		if fi, err := os.Lstat(addr); err == nil && fi.Mode()&os.ModeSocket != 0 {
			if probe, err := net.DialTimeout("unix", addr, time.Second); err == nil {
				_ = probe.Close()
				return fmt.Errorf("Failed to bind socket to %s: Address already in use", addr)
			} else if errors.Is(err, unix.ECONNREFUSED) {
				_ = os.Remove(addr)
			}
		}
	}
	l, err := net.Listen(network, addr)
	if err != nil {
		return fmt.Errorf("Failed to bind socket to %s: %w", addr, rootCause(err))
	}
	b.listener = l
	return nil
}

func rootCause(err error) error {
	var errno unix.Errno
	if errors.As(err, &errno) {
		return errno
	}
	return err
}

func (b *socketBackend) accept() {
	for {
		conn, err := b.listener.Accept()
		if err != nil {
			if b.ctx.Err() != nil || errors.Is(err, net.ErrClosed) {
				return
			}
			// Out of descriptors, or the like: the client stays in the
			// backlog until there is room.
			select {
			case <-b.ctx.Done():
				return
			case <-time.After(100 * time.Millisecond):
			}
			continue
		}
		select {
		case <-b.first:
		default:
			close(b.first)
		}
		if !b.serve(conn) {
			return
		}
	}
}

func (b *socketBackend) serve(conn net.Conn) bool {
	if t, ok := conn.(*net.TCPConn); ok {
		_ = t.SetNoDelay(b.cfg.NoDelay)
	}
	b.mu.Lock()
	b.conn = conn
	ended := b.ctx.Err() != nil
	b.mu.Unlock()
	if ended {
		_ = conn.Close()
		return false
	}
	return b.c.serve(newNetConn(conn))
}

func (b *socketBackend) dial(ctx context.Context) (net.Conn, error) {
	network, addr := b.network()
	var d net.Dialer
	conn, err := d.DialContext(ctx, network, addr)
	if err != nil {
		return nil, fmt.Errorf("Failed to connect to '%s': %w", addr, rootCause(err))
	}
	return conn, nil
}

func (b *socketBackend) connect(conn net.Conn) {
	for {
		if conn != nil && !b.serve(conn) {
			return
		}
		if b.cfg.Reconnect == 0 {
			return
		}
		select {
		case <-b.ctx.Done():
			return
		case <-time.After(time.Duration(b.cfg.Reconnect) * time.Second):
		}
		conn, _ = b.dial(b.ctx) // a failure is tried again
	}
}

func (b *socketBackend) stop() {
	b.mu.Lock()
	b.cancel()
	if b.conn != nil {
		_ = b.conn.Close()
	}
	b.mu.Unlock()
	if b.listener != nil {
		_ = b.listener.Close() // removes the Unix socket's name too
	}
	b.done.Wait()
}

func (b *socketBackend) describe() string {
	server := ""
	if b.cfg.Server {
		server = ",server=on"
	}
	if b.cfg.Path != "" {
		return "unix:" + b.cfg.Path + server
	}
	host, port := b.cfg.Host, b.cfg.Port
	if b.listener != nil {
		if a, ok := b.listener.Addr().(*net.TCPAddr); ok {
			host, port = a.IP.String(), strconv.Itoa(a.Port)
		}
	}
	return "tcp:" + net.JoinHostPort(host, port) + server
}

// netConn is a socket as a Conn.
type netConn struct {
	net.Conn
	oob []byte // of a Unix socket: room for descriptors
}

// maxFDs is how many descriptors one message may carry.
const maxFDs = 16

func newNetConn(conn net.Conn) *netConn {
	n := &netConn{Conn: conn}
	if _, ok := conn.(*net.UnixConn); ok {
		n.oob = make([]byte, unix.CmsgSpace(maxFDs*4))
	}
	return n
}

// ReadMsg implements Conn. A message with more descriptors than there is room
// for loses them all: which are missing cannot be told.
func (n *netConn) ReadMsg(p []byte) (int, []int, error) {
	u, ok := n.Conn.(*net.UnixConn)
	if !ok {
		got, err := n.Conn.Read(p)
		return got, nil, err
	}
	got, oobn, flags, _, err := u.ReadMsgUnix(p, n.oob)
	got = max(got, 0) // -1 with an error
	if err == nil && got == 0 && len(p) > 0 {
		err = io.EOF
	}
	if oobn == 0 {
		return got, nil, err
	}
	fds := parseRights(n.oob[:oobn])
	if flags&unix.MSG_CTRUNC != 0 {
		for _, fd := range fds {
			_ = unix.Close(fd)
		}
		fds = nil
	}
	return got, fds, err
}

func parseRights(oob []byte) []int {
	msgs, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return nil
	}
	var fds []int
	for i := range msgs {
		if got, err := unix.ParseUnixRights(&msgs[i]); err == nil {
			fds = append(fds, got...)
		}
	}
	for _, fd := range fds {
		unix.CloseOnExec(fd)
	}
	return fds
}
