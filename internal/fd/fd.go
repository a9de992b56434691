// Package fd keeps the file descriptors that clients and parents have handed to
// the program: those with a name, which a later command takes, and sets of them,
// from which a file called /dev/fdset/N is opened.
//
// A Table is one machine's. Open and OpenFD take the place of os.OpenFile
// wherever a client or the command line names a file.
package fd

import (
	"fmt"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// Table holds named descriptors and sets. Its zero value is empty and ready to
// use; a nil Table has no sets and opens plain files only. Its methods may be
// called from any goroutine.
type Table struct {
	mu        sync.Mutex                // guards what follows
	running   func() bool               // nil: it does
	sessions  map[uint64]map[string]int // named descriptors of each session that is connected
	sets      []*set                    // in ascending order of their IDs
	inherited []int                     // given on the command line, to be closed
}

// SetRunning sets what reports whether the machine runs: while it does not,
// descriptors stay in their sets, for whoever manages it may still be about to use
// them. fn must not block.
func (t *Table) SetRunning(fn func() bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.running = fn
}

// maxNames bounds the named descriptors of one session.
const maxNames = 256

// NotFoundError says that a descriptor is not there.
type NotFoundError struct{ What string }

func (e *NotFoundError) Error() string {
	return "File descriptor named '" + e.What + "' not found"
}

// Put gives the descriptor a name within a session, which has to be connected. The table owns
// the descriptor from then on, also when there is an error. One that had the name before is closed.
func (t *Table) Put(session uint64, name string, fd int) error {
	if name != "" && '0' <= name[0] && name[0] <= '9' { // it would be taken for a number
		_ = unix.Close(fd)
		return fmt.Errorf("Parameter 'fdname' expects a name not starting with a digit")
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	mine, connected := t.sessions[session]
	if !connected { // its command was still waiting when it went away
		_ = unix.Close(fd)
		return fmt.Errorf("the session that passed the file descriptor has ended")
	}
	if old, ok := mine[name]; ok {
		_ = unix.Close(old)
	} else if len(mine) == maxNames {
		_ = unix.Close(fd)
		return fmt.Errorf("no more than %d file descriptors can have names: 'closefd' makes room", maxNames)
	}
	mine[name] = fd
	traceName.Emit(session, name, fd)
	return nil
}

// Take takes the descriptor of that name: it is the caller's then. The error is
// a *NotFoundError.
func (t *Table) Take(session uint64, name string) (fd int, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	fd, ok := t.sessions[session][name]
	if !ok {
		return -1, &NotFoundError{name}
	}
	delete(t.sessions[session], name)
	traceTake.Emit(session, name, fd)
	return fd, nil
}

// SessionBegins notes that a monitor session is connected.
func (t *Table) SessionBegins(session uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.sessions == nil {
		t.sessions = make(map[uint64]map[string]int)
	}
	t.sessions[session] = make(map[string]int)
}

// SessionEnds notes that a monitor session has ended. Its named descriptors are
// closed, and when it was the last one so are those of the sets that nobody uses.
func (t *Table) SessionEnds(session uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, fd := range t.sessions[session] {
		_ = unix.Close(fd)
	}
	delete(t.sessions, session)
	t.clean(t.sets...)
}

// Close closes all descriptors that nobody has taken.
func (t *Table) Close() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, mine := range t.sessions {
		for _, fd := range mine {
			_ = unix.Close(fd)
		}
		clear(mine)
	}
	for _, s := range t.sets {
		for _, m := range s.members {
			_ = unix.Close(m.fd)
		}
		s.members = nil
	}
	t.sets = slices.DeleteFunc(t.sets, (*set).empty)
	t.closeInherited()
}

// isSetPath reports whether a file name stands for a set, and for which.
func isSetPath(path string) (id string, ok bool) { return strings.CutPrefix(path, "/dev/fdset/") }
