package chardev

import (
	"context"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"govmd/internal/fd"
)

// ttyBackend is a real serial line of the host.
type ttyBackend struct {
	cfg   SerialConfig
	fds   *fd.Table
	fd    int
	conn  *fdConn
	saved *unix.Termios // the settings before; nil where the device is no terminal
	end   chan struct{}
	done  sync.WaitGroup

	mu   sync.Mutex // guards use of fd beside conn
	gone bool
}

func (b *ttyBackend) start(ctx context.Context, c *Chardev) (err error) {
	if b.fd, err = openFile(ctx, b.fds, b.cfg.Path, unix.O_RDWR|unix.O_NONBLOCK|unix.O_NOCTTY); err != nil {
		return err
	}
	if b.conn, err = newFDConn(b.fd, b.fd); err != nil {
		_ = b.fds.CloseFD(b.fd)
		return fmt.Errorf("serial: %w", err)
	}
	b.conn.hup = true
	if t, err := unix.IoctlGetTermios(b.fd, unix.TCGETS2); err == nil {
		b.saved = t
		raw := *t
		makeRaw(&raw)
		raw.Iflag |= unix.PARMRK // breaks are told from zero bytes
		raw.Cflag |= unix.CREAD | unix.CLOCAL
		setSpeed(&raw, LineParams{Speed: 115200, Parity: 'N', DataBits: 8, StopBits: 1})
		_ = unix.IoctlSetTermios(b.fd, unix.TCSETS2, &raw)
	}
	c.setConnected(true)
	b.done.Go(func() {
		var conn Conn = hupConn{b.conn}
		if b.saved != nil {
			conn = &markedConn{hupConn: hupConn{b.conn}}
		}
		c.serve(conn)
	})
	b.end = make(chan struct{})
	if lines, ok := b.modem(); ok {
		b.done.Go(func() { b.watchModem(c, lines) })
	}
	return nil
}

// modemInterval is how often modem lines are looked at. The call that waits for a
// change of them cannot be ended.
const modemInterval = 50 * time.Millisecond

// watchModem tells the front end of changes of the lines.
func (b *ttyBackend) watchModem(c *Chardev, was ModemLines) {
	tick := time.NewTicker(modemInterval)
	defer tick.Stop()
	for {
		select {
		case <-b.end:
			return
		case <-tick.C:
		}
		if now, ok := b.modem(); ok && (now^was)&^(DTR|RTS) != 0 {
			was = now
			c.event(ModemChanged)
		}
	}
}

// setSpeed sets the parameters of a line.
func setSpeed(t *unix.Termios, p LineParams) {
	t.Cflag &^= unix.CBAUD | unix.CBAUD<<16 | unix.CSIZE | unix.PARENB | unix.PARODD | unix.CSTOPB
	t.Cflag |= unix.BOTHER // any speed, not one of a list
	t.Ispeed, t.Ospeed = uint32(p.Speed), uint32(p.Speed)
	switch p.DataBits {
	case 5:
		t.Cflag |= unix.CS5
	case 6:
		t.Cflag |= unix.CS6
	case 7:
		t.Cflag |= unix.CS7
	default:
		t.Cflag |= unix.CS8
	}
	switch p.Parity {
	case 'E':
		t.Cflag |= unix.PARENB
	case 'O':
		t.Cflag |= unix.PARENB | unix.PARODD
	}
	if p.StopBits == 2 {
		t.Cflag |= unix.CSTOPB
	}
}

// use runs fn with the descriptor, unless it has been closed or is no terminal.
func (b *ttyBackend) use(fn func(fd int)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.gone && b.saved != nil {
		fn(b.fd)
	}
}

// setParams implements line.
func (b *ttyBackend) setParams(p LineParams) {
	b.use(func(fd int) {
		if t, err := unix.IoctlGetTermios(fd, unix.TCGETS2); err == nil && p.Speed > 0 {
			setSpeed(t, p)
			_ = unix.IoctlSetTermios(fd, unix.TCSETS2, t)
		}
	})
}

// sendBreak sends a break of the usual length, which takes a quarter of a second:
// not on the caller's time.
func (b *ttyBackend) sendBreak() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.gone || b.saved == nil {
		return
	}
	fd, err := unix.FcntlInt(uintptr(b.fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return
	}
	b.done.Go(func() {
		_ = unix.IoctlSetInt(fd, unix.TCSBRKP, 0)
		_ = unix.Close(fd)
	})
}

var modemBits = [...]struct {
	line ModemLines
	bit  int
}{
	{DTR, unix.TIOCM_DTR}, {RTS, unix.TIOCM_RTS}, {CTS, unix.TIOCM_CTS},
	{DSR, unix.TIOCM_DSR}, {RI, unix.TIOCM_RI}, {DCD, unix.TIOCM_CAR},
}

// modem implements line.
func (b *ttyBackend) modem() (lines ModemLines, ok bool) {
	b.use(func(fd int) {
		bits, err := unix.IoctlGetInt(fd, unix.TIOCMGET)
		if ok = err == nil; ok {
			for _, m := range modemBits {
				if bits&m.bit != 0 {
					lines |= m.line
				}
			}
		}
	})
	return lines, ok
}

// setModem implements line.
func (b *ttyBackend) setModem(lines ModemLines) {
	b.use(func(fd int) {
		bits, err := unix.IoctlGetInt(fd, unix.TIOCMGET)
		if err != nil {
			return
		}
		for _, m := range modemBits[:2] {
			if bits &^= m.bit; lines&m.line != 0 {
				bits |= m.bit
			}
		}
		_ = unix.IoctlSetPointerInt(fd, unix.TIOCMSET, bits)
	})
}

func (b *ttyBackend) stop() {
	_ = b.conn.Close()
	close(b.end)
	b.mu.Lock()
	b.gone = true
	b.mu.Unlock()
	b.done.Wait()
	b.conn.release()
	b.abandon()
	_ = b.fds.CloseFD(b.fd)
}

// abandon implements abandoner.
func (b *ttyBackend) abandon() {
	if b.saved != nil {
		_ = unix.IoctlSetTermios(b.fd, unix.TCSETS2, b.saved)
	}
}

func (b *ttyBackend) describe() string { return "serial" }

// markedConn is a terminal whose input has marks in it (PARMRK in termios(3)): a
// break, or a byte with an error, follows \xff\0; \xff stands doubled.
type markedConn struct {
	hupConn
	raw     [512]byte
	pending []byte // of raw, not decoded yet
	brk     bool
}

// ReadMsg implements Conn.
func (m *markedConn) ReadMsg(p []byte) (int, []int, error) {
	for {
		n, brk, used := unmark(p, m.pending)
		m.pending = m.pending[used:]
		if m.brk = brk; n > 0 || brk {
			return n, nil, nil
		}
		k := copy(m.raw[:], m.pending) // an incomplete mark
		n, err := m.hupConn.Read(m.raw[k : k+min(len(p), len(m.raw)-k)])
		m.pending = m.raw[:k+n]
		if err != nil {
			return 0, nil, err
		}
	}
}

// takeBreak implements breaker.
func (m *markedConn) takeBreak() bool { return m.brk }

// unmark decodes src into dst, up to a break. It returns how much was decoded,
// whether a break follows, and how much of src that has used.
func unmark(dst, src []byte) (n int, brk bool, used int) {
	for used < len(src) && n < len(dst) {
		b := src[used]
		if b != 0xff {
			dst[n] = b
			n++
			used++
			continue
		}
		switch rest := src[used:]; {
		case len(rest) < 2:
			return n, false, used
		case rest[1] != 0: // doubled
			dst[n] = 0xff
			n++
			used += 2
		case len(rest) < 3:
			return n, false, used
		case rest[2] == 0:
			return n, true, used + 3
		default: // a byte with a parity or framing error
			dst[n] = rest[2]
			n++
			used += 3
		}
	}
	return n, false, used
}
