package chardev

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
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
	path string
	room func()
	done sync.WaitGroup

	mu      sync.Mutex // guards what follows; taken after the device's
	changed *sync.Cond
	file    *logTarget // what is written to
	next    *logTarget // what is to take its place, or nil
	buf     []byte
	failed  bool
	closing bool
}

// logTarget is an open log file.
type logTarget struct {
	*fdConn
	fds *fd.Table
}

// openLog opens the file and begins to write to it. It is appended to in any case,
// so that whoever rotates logs can cut it. room is called after bytes were written.
func openLog(ctx context.Context, fds *fd.Table, path string, add bool, room func()) (*logFile, error) {
	flags := 0
	if !add {
		flags = unix.O_TRUNC
	}
	l := &logFile{fds: fds, path: path, room: room}
	if !fd.IsSet(path) {
		abs, err := filepath.Abs(path) // a daemon changes its folder
		if err != nil {
			return nil, err
		}
		l.path = abs
	}
	var err error
	if l.file, err = l.open(ctx, flags); err != nil {
		return nil, fmt.Errorf("Could not create '%s': %w", path, err)
	}
	l.changed = sync.NewCond(&l.mu)
	l.done.Go(l.write)
	return l, nil
}

func (l *logFile) open(ctx context.Context, flags int) (*logTarget, error) {
	f, err := openFile(ctx, l.fds, l.path, unix.O_WRONLY|unix.O_CREAT|unix.O_APPEND|flags)
	if err != nil {
		if reason := errors.Unwrap(err); reason != nil {
			err = reason
		}
		return nil, err
	}
	conn, err := newFDConn(-1, f)
	if err != nil {
		_ = l.fds.CloseFD(f)
		return nil, err
	}
	return &logTarget{conn, l.fds}, nil
}

// end follows the last use of the file.
func (t *logTarget) end() {
	t.release()
	_ = t.fds.CloseFD(t.out)
}

// reopen opens the file under its name, for what is logged from now on. A log that had
// failed begins anew. When the file cannot be opened the old one is kept.
func (l *logFile) reopen(ctx context.Context) error {
	t, err := l.open(ctx, unix.O_NONBLOCK) // a pipe without a reader is not waited for
	if err != nil {
		return err
	}
	l.mu.Lock()
	unused := t
	if !l.closing {
		unused, l.next = l.next, t
		l.failed = false
		l.changed.Broadcast()
	}
	l.mu.Unlock()
	if unused != nil {
		unused.end()
	}
	return nil
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
		n, to := l.take(buf[:])
		if n == 0 {
			return
		}
		if _, err := to.Write(buf[:n]); err != nil {
			// A full disk costs the log, not the guest's console.
			l.mu.Lock()
			l.failed, l.buf = l.next == nil, nil
			l.mu.Unlock()
		}
		l.room()
	}
}

// take waits for bytes to be logged, and returns how many and where to; 0 at the end.
// What was said before the file was opened anew may go to the new one.
func (l *logFile) take(buf []byte) (n int, to *logTarget) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for {
		if l.next != nil {
			l.file.end()
			l.file, l.next = l.next, nil
		}
		if len(l.buf) > 0 || l.closing {
			break
		}
		l.changed.Wait()
	}
	n = copy(buf, l.buf)
	l.buf = l.buf[:copy(l.buf, l.buf[n:])]
	l.changed.Broadcast()
	return n, l.file
}

// close writes what is left and closes the file. A file that takes nothing, such
// as a pipe without a reader, is given drainTime.
func (l *logFile) close() {
	l.mu.Lock()
	l.closing = true
	l.changed.Broadcast()
	l.mu.Unlock()
	stop := afterDrain(l.giveUp)
	l.done.Wait()
	stop()
	l.file.end()
	if l.next != nil {
		l.next.end()
	}
}

// giveUp ends writing, to the file and to that which is to take its place.
func (l *logFile) giveUp() {
	l.mu.Lock()
	defer l.mu.Unlock()
	_ = l.file.Close()
	if l.next != nil {
		_ = l.next.Close()
	}
}

// ReopenLogs opens the files anew to which devices' output is copied, after they were
// renamed, and calls failed for those that cannot be opened and stay what they are. It
// waits for files; it is not for the control lane.
func (r *Registry) ReopenLogs(ctx context.Context, failed func(id, path string, err error)) {
	for _, c := range r.All() {
		if c.log == nil {
			continue
		}
		if err := c.log.reopen(ctx); err != nil {
			failed(c.id, c.log.path, err)
		}
	}
}
