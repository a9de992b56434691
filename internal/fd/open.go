package fd

import (
	"os"
	"slices"
	"strconv"
	"sync"

	"golang.org/x/sys/unix"
)

// File is a file that was opened by name, from a set or not.
type File struct {
	*os.File
	release func() // nil unless the descriptor came from a set
}

// Close closes the file and ends its use of a set.
func (f *File) Close() error {
	if f.release != nil {
		f.release()
	}
	return f.File.Close()
}

// Open opens a file as os.OpenFile does, or, when its name is /dev/fdset/N, takes
// a duplicate of the descriptor of set N that was opened for the same access
// (reading, writing or both). The duplicate shares its file offset and status
// flags with the original; O_APPEND, O_NONBLOCK, O_DIRECT, O_NOATIME and O_ASYNC are
// set as flags say, O_TRUNC empties the file, and O_SYNC must be as it was. While
// a duplicate is open its set stays. Errors are *os.PathError.
func (t *Table) Open(path string, flags int, perm os.FileMode) (*File, error) {
	if _, ok := isSetPath(path); !ok {
		f, err := os.OpenFile(path, flags, perm)
		if err != nil {
			return nil, err
		}
		return &File{File: f}, nil
	}
	fd, err := t.OpenFD(path, flags, uint32(perm.Perm()))
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: path, Err: err}
	}
	return &File{os.NewFile(uintptr(fd), path), sync.OnceFunc(func() { t.released(fd) })}, nil
}

// OpenFD is Open for whoever uses the bare descriptor. It should be closed with
// CloseFD; when it is closed otherwise that is found out late. Close-on-exec is set.
// Errors are those of the system call.
func (t *Table) OpenFD(path string, flags int, perm uint32) (fd int, err error) {
	if id, ok := isSetPath(path); ok {
		fd, err = t.dup(id, flags)
	} else {
		for {
			if fd, err = unix.Open(path, flags|unix.O_CLOEXEC, perm); err != unix.EINTR {
				break
			}
		}
	}
	if err != nil {
		return -1, err
	}
	return fd, nil
}

// CloseFD closes a descriptor that OpenFD returned.
func (t *Table) CloseFD(fd int) error {
	t.released(fd) // before: afterwards the number can be somebody else's
	return unix.Close(fd)
}

// IsSet reports whether path names a set: no file of that name is looked at.
func IsSet(path string) bool {
	_, ok := isSetPath(path)
	return ok
}

// settable are the status flags that can be changed after opening.
const settable = unix.O_APPEND | unix.O_ASYNC | unix.O_NONBLOCK | unix.O_NOATIME | unix.O_DIRECT

// dup returns a duplicate of the descriptor of a set that fits flags.
func (t *Table) dup(text string, flags int) (int, error) {
	id, err := strconv.ParseUint(text, 10, 31)
	if err != nil {
		return -1, unix.EINVAL
	}
	if t == nil {
		return -1, unix.ENOENT
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	at, ok := t.index(int(id))
	if !ok {
		return -1, unix.ENOENT
	}
	s := t.sets[at]
	for _, m := range s.members {
		if m.removed {
			continue
		}
		have, err := unix.FcntlInt(uintptr(m.fd), unix.F_GETFL, 0)
		if err != nil {
			return -1, err
		}
		if have&unix.O_ACCMODE != flags&unix.O_ACCMODE {
			continue
		}
		fd, err := duplicate(m.fd, have, flags)
		if err == nil {
			s.dups = append(s.dups, identify(fd))
		}
		return fd, err
	}
	return -1, unix.EACCES
}

// duplicate returns a duplicate of fd, whose status flags are have, as if it had
// been opened with flags.
func duplicate(fd, have, flags int) (int, error) {
	if have&unix.O_SYNC != flags&unix.O_SYNC {
		return -1, unix.EINVAL
	}
	dup, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	if want := have&^settable | flags&settable; want != have {
		_, err = unix.FcntlInt(uintptr(dup), unix.F_SETFL, want)
	}
	if err == nil && (flags&unix.O_TRUNC != 0 || flags&(unix.O_CREAT|unix.O_EXCL) == unix.O_CREAT|unix.O_EXCL) {
		err = unix.Ftruncate(dup, 0)
	}
	if err != nil {
		_ = unix.Close(dup)
		return -1, err
	}
	return dup, nil
}

// released notes that a descriptor from a set, if it is one, is not used any more.
func (t *Table) released(fd int) {
	if t == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, s := range t.sets {
		if i := slices.IndexFunc(s.dups, func(d dup) bool { return d.fd == fd }); i >= 0 {
			s.dups = slices.Delete(s.dups, i, i+1)
			if len(s.dups) == 0 {
				t.clean(s)
			}
			return
		}
	}
}
