package blkdebug

import (
	"govmd/internal/block"
)

func (f *filter) Length() (int64, error) { return f.file.Length(), nil }

// Filtered implements block.Filter.
func (f *filter) Filtered() *block.Child { return f.file }

func (f *filter) Limits() block.Limits {
	l := f.file.Node().Limits()
	l.WriteFlags = block.FUA | block.Unchanged
	l.ZeroFlags = block.FUA | block.MayUnmap | block.NoFallback | block.Unchanged
	l.Align = max(l.Align, 1)
	if f.opts.Align != nil {
		l.Align = max(l.Align, int(*f.opts.Align))
	}
	set := func(dst *int, v *int32) {
		if v != nil && *v > 0 {
			*dst = int(*v)
		}
	}
	set(&l.MaxTransfer, f.opts.MaxTransfer)
	set(&l.ZeroAlign, f.opts.OptWriteZero)
	set(&l.DiscAlign, f.opts.OptDiscard)
	if v := f.opts.MaxWriteZero; v != nil && *v > 0 {
		l.MaxZeroes = int64(*v)
	}
	if v := f.opts.MaxDiscard; v != nil && *v > 0 {
		l.MaxDiscard = int64(*v)
	}
	return l
}

func (f *filter) Preadv(off int64, v block.Vec, fl block.Flags) error {
	if err := f.fail(ioRead, off, int64(v.Len())); err != nil {
		return err
	}
	return f.file.Preadv(off, v, fl)
}

func (f *filter) Pwritev(off int64, v block.Vec, fl block.Flags) error {
	if err := f.fail(ioWrite, off, int64(v.Len())); err != nil {
		return err
	}
	return f.file.Pwritev(off, v, fl)
}

func (f *filter) PwriteZeroes(off, n int64, fl block.Flags) error {
	if err := f.fail(ioZeroes, off, n); err != nil {
		return err
	}
	return f.file.PwriteZeroes(off, n, fl)
}

func (f *filter) Pdiscard(off, n int64) error {
	if err := f.fail(ioDiscard, off, n); err != nil {
		return err
	}
	return f.file.Pdiscard(off, n)
}

func (f *filter) Flush() error { return f.fail(ioFlush, 0, 0) }

func (f *filter) BlockStatus(off, n int64, _ block.StatusFlags) (block.Status, error) {
	if err := f.fail(ioStatus, off, n); err != nil {
		return block.Status{}, err
	}
	return block.Status{Flags: block.StatusAllocated | block.StatusOffset | block.StatusRecurse, N: n, File: f.file.Node(), Offset: off}, nil
}

// ChildPerm takes and unshares what the options say beside what a filter does.
func (f *filter) ChildPerm(_ *block.Child, role block.Role, perm, shared block.Perm) (block.Perm, block.Perm) {
	perm, shared = block.DefaultChildPerm(f.node, role, perm, shared)
	return perm | perms(f.opts.TakePerms), shared &^ perms(f.opts.UnsharePerms)
}

func (f *filter) PrepareReopen(*block.ReopenArgs) error { return nil }

func (f *filter) CommitReopen(*block.ReopenArgs) {}

func (f *filter) AbortReopen(*block.ReopenArgs) {}

// Close lets go of whatever is held still.
func (f *filter) Close() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for tag := range f.held {
		f.letGo(tag)
	}
}
