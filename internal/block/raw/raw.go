// Package raw is the format without a format: a file, or a part of it, is the disk.
package raw

import (
	"context"

	"govmd/internal/block"
	"govmd/internal/qmp"
)

// Options are the options of the driver raw.
type Options struct {
	block.GenericFormat
	Offset *qmp.Size `qmp:"offset"`
	Size   *qmp.Size `qmp:"size"`
}

func init() {
	block.Register[Options](&block.Type{
		Name:      "raw",
		Open:      open,
		PlainFile: true,
		// Anything can be raw: it is what is left when nothing else matches.
		Probe: func([]byte, string) int { return 1 },
	})
}

// image is an open raw image.
type image struct {
	node   *block.Node
	file   *block.Child
	offset int64
	size   int64 // -1: to the end of the file
}

func open(a *block.OpenArgs) (block.Driver, error) {
	o := a.Opts.(*Options)
	// All of a file is a filter; a part of it needs to know that the rest stays.
	role := block.RoleData | block.RolePrimary
	if o.Offset == nil && o.Size == nil {
		role |= block.RoleFiltered
	}
	file, err := a.OpenChild("file", o.File, role)
	if err != nil {
		return nil, err
	}
	d := &image{node: a.Node, file: file, size: -1}
	if err := a.FollowReadOnly(file); err != nil {
		return nil, err
	}
	if err := d.place(o); err != nil {
		return nil, err
	}
	return d, nil
}

// place checks offset and size against the file.
func (d *image) place(o *Options) error {
	length := d.file.Length()
	offset, size := int64(0), int64(-1)
	if o.Offset != nil {
		if uint64(*o.Offset) > uint64(length) {
			return block.Errorf(block.KindInvalid, "Offset (%d) cannot be greater than size of the containing file (%d)", *o.Offset, length)
		}
		offset = int64(*o.Offset)
	}
	if o.Size != nil {
		if uint64(*o.Size) > uint64(length-offset) {
			return block.Errorf(block.KindInvalid, "The sum of offset (%d) and size (%d) has to be smaller or equal to the actual size of the containing file (%d)", offset, *o.Size, length)
		}
		size = int64(*o.Size)
	}
	d.offset, d.size = offset, size
	return nil
}

func (d *image) Length() (int64, error) {
	if d.size >= 0 {
		return d.size, nil
	}
	return max(0, d.file.Length()-d.offset), nil
}

func (d *image) Limits() block.Limits {
	l := d.file.Node().Limits()
	return block.Limits{
		Align: 1, MemAlign: l.MemAlign, OptTransfer: l.OptTransfer,
		WriteFlags: block.FUA | block.Unchanged,
		ZeroFlags:  block.FUA | block.MayUnmap | block.NoFallback | block.Unchanged,
	}
}

func (d *image) Preadv(off int64, v block.Vec, f block.Flags) error {
	d.file.Debug(block.EventReadAIO)
	return d.file.Preadv(off+d.offset, v, f)
}

// fits refuses what is beyond the part of the file that is the disk.
func (d *image) fits(off, n int64) error {
	if d.size >= 0 && (off > d.size || n > d.size-off) {
		return block.ErrNoSpace
	}
	return nil
}

func (d *image) Pwritev(off int64, v block.Vec, f block.Flags) error {
	if err := d.fits(off, int64(v.Len())); err != nil {
		return err
	}
	d.file.Debug(block.EventWriteAIO)
	return d.file.Pwritev(off+d.offset, v, f)
}

func (d *image) PwriteZeroes(off, n int64, f block.Flags) error {
	if err := d.fits(off, n); err != nil {
		return err
	}
	return d.file.PwriteZeroes(off+d.offset, n, f)
}

func (d *image) Pdiscard(off, n int64) error {
	if err := d.fits(off, n); err != nil {
		return err
	}
	return d.file.Pdiscard(off+d.offset, n)
}

func (d *image) BlockStatus(off, n int64, _ block.StatusFlags) (block.Status, error) {
	return block.Status{
		Flags: block.StatusAllocated | block.StatusOffset | block.StatusRecurse,
		N:     n, File: d.file.Node(), Offset: off + d.offset,
	}, nil
}

// Map implements block.Mapper: everything is where it is.
func (d *image) Map(off, n int64, write bool) (*block.Child, int64, uint32, bool) {
	return d.file, off + d.offset, 0, !write || d.fits(off, n) == nil
}

// Unmap implements block.Mapper.
func (d *image) Unmap(uint32) {}

func (d *image) CopyRange(srcOff int64, dst *block.Node, dstOff, n int64, f block.Flags) error {
	return d.file.CopyRangeTo(srcOff+d.offset, dst, dstOff, n, f)
}

func (d *image) CopyRangeTarget(off, n int64) (*block.Child, int64, error) {
	return d.file, off + d.offset, d.fits(off, n)
}

func (d *image) Truncate(ctx context.Context, size int64, exact bool, p block.Prealloc, f block.Flags) error {
	if d.size >= 0 {
		return block.Errorf(block.KindUnsupported, "Cannot resize fixed-size raw disks")
	}
	return d.file.Truncate(ctx, size+d.offset, exact, p, f)
}

func (d *image) Info() block.Info {
	i := d.file.Node().Info()
	i.Specific, i.Statistics = nil, nil // those are of the file's node
	return i
}

// ExactFileName names the part of the file that the disk is.
func (d *image) ExactFileName() string {
	if d.offset == 0 && d.size < 0 {
		return d.file.Node().FileName()
	}
	own := &qmp.Object{}
	if d.offset != 0 {
		own.Add("offset", d.offset)
	}
	if d.size >= 0 {
		own.Add("size", d.size)
	}
	return block.JSONName("raw", own, d.file.Node())
}

func (d *image) Flush() error { return nil }

func (d *image) Close() {}

func (d *image) PrepareReopen(a *block.ReopenArgs) error {
	old := *d
	a.State = &old
	return d.place(a.Opts.(*Options))
}

func (d *image) CommitReopen(*block.ReopenArgs) {}

func (d *image) AbortReopen(a *block.ReopenArgs) { *d = *a.State.(*image) }
