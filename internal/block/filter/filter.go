// Package filter has the drivers that change how an image is used, not what is in
// it: throttle, copy-on-read, preallocate, and copy-before-write with snapshot-access.
package filter

import (
	"context"

	"govmd/internal/block"
)

// passthrough hands everything down to the child. Filters embed it and change
// what they are for.
type passthrough struct {
	file *block.Child
}

// openFile opens the filtered child. A filter is read-only if its child is.
func openFile(a *block.OpenArgs, ref block.Ref) (passthrough, error) {
	file, err := a.OpenChild("file", ref, block.RoleFiltered|block.RolePrimary)
	if err != nil {
		return passthrough{}, err
	}
	if err := a.FollowReadOnly(file); err != nil {
		return passthrough{}, err
	}
	return passthrough{file}, nil
}

func (p passthrough) Filtered() *block.Child { return p.file }

func (p passthrough) Length() (int64, error) { return p.file.Length(), nil }

func (p passthrough) Limits() block.Limits {
	l := p.file.Node().Limits()
	return block.Limits{
		Align: 1, MemAlign: l.MemAlign, OptTransfer: l.OptTransfer,
		WriteFlags: block.FUA | block.Unchanged | block.Compressed,
		ZeroFlags:  block.FUA | block.MayUnmap | block.NoFallback | block.Unchanged,
	}
}

func (p passthrough) Preadv(off int64, v block.Vec, f block.Flags) error {
	return p.file.Preadv(off, v, f)
}

func (p passthrough) Pwritev(off int64, v block.Vec, f block.Flags) error {
	return p.file.Pwritev(off, v, f)
}

func (p passthrough) PwriteZeroes(off, n int64, f block.Flags) error {
	return p.file.PwriteZeroes(off, n, f)
}

func (p passthrough) Pdiscard(off, n int64) error { return p.file.Pdiscard(off, n) }

func (p passthrough) Flush() error { return nil }

func (p passthrough) Truncate(ctx context.Context, size int64, exact bool, m block.Prealloc, f block.Flags) error {
	return p.file.Truncate(ctx, size, exact, m, f)
}

func (p passthrough) Close() {}
