package chardev

import (
	"os"
	"os/signal"
	"sync"

	"golang.org/x/sys/unix"
)

// terminal is a terminal whose settings were changed; of a file that is none its
// methods do nothing.
type terminal struct {
	fd         int
	saved, raw unix.Termios

	mu      sync.Mutex // guards changed, and the order of changes
	changed bool

	resumed chan os.Signal // SIGCONT
	done    sync.WaitGroup
}

// rawTerminal hands what is typed to the guest, byte by byte. With signals the
// interrupt and quit characters still act on the program itself. It does
// nothing when fd is no terminal.
func rawTerminal(fd int, signals bool) *terminal {
	t := &terminal{fd: fd}
	saved, err := unix.IoctlGetTermios(fd, unix.TCGETS)
	if err != nil {
		return t
	}
	t.saved, t.raw = *saved, *saved
	r := &t.raw
	makeRaw(r)
	r.Oflag = saved.Oflag // others write lines to it, too
	if signals {
		r.Lflag |= saved.Lflag & unix.ISIG
	}
	if unix.IoctlSetTermios(fd, unix.TCSETS, r) != nil {
		return t
	}
	t.changed = true
	// A shell that stopped the program and lets it go on has had the terminal
	// for itself meanwhile.
	t.resumed = make(chan os.Signal, 1)
	signal.Notify(t.resumed, unix.SIGCONT)
	t.done.Go(t.again)
	return t
}

// makeRaw has a terminal pass bytes on as they are, in both directions.
func makeRaw(t *unix.Termios) {
	t.Iflag &^= unix.IGNBRK | unix.BRKINT | unix.PARMRK | unix.ISTRIP | unix.INLCR | unix.IGNCR | unix.ICRNL | unix.IXON
	t.Oflag &^= unix.OPOST
	t.Lflag &^= unix.ECHO | unix.ECHONL | unix.ICANON | unix.ISIG | unix.IEXTEN
	t.Cflag = t.Cflag&^(unix.CSIZE|unix.PARENB) | unix.CS8
	t.Cc[unix.VMIN], t.Cc[unix.VTIME] = 1, 0
}

func (t *terminal) again() {
	for range t.resumed {
		t.mu.Lock()
		if t.changed {
			_ = unix.IoctlSetTermios(t.fd, unix.TCSETS, &t.raw)
		}
		t.mu.Unlock()
	}
}

// restore puts the settings back. It may be called at any time, and again.
func (t *terminal) restore() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.changed {
		t.changed = false
		_ = unix.IoctlSetTermios(t.fd, unix.TCSETS, &t.saved)
	}
}

// close restores the terminal and ends what watches it.
func (t *terminal) close() {
	t.restore()
	if t.resumed != nil {
		signal.Stop(t.resumed)
		close(t.resumed)
		t.done.Wait()
	}
}
