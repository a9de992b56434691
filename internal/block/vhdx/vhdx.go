// Package vhdx reads Hyper-V's image format VHDX (MS-VHDX), dynamic and fixed. It
// does not write: an image whose log has to be replayed first is refused too.
package vhdx

import (
	"context"

	"govmd/internal/block"
	"govmd/internal/block/maptable"
)

// Options are the options of the driver vhdx.
type Options struct{ block.GenericFormat }

func init() {
	block.Register[Options](&block.Type{Name: "vhdx", Open: open, Probe: probe})
}

func probe(head []byte, _ string) int {
	if len(head) >= 8 && string(head[:8]) == "vhdxfile" {
		return 100
	}
	return 0
}

// States of a block, the lowest bits of its entry.
const (
	statePresent = 6
	statePartly  = 7
	stateMask    = 7
	offsetMask   = ^uint64(mib - 1)
)

// image is an open VHDX image.
type image struct {
	file   *block.Child
	layout layout
	bat    *maptable.Table
}

func open(a *block.OpenArgs) (block.Driver, error) {
	file, err := a.OpenChild("file", a.Opts.(*Options).File, block.RoleImage)
	if err != nil {
		return nil, err
	}
	if !a.Settings().ReadOnly {
		if err := a.SetReadOnly(errWrite(file)); err != nil {
			return nil, err
		}
	}
	d := &image{file: file}
	return d, d.load()
}

func errWrite(file *block.Child) error {
	return block.Errorf(block.KindUnsupported, "Image '%s': writing to VHDX images is not supported: open it read-only", file.Node().FileName())
}

// load reads what describes the image and examines its table.
func (d *image) load() error {
	l, err := readLayout(d.file)
	if err != nil {
		return err
	}
	dirty, err := l.needsReplay(d.file)
	if err != nil {
		return err
	}
	if dirty {
		return block.Errorf(block.KindUnsupported, "VHDX image file '%s' opened read-only, but contains a log that needs to be replayed. To replay the log, run: qemu-img check -r all '%s'",
			d.file.Node().FileName(), d.file.Node().FileName())
	}
	d.layout = *l
	d.bat = maptable.New(maptable.Config{
		File: d.file, Width: 8, Order: le, PageBits: 9, Entries: l.entries(),
		Where: func(page int64) int64 { return l.bat.off + page<<12 },
	})
	return d.scan()
}

// scan checks where the entries of the table say that blocks are.
func (d *image) scan() error {
	l, length := &d.layout, d.file.Length()
	b := block.GetBuffer(mib)
	defer b.Release()
	for i, n := int64(0), l.entries(); i < n; {
		p := b.B[:min(mib, (n-i)*8)]
		if err := d.file.Pread(l.bat.off+i*8, p); err != nil {
			return block.Unreadable(d.file, "cannot read the VHDX block allocation table", err)
		}
		for ; len(p) > 0; i, p = i+1, p[8:] {
			e := le.Uint64(p)
			if e&stateMask != statePresent || (i+1)%(l.chunkRatio()+1) == 0 {
				continue
			}
			x := extent{int64(e & offsetMask), 1 << l.blockBits}
			if x.off < mib || x.off > length {
				return block.Malformed(d.file, l.bat.off+i*8, "BAT entry", "entry %d points to %#x, outside of the file", i, uint64(x.off))
			}
			for _, o := range []extent{l.bat, l.metadata, l.log} {
				if x.overlaps(o) {
					return block.Malformed(d.file, l.bat.off+i*8, "BAT entry", "entry %d points to %#x, which overlaps metadata", i, x.off)
				}
			}
		}
	}
	return nil
}

// Find implements maptable.Mapper.
func (d *image) Find(off, n int64) (maptable.Place, error) {
	in := off & (1<<d.layout.blockBits - 1)
	p := maptable.Place{N: min(n, 1<<d.layout.blockBits-in)}
	e, err := d.bat.Get(d.layout.entry(off >> d.layout.blockBits))
	switch {
	case err != nil:
		return p, err
	case e&stateMask == statePresent:
		p.Kind, p.File, p.Off = maptable.Data, d.file, int64(e&offsetMask)+in
	case e&stateMask == statePartly:
		return p, block.ErrIO // only a differencing image has such
	}
	return p, nil
}

// FindForWrite implements maptable.Mapper.
func (d *image) FindForWrite(_, n int64) (maptable.Place, error) {
	return maptable.Place{N: n}, block.ErrReadOnly
}

// Length returns the size of the disk.
func (d *image) Length() (int64, error) { return d.layout.size, nil }

// Limits says that everything is taken.
func (d *image) Limits() block.Limits {
	return block.Limits{Align: 1, MemAlign: d.file.Node().Limits().MemAlign, MaxTransfer: 1 << 30}
}

func (d *image) Preadv(off int64, v block.Vec, _ block.Flags) error {
	return maptable.Preadv(d, nil, off, v)
}

// Map implements block.Mapper.
func (d *image) Map(off, n int64, _ bool) (*block.Child, int64, uint32, bool) {
	return maptable.Map(d, d.bat, d.layout.entry(off>>d.layout.blockBits), off, n)
}

// Unmap implements block.Mapper.
func (d *image) Unmap(uint32) {}

// Pwritev is not called: the node is read-only.
func (d *image) Pwritev(int64, block.Vec, block.Flags) error { return block.ErrReadOnly }

func (d *image) BlockStatus(off, n int64, _ block.StatusFlags) (block.Status, error) {
	return maptable.BlockStatus(d, false, off, n)
}

// Flush has nothing to do.
func (d *image) Flush() error { return nil }

// Close has nothing to do.
func (d *image) Close() {}

// Info says what is known of the image.
func (d *image) Info() block.Info {
	return block.Info{ClusterSize: 1 << d.layout.blockBits, AllocatedBytes: -1, UnallocZero: true}
}

// Check finds nothing wrong: opening has examined the image. It repairs nothing.
func (d *image) Check(_ context.Context, fix block.Fix) (r block.CheckResult, err error) {
	if fix != 0 {
		return r, block.ErrUnsupp
	}
	return r, nil
}

// Inactivate has nothing to do.
func (d *image) Inactivate() error { return nil }

// Activate reads everything anew: another process has had the image.
func (d *image) Activate(context.Context) error { return d.load() }

// PrepareReopen refuses to become writable.
func (d *image) PrepareReopen(a *block.ReopenArgs) error {
	if !a.Set.ReadOnly {
		return errWrite(d.file)
	}
	return nil
}

// CommitReopen implements block.Reopener.
func (d *image) CommitReopen(*block.ReopenArgs) {}

// AbortReopen implements block.Reopener.
func (d *image) AbortReopen(*block.ReopenArgs) {}
