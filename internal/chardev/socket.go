package chardev

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"time"

	"govmd/internal/sock"
	"govmd/internal/yank"
)

// handshakeTime bounds how long a client may take for TLS, during which no other
// is served.
const handshakeTime = 10 * time.Second

// warnInterval is the least time between two warnings of what clients can cause.
const warnInterval = 10 * time.Second

// socketBackend is a stream socket: a server that serves one client at a time,
// or a client.
type socketBackend struct {
	cfg    SocketConfig
	names  *sock.Names
	warn   func(format string, args ...any)
	yanks  *yank.Registry
	unyank func()
	c      *Chardev
	ctx    context.Context
	cancel context.CancelFunc
	done   sync.WaitGroup

	listener *sock.Listener
	first    chan struct{} // closed at the first connection, for Wait
	warned   time.Time     // when a failed handshake was last warned of

	mu      sync.Mutex
	conn    net.Conn           // that is served or makes its handshake
	ready   bool               // conn is served
	attempt context.CancelFunc // ends the attempt to connect; nil when there is none
}

func (b *socketBackend) start(ctx context.Context, c *Chardev) (err error) {
	b.c = c
	b.ctx, b.cancel = context.WithCancel(context.Background())
	b.first = make(chan struct{})
	b.unyank = b.yanks.Register(yank.Chardev(c.id), b.yank)
	defer func() {
		if err != nil {
			b.unyank()
		}
	}()
	if b.cfg.Server {
		if b.listener, err = sock.Listen(ctx, b.cfg.Addr, b.names); err != nil {
			return err
		}
		b.done.Go(b.accept)
		return nil
	}
	if b.cfg.Reconnect != 0 { // there is time: nobody waits for the first attempt
		b.done.Go(func() { b.connect(nil) })
		return nil
	}
	conn, err := b.dial(ctx)
	if err != nil {
		return err
	}
	b.done.Go(func() { b.connect(conn) })
	return nil
}

// wait implements waiter.
func (b *socketBackend) wait(ctx context.Context) error {
	if !b.cfg.Server || !b.cfg.Wait {
		return nil
	}
	return b.waitFirst(ctx)
}

// waitFirst waits for the first client.
func (b *socketBackend) waitFirst(ctx context.Context) error {
	select {
	case <-b.first:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("no client came to %s: %w", b.address(), context.Cause(ctx))
	}
}

// abandon implements abandoner: the name of a Unix socket goes with its listener.
func (b *socketBackend) abandon() {
	if b.listener != nil {
		_ = b.listener.Close()
	}
}

// retryAccept is how long a server waits that could not accept a client.
const retryAccept = 100 * time.Millisecond

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
			case <-time.After(retryAccept):
			}
			continue
		}
		if !b.serve(conn) {
			return
		}
	}
}

// serve serves a connection; it returns false when the device ends.
func (b *socketBackend) serve(conn net.Conn) bool {
	if t, ok := conn.(*net.TCPConn); ok {
		_ = t.SetNoDelay(b.cfg.NoDelay)
	}
	if !b.hold(conn) {
		return false
	}
	defer b.drop()
	c, err := b.prepare(conn)
	if err != nil {
		_ = conn.Close()
		if b.ctx.Err() == nil && time.Since(b.warned) > warnInterval {
			b.warned = time.Now()
			b.warn("chardev '%s': %v", b.c.id, err)
		}
		return b.ctx.Err() == nil
	}
	b.mu.Lock()
	b.ready = true
	b.mu.Unlock()
	select {
	case <-b.first:
	default:
		close(b.first)
	}
	return b.c.serve(c)
}

// prepare does what comes before the data.
func (b *socketBackend) prepare(conn net.Conn) (Conn, error) {
	if creds := b.cfg.TLS; creds != nil {
		ctx, cancel := context.WithTimeout(b.ctx, handshakeTime)
		defer cancel()
		var err error
		if b.cfg.Server {
			conn, err = sock.ServeTLS(ctx, conn, creds, b.cfg.Authz)
		} else {
			conn, err = sock.DialTLS(ctx, conn, creds, b.hostname())
		}
		if err != nil {
			return nil, err
		}
	}
	var c Conn = newNetConn(conn)
	if b.cfg.Telnet {
		t, err := newTelnetConn(c)
		if err != nil {
			return nil, err
		}
		c = t
	}
	return c, nil
}

// hostname is whom a server's certificate has to be for.
func (b *socketBackend) hostname() string {
	if i, ok := b.cfg.Addr.Branch.(*sock.Inet); ok {
		return i.Host
	}
	return ""
}

func (b *socketBackend) hold(conn net.Conn) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.ctx.Err() != nil {
		_ = conn.Close()
		return false
	}
	b.conn = conn
	return true
}

func (b *socketBackend) drop() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.conn, b.ready = nil, false
}

func (b *socketBackend) dial(ctx context.Context) (net.Conn, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	b.mu.Lock()
	b.attempt = cancel
	b.mu.Unlock()
	conn, err := sock.Dial(ctx, b.cfg.Addr, b.names)
	b.mu.Lock()
	b.attempt = nil
	b.mu.Unlock()
	return conn, err
}

// connect serves conn, then connects again and again if that is wanted.
func (b *socketBackend) connect(conn net.Conn) {
	said := false
	for {
		var err error
		if conn == nil {
			conn, err = b.dial(b.ctx)
		}
		if err != nil && !said && b.ctx.Err() == nil {
			said = true
			b.warn("Unable to connect character device %s: %v", b.c.id, err)
		}
		if conn != nil {
			said = false
			if !b.serve(conn) {
				return
			}
			conn = nil
		}
		if b.cfg.Reconnect == 0 {
			return
		}
		select {
		case <-b.ctx.Done():
			return
		case <-time.After(time.Duration(b.cfg.Reconnect) * time.Second):
		}
	}
}

// yank ends the connection, or the attempt to make one.
func (b *socketBackend) yank() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.attempt != nil {
		b.attempt()
	}
	if b.conn != nil {
		sock.Shutdown(b.conn) // whoever serves it closes it
	}
}

func (b *socketBackend) stop() {
	b.unyank()
	b.cancel()
	b.yank()
	if b.listener != nil {
		_ = b.listener.Close() // removes the Unix socket's name too
	}
	b.done.Wait()
}

// proto is what kind of socket it is, in descriptions of internet addresses.
func (b *socketBackend) proto() string {
	if b.cfg.Telnet {
		return "telnet"
	}
	return "tcp"
}

// address is the address as it was asked for, a listener's with the port that it
// has.
func (b *socketBackend) address() string {
	server := ""
	if b.cfg.Server {
		server = ",server=on"
	}
	switch a := b.cfg.Addr.Branch.(type) {
	case *sock.Inet:
		host, port := a.Host, a.Port
		if b.listener != nil {
			host, port = sock.HostPort(b.listener.Addr())
			host = strings.Trim(host, "[]")
		}
		return b.proto() + ":" + host + ":" + port + server
	case *sock.Unix:
		abstract := ""
		if a.Abstract != nil && *a.Abstract {
			if abstract = ",abstract=on"; a.Tight == nil || *a.Tight {
				abstract += ",tight=on"
			}
		}
		return "unix:" + a.Path + abstract + server
	case *sock.Vsock:
		return "vsock:" + a.CID + ":" + a.Port
	case *sock.FD:
		return "fd:" + a.Name + server
	}
	return "unknown"
}

func (b *socketBackend) describe() string {
	b.mu.Lock()
	conn, ready := b.conn, b.ready
	b.mu.Unlock()
	if !ready {
		return "disconnected:" + b.address()
	}
	server := ""
	if b.cfg.Server {
		server = ",server=on"
	}
	switch local := conn.LocalAddr().(type) {
	case *net.UnixAddr:
		name := local.Name
		if strings.HasPrefix(name, "@") { // it has none, or one that begins with a zero byte
			name = ""
		}
		return "unix:" + name + server
	case *net.TCPAddr:
		host, port := sock.HostPort(local)
		peerHost, peerPort := sock.HostPort(conn.RemoteAddr())
		return b.proto() + ":" + host + ":" + port + server + " <-> " + peerHost + ":" + peerPort
	}
	return b.address()
}
