package file

import (
	"golang.org/x/sys/unix"

	"govmd/internal/block"
)

// Image locks, as QEMU has them: for each permission that is held a shared lock on
// a byte at 100, for each one that others may not have a shared lock on a byte at
// 200, both as open-file-description locks. Whoever wants a permission then looks
// whether somebody else has locked the byte of the other kind.
const (
	permBase   = 100
	sharedBase = 200
	permBits   = 4
)

// locker holds the locks of one open file.
type locker struct {
	use    bool
	fd     int
	name   string
	held   uint64 // bytes that are locked: bit i for permBase+i, bit 32+i for sharedBase+i
	wanted uint64 // after CheckPerm
}

func (l *locker) init(o *Options, fd int) error {
	l.fd, l.name = fd, o.Filename
	if o.locking() == "off" {
		return nil
	}
	lk := unix.Flock_t{Type: unix.F_RDLCK, Start: permBase, Len: 1}
	if err := unix.FcntlFlock(uintptr(fd), unix.F_OFD_GETLK, &lk); err != nil {
		if o.locking() == "on" {
			return block.Errorf(block.KindUnsupported, "File system of '%s' does not support locks: %w", o.Filename, err)
		}
		return nil
	}
	l.use = true
	return nil
}

func lockByte(bit int) int64 {
	if bit >= 32 {
		return sharedBase + int64(bit-32)
	}
	return permBase + int64(bit)
}

func lockSet(perm, shared block.Perm) uint64 {
	return uint64(perm) | uint64(block.PermAll&^shared)<<32
}

// set locks or unlocks a byte.
func (l *locker) set(bit int, typ int16) error {
	lk := unix.Flock_t{Type: typ, Start: lockByte(bit), Len: 1}
	return unix.FcntlFlock(uintptr(l.fd), unix.F_OFD_SETLK, &lk)
}

// taken reports whether another process has locked a byte.
func (l *locker) taken(bit int) (bool, error) {
	lk := unix.Flock_t{Type: unix.F_WRLCK, Start: lockByte(bit), Len: 1}
	err := unix.FcntlFlock(uintptr(l.fd), unix.F_OFD_GETLK, &lk)
	return lk.Type != unix.F_UNLCK, err
}

// check takes the locks for perm and shared, beside those held, and looks for
// conflicts. After an error only what was held is.
func (l *locker) check(perm, shared block.Perm) error {
	if !l.use {
		return nil
	}
	want := lockSet(perm, shared)
	for bit := range 64 {
		if (want&^l.held)>>bit&1 == 0 {
			continue
		}
		if err := l.set(bit, unix.F_RDLCK); err != nil {
			l.drop(want &^ l.held)
			return block.Errorf(block.KindIO, "Failed to lock byte %d of '%s': %w", lockByte(bit), l.name, err)
		}
	}
	for i := range permBits {
		// What I want must not be unshared by others; what I do not share must not be had.
		for _, c := range [2]struct {
			mine, theirs int
			text         string
		}{{i, 32 + i, "Failed to get \"%s\" lock (is another process using the image [%s]?)"},
			{32 + i, i, "Failed to get shared \"%s\" lock (is another process using the image [%s]?)"}} {
			if want>>c.mine&1 == 0 || l.held>>c.mine&1 != 0 {
				continue
			}
			switch taken, err := l.taken(c.theirs); {
			case err != nil:
				l.drop(want &^ l.held)
				return block.Errorf(block.KindIO, "Failed to test a lock of '%s': %w", l.name, err)
			case taken:
				l.drop(want &^ l.held)
				return block.Errorf(block.KindInUse, c.text, block.Perm(1<<i), l.name)
			}
		}
	}
	l.wanted = want
	return nil
}

func (l *locker) drop(set uint64) {
	for bit := range 64 {
		if set>>bit&1 != 0 {
			_ = l.set(bit, unix.F_UNLCK) // a lock too many is given up when the file is closed
		}
	}
}

// commit gives up what check has found not to be wanted any more; abort what it took.
func (l *locker) commit() {
	if l.use {
		l.drop(l.held &^ l.wanted)
		l.held = l.wanted
	}
}

func (l *locker) abort() {
	if l.use {
		l.drop(l.wanted &^ l.held)
	}
}

func (l *locker) release() {
	if l.use {
		l.drop(l.held)
		l.held = 0
	}
}

// CheckPerm, SetPerm and AbortPerm lock the file against other processes.
func (f *file) CheckPerm(perm, shared block.Perm) error { return f.lock.check(perm, shared) }

// SetPerm implements block.Permitter.
func (f *file) SetPerm(block.Perm, block.Perm) { f.lock.commit() }

// AbortPerm implements block.Permitter.
func (f *file) AbortPerm() { f.lock.abort() }
