package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"sync"

	"golang.org/x/sys/unix"
)

// pidFile is a file with the process's id, locked as long as the process lives.
type pidFile struct {
	name string
	fd   int
	stat unix.Stat_t
	once sync.Once
}

func (v *vm) writePIDFile(context.Context) (err error) {
	name := v.setup.pidFile
	if name == "" {
		return nil
	}
	path, err := filepath.Abs(name) // a daemon leaves the folder
	if err != nil {
		return &usageError{"-pidfile " + name, err}
	}
	if v.pidFile, err = newPIDFile(path); err != nil {
		return &usageError{"-pidfile " + name, fmt.Errorf("cannot create PID file: %w", pathReason(err))}
	}
	v.onClose(v.pidFile.remove)
	return nil
}

func newPIDFile(name string) (*pidFile, error) {
	for {
		p, err := lockPIDFile(name)
		if p != nil || err != nil {
			return p, err
		}
	}
}

// lockPIDFile returns nil when the file that was opened is no longer the one of
// that name: the process that had it has removed it.
func lockPIDFile(name string) (p *pidFile, err error) {
	fd, err := unix.Open(name, unix.O_RDWR|unix.O_CREAT|unix.O_CLOEXEC|unix.O_NONBLOCK, 0o600)
	if err != nil {
		return nil, err
	}
	defer func() {
		if p == nil {
			_ = unix.Close(fd)
		}
	}()
	lock := unix.Flock_t{Type: unix.F_WRLCK}
	if err := unix.FcntlFlock(uintptr(fd), unix.F_SETLK, &lock); err != nil {
		if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EACCES) {
			return nil, owned(fd)
		}
		return nil, fmt.Errorf("cannot lock it: %w", err)
	}
	f := &pidFile{name: name, fd: fd}
	if err := unix.Fstat(fd, &f.stat); err != nil {
		return nil, err
	}
	if !f.current() {
		return nil, nil
	}
	if err := unix.Ftruncate(fd, 0); err != nil {
		return nil, err
	}
	if _, err := unix.Write(fd, []byte(strconv.Itoa(os.Getpid())+"\n")); err != nil {
		f.remove()
		return nil, err
	}
	return f, nil
}

// owned says who has the file that is open as fd locked.
func owned(fd int) error {
	lock := unix.Flock_t{Type: unix.F_WRLCK}
	if err := unix.FcntlFlock(uintptr(fd), unix.F_GETLK, &lock); err != nil || lock.Type == unix.F_UNLCK || lock.Pid <= 0 {
		return errors.New("another process has it") // of another PID namespace, or gone meanwhile
	}
	return fmt.Errorf("process %d has it", lock.Pid)
}

// current reports whether the name still means this file.
func (p *pidFile) current() bool {
	var st unix.Stat_t
	return unix.Stat(p.name, &st) == nil && st.Ino == p.stat.Ino && st.Dev == p.stat.Dev
}

// remove removes the file; p may be nil.
func (p *pidFile) remove() {
	if p == nil {
		return
	}
	p.once.Do(func() {
		if p.current() {
			_ = unix.Unlink(p.name)
		}
	})
}

// pathReason takes the file's name out of an error whose context has it already.
func pathReason(err error) error {
	var p *fs.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	return err
}
