package file

import (
	"golang.org/x/sys/unix"

	"govmd/internal/block"
)

// PrepareReopen opens the file anew, with the locks that are held.
func (f *file) PrepareReopen(a *block.ReopenArgs) error {
	o := a.Opts.(*Options)
	if o.Filename != f.opts.Filename {
		return block.Errorf(block.KindInvalid, "Cannot change the option 'filename'")
	}
	if o.locking() != f.opts.locking() {
		return block.Errorf(block.KindInvalid, "Cannot change the option 'locking'")
	}
	h, err := f.openHandle(o, a.Set)
	if err != nil {
		return err
	}
	var l locker
	if err := l.init(o, h.fd); err != nil {
		h.close()
		return err
	}
	// The new description takes the same locks before the old one gives them up, which
	// would look like another's; so nobody can come between, and nothing is tested.
	for bit := range 64 {
		if f.lock.held>>bit&1 != 0 && l.use {
			if err := l.set(bit, unix.F_RDLCK); err != nil {
				h.close()
				return openError(o.Filename, err)
			}
		}
	}
	l.held = f.lock.held
	f.lock.drop(f.lock.held)
	a.State = &reopened{h: h, old: f.h.Load(), lock: l, oldLock: f.lock, oldOpts: f.opts}
	// In effect at once, so that permissions are checked with it; nothing is under way.
	f.h.Store(h)
	f.lock = l
	f.opts = o
	return nil
}

type reopened struct {
	h, old        *handle
	lock, oldLock locker
	oldOpts       *Options
}

// CommitReopen implements block.Reopener.
func (f *file) CommitReopen(a *block.ReopenArgs) { a.State.(*reopened).old.close() }

// AbortReopen implements block.Reopener.
func (f *file) AbortReopen(a *block.ReopenArgs) {
	r := a.State.(*reopened)
	f.h.Store(r.old)
	f.lock, f.opts = r.oldLock, r.oldOpts
	for bit := range 64 {
		if f.lock.held>>bit&1 != 0 {
			_ = f.lock.set(bit, unix.F_RDLCK) // shared, and we hold it in the other description
		}
	}
	r.h.close()
}
