package chardev

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"golang.org/x/sys/unix"

	"govmd/internal/fd"
)

// logLimit is how many bytes wait to be logged. More makes Write short, as a slow
// back end does.
const logLimit = 256 << 10

// logFile writes a device's output to a file, whether anybody is at the other
// side or not.
type logFile struct {
	fds  *fd.Table
	fd   int
	conn *fdConn
	room func()
	done sync.WaitGroup

	mu      sync.Mutex // guards what follows; taken after the device's
	changed *sync.Cond
	buf     []byte
	failed  bool
	closing bool
}

// openLog opens the file and begins to write to it. It is appended to in any case,
// so that whoever rotates logs can cut it. room is called after bytes were written.
func openLog(ctx context.Context, fds *fd.Table, path string, add bool, room func()) (*logFile, error) {
	flags := unix.O_WRONLY | unix.O_CREAT | unix.O_APPEND
	if !add {
		flags |= unix.O_TRUNC
	}
	f, err := openFile(ctx, fds, path, flags)
	if err != nil {
		if reason := errors.Unwrap(err); reason != nil {
			err = reason
		}
		return nil, fmt.Errorf("Could not create '%s': %w", path, err)
	}
	l := &logFile{fds: fds, fd: f, room: room}
	if l.conn, err = newFDConn(-1, f); err != nil {
		_ = fds.CloseFD(f)
		return nil, err
	}
	l.changed = sync.NewCond(&l.mu)
	l.done.Go(l.write)
	return l, nil
}

// append takes bytes to be logged and returns how many.
func (l *logFile) append(p []byte) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.failed {
		return len(p)
	}
	n := min(len(p), logLimit-len(l.buf))
	l.buf = append(l.buf, p[:n]...)
	l.changed.Broadcast()
	return n
}

func (l *logFile) hasRoom() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.failed || len(l.buf) <= logLimit/2
}

func (l *logFile) write() {
	var buf [16 << 10]byte
	for {
		l.mu.Lock()
		for len(l.buf) == 0 && !l.closing {
			l.changed.Wait()
		}
		n := copy(buf[:], l.buf)
		l.buf = l.buf[:copy(l.buf, l.buf[n:])]
		l.changed.Broadcast()
		l.mu.Unlock()
		if n == 0 {
			return
		}
		if _, err := l.conn.Write(buf[:n]); err != nil {
			// A full disk costs the log, not the guest's console.
			l.mu.Lock()
			l.failed, l.buf = true, nil
			l.mu.Unlock()
		}
		l.room()
	}
}

// close writes what is left and closes the file. A file that takes nothing, such
// as a pipe without a reader, is given drainTime.
func (l *logFile) close() {
	l.mu.Lock()
	l.closing = true
	l.changed.Broadcast()
	l.mu.Unlock()
	stop := afterDrain(func() { _ = l.conn.Close() })
	l.done.Wait()
	stop()
	l.conn.release()
	_ = l.fds.CloseFD(l.fd)
}
