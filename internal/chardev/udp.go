package chardev

import (
	"context"
	"errors"
	"net"
	"sync"

	"golang.org/x/sys/unix"

	"govmd/internal/sock"
)

// udpBackend sends output as datagrams and takes what it is sent as input.
type udpBackend struct {
	cfg  UDPConfig
	conn *net.UDPConn
	done sync.WaitGroup
}

func (b *udpBackend) start(ctx context.Context, c *Chardev) (err error) {
	if b.conn, err = sock.DialUDP(ctx, b.cfg.Remote, b.cfg.Local); err != nil {
		return err
	}
	c.setConnected(true)
	b.done.Go(func() { c.serve(&udpConn{UDPConn: b.conn}) })
	return nil
}

func (b *udpBackend) stop() {
	_ = b.conn.Close()
	b.done.Wait()
}

func (b *udpBackend) describe() string { return "udp" }

// maxDatagram is the largest datagram that is read whole.
const maxDatagram = 65535

// sendDatagram is the most that is sent in one, which fits an Ethernet frame.
const sendDatagram = 1400

// udpConn is a socket for datagrams as a connection, which nobody ends: that a
// datagram found nobody is no end.
type udpConn struct {
	*net.UDPConn
	buf  [maxDatagram]byte
	rest []byte // of buf: what Read had no room for
}

func lost(err error) bool {
	return errors.Is(err, unix.ECONNREFUSED) || errors.Is(err, unix.EHOSTUNREACH) || errors.Is(err, unix.ENETUNREACH)
}

// ReadMsg implements Conn.
func (u *udpConn) ReadMsg(p []byte) (int, []int, error) {
	for len(u.rest) == 0 {
		n, err := u.Read(u.buf[:])
		if err != nil && !lost(err) {
			return 0, nil, err
		}
		u.rest = u.buf[:max(n, 0)]
	}
	n := copy(p, u.rest)
	u.rest = u.rest[n:]
	return n, nil, nil
}

// Write implements Conn.
func (u *udpConn) Write(p []byte) (int, error) {
	for done := 0; done < len(p); done += sendDatagram {
		if _, err := u.UDPConn.Write(p[done:min(len(p), done+sendDatagram)]); err != nil && !lost(err) {
			return done, err
		}
	}
	return len(p), nil
}
