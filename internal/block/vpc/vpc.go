// Package vpc is Virtual PC's image format VHD, which QEMU calls vpc: fixed disks, a
// file with a footer, and dynamic ones, in which a table (BAT) has an entry of 4
// bytes for each block of usually 2 MiB, which lies behind a bitmap of its sectors.
//
// Changes of the table stay in memory until a flush. Then the blocks, and the footer
// behind them, are made stable before it. The place of the old footer is the next
// block's: after a crash there may be no footer at the end, and its copy at the
// begin counts.
package vpc

import (
	"context"
	"sync"
	"sync/atomic"

	"govmd/internal/block"
	"govmd/internal/block/maptable"
)

// Options are the options of the driver vpc.
type Options struct{ block.GenericFormat }

func init() {
	block.Register[Options](&block.Type{
		Name: "vpc", Open: open, Probe: probe, Create: create, CreateKeys: createKeys,
	})
	block.RegisterCreate[CreateOptions]("vpc")
}

// entryFree is the entry of a block that is not in the file.
const entryFree = 0xffffffff

// image is an open VHD image.
type image struct {
	file   *block.Child
	footer *footer

	// Of a dynamic disk.
	blockBits  uint
	bitmapSize int64
	bat        *maptable.Table
	marked     []atomic.Uint32 // blocks whose bitmap is known to be all ones

	mu       sync.Mutex // guards what follows; held while a block is allocated
	end      int64      // of the blocks of the file: where the next one goes
	footerAt int64      // where the footer is, -1 if it may be anywhere
}

func (d *image) fixed() bool { return d.footer.typ == typeFixed }

func open(a *block.OpenArgs) (block.Driver, error) {
	file, err := a.OpenChild("file", a.Opts.(*Options).File, block.RoleImage)
	if err != nil {
		return nil, err
	}
	if err := a.FollowReadOnly(file); err != nil {
		return nil, err
	}
	d := &image{file: file}
	return d, d.load()
}

func (d *image) load() (err error) {
	if d.footer, err = readFooter(d.file); err != nil || d.fixed() {
		return err
	}
	return d.loadTable()
}

// Length returns the size of the disk.
func (d *image) Length() (int64, error) { return d.footer.size, nil }

// Limits says that everything is taken.
func (d *image) Limits() block.Limits {
	return block.Limits{
		Align: 1, MemAlign: d.file.Node().Limits().MemAlign, MaxTransfer: 1 << 30, MaxZeroes: 1 << 30,
		WriteFlags: block.Unchanged,
		ZeroFlags:  block.MayUnmap | block.NoFallback | block.Unchanged,
	}
}

// Find implements maptable.Mapper.
func (d *image) Find(off, n int64) (maptable.Place, error) {
	if d.fixed() {
		return maptable.Place{Kind: maptable.Data, N: n, File: d.file, Off: off}, nil
	}
	in := off & (1<<d.blockBits - 1)
	p := maptable.Place{N: min(n, 1<<d.blockBits-in)}
	e, err := d.bat.Get(off >> d.blockBits)
	if err == nil && e != entryFree {
		p.Kind, p.File, p.Off = maptable.Data, d.file, int64(e)*sectorSize+d.bitmapSize+in
	}
	return p, err
}

// FindForWrite implements maptable.Mapper.
func (d *image) FindForWrite(off, n int64) (maptable.Place, error) {
	p, err := d.Find(off, n)
	i := off >> d.blockBits
	if err != nil || d.fixed() || d.marked[i>>5].Load()>>(i&31)&1 != 0 {
		return p, err
	}
	if err := d.prepare(i); err != nil {
		return p, err
	}
	return d.Find(off, n)
}

// prepare has a block be in the file, and its bitmap say that all of it is data.
func (d *image) prepare(i int64) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	e, err := d.bat.Get(i)
	if err != nil {
		return err
	}
	begin, size := int64(e)*sectorSize, d.bitmapSize+1<<d.blockBits
	if e == entryFree {
		begin = d.end
		if begin/sectorSize >= entryFree {
			return block.ErrNoSpace
		}
		if err := maptable.Claim(d.file, begin, begin+size); err != nil {
			return err
		}
	}
	// All of the sectors count as written, since all of them read as they should.
	ones := block.GetBuffer(int(d.bitmapSize))
	defer ones.Release()
	for k := range ones.B {
		ones.B[k] = 0xff
	}
	if err := d.file.Pwrite(begin, ones.B); err != nil {
		return err
	}
	if e == entryFree {
		if err := d.bat.Set(i, uint64(begin/sectorSize)); err != nil {
			return err
		}
		d.end += size
	}
	d.marked[i>>5].Or(1 << (i & 31))
	return nil
}

func (d *image) Preadv(off int64, v block.Vec, _ block.Flags) error {
	return maptable.Preadv(d, nil, off, v)
}

func (d *image) Pwritev(off int64, v block.Vec, f block.Flags) error {
	if err := maptable.Pwritev(d, off, v, f); err != nil {
		return err
	}
	if !d.fixed() && d.bat.Full() {
		return d.Flush()
	}
	return nil
}

// PwriteZeroes leaves out what reads as zeroes for not being there.
func (d *image) PwriteZeroes(off, n int64, f block.Flags) error {
	return maptable.PwriteZeroes(d, false, off, n, f)
}

func (d *image) BlockStatus(off, n int64, _ block.StatusFlags) (block.Status, error) {
	st, err := maptable.BlockStatus(d, false, off, n)
	if d.fixed() {
		st.Flags |= block.StatusRecurse
	}
	return st, err
}

// Map implements block.Mapper: a block that has a place keeps it.
func (d *image) Map(off, n int64, write bool) (*block.Child, int64, uint32, bool) {
	i := off >> d.blockBits
	if !d.fixed() && write && d.marked[i>>5].Load()>>(i&31)&1 == 0 {
		return nil, 0, 0, false
	}
	return maptable.Map(d, d.bat, i, off, n)
}

// Unmap implements block.Mapper.
func (d *image) Unmap(uint32) {}

// Flush writes the table back, behind blocks and footer.
func (d *image) Flush() error {
	if d.fixed() {
		return nil
	}
	return d.bat.WriteBack(func() error {
		if err := d.storeFooter(); err != nil {
			return err
		}
		return d.file.Flush()
	})
}

// storeFooter writes the footer behind the last block.
func (d *image) storeFooter() error {
	d.mu.Lock() // a block that is allocated now would get its bitmap there
	defer d.mu.Unlock()
	if d.footerAt == d.end {
		return nil
	}
	err := d.file.Pwrite(d.end, d.footer.raw[:])
	if err == nil {
		d.footerAt = d.end
	}
	return err
}

// Close writes what is left. A failure has been met by those who flushed.
func (d *image) Close() { _ = d.Flush() }

// Info says what is known of the image.
func (d *image) Info() block.Info {
	if d.fixed() {
		return block.Info{AllocatedBytes: -1, ZeroInit: d.file.Node().Info().ZeroInit}
	}
	return block.Info{ClusterSize: 1 << d.blockBits, AllocatedBytes: -1, ZeroInit: true, UnallocZero: true}
}

// Inactivate writes everything back.
func (d *image) Inactivate() error { return d.Flush() }

// Activate reads everything anew: another process has had the image.
func (d *image) Activate(context.Context) error { return d.load() }

// PrepareReopen writes back what a read-only image could not.
func (d *image) PrepareReopen(*block.ReopenArgs) error { return d.Flush() }

// CommitReopen implements block.Reopener.
func (d *image) CommitReopen(*block.ReopenArgs) {}

// AbortReopen implements block.Reopener.
func (d *image) AbortReopen(*block.ReopenArgs) {}
