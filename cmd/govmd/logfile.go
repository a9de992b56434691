package main

import (
	"context"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"govmd/internal/fd"
)

// logFile is what -D names. It is appended to, so that whoever rotates logs may
// copy and cut it, and opened anew when it was renamed and SIGUSR1 says so.
type logFile struct {
	fds *fd.Table

	mu     sync.Mutex // guards what follows
	name   string
	file   *fd.File
	stderr bool // standard error is the same file
}

// logMode is for a file that says what guests and clients do.
const logMode = 0o640

// openLogFile empties the file or makes it. %d in its name is the process id. A
// relative name is of the present folder from then on.
func openLogFile(fds *fd.Table, name string) (*logFile, error) {
	name = strings.Replace(name, "%d", strconv.Itoa(os.Getpid()), 1)
	if !fd.IsSet(name) {
		abs, err := filepath.Abs(name)
		if err != nil {
			return nil, err
		}
		name = abs
	}
	l := &logFile{name: name, fds: fds}
	var err error
	l.file, err = l.open(name, unix.O_TRUNC)
	return l, err
}

func (l *logFile) path() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.name
}

func (l *logFile) open(name string, flags int) (*fd.File, error) {
	return l.fds.Open(name, unix.O_WRONLY|unix.O_CREAT|unix.O_APPEND|flags, logMode)
}

// Write implements io.Writer.
func (l *logFile) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.file.Write(p)
}

// takeStderr has standard error go to the log too, now and after each reopening.
func (l *logFile) takeStderr() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.stderr = true
	return l.copyStderr()
}

// copyStderr is called with the lock held.
func (l *logFile) copyStderr() error {
	if !l.stderr {
		return nil
	}
	return unix.Dup3(int(l.file.Fd()), 2, 0)
}

// reopen opens the file under its name. When that fails the old one is kept.
func (l *logFile) reopen() error {
	name := l.path()
	f, err := l.open(name, 0)
	if err != nil {
		return err
	}
	return l.swap(name, f)
}

// replace makes another file the log, in the place of l's.
func (l *logFile) replace(name string) error {
	n, err := openLogFile(l.fds, name)
	if err != nil {
		return err
	}
	return l.swap(n.name, n.file)
}

// swap makes f, which has that name, the log and closes what was it.
func (l *logFile) swap(name string, f *fd.File) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	old := l.file
	l.name, l.file = name, f
	err := l.copyStderr()
	_ = old.Close()
	return err
}

// watchLogSignal has SIGUSR1 open all logs anew, as log rotation wants it; stop
// ends the watch. Without a log the signal does nothing.
func (v *vm) watchLogSignal() (stop func()) {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGUSR1)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			select {
			case <-signals:
				v.reopenLogs(ctx)
			case <-ctx.Done():
				return
			}
		}
	}()
	return func() {
		signal.Stop(signals)
		cancel()
		<-done
	}
}

func (v *vm) reopenLogs(ctx context.Context) {
	const kept = "cannot open the log anew, so the old one goes on"
	v.logChange.Lock()
	if l := v.logFile.Load(); l != nil {
		if err := l.reopen(); err != nil {
			v.log.Warnf("-D %s: %s: %v", l.path(), kept, pathReason(err))
		}
	}
	v.logChange.Unlock()
	v.chardevs.ReopenLogs(ctx, func(id, path string, err error) {
		v.log.Warnf("character device %s, logfile=%s: %s: %v", id, path, kept, err)
	})
}
