// Package vdi is VirtualBox's image format VDI, version 1.1: a header, a map with an
// entry of 4 bytes for each MiB of the disk, and those of the disk's blocks that have
// been written, in the order in which they were.
//
// Changes of the map stay in memory until a flush. Then what they refer to is made
// stable, with the header, whose number of blocks says where the next one goes, and
// the map is written after that: a crash leaks blocks at worst.
package vdi

import (
	"context"
	"sync"

	"govmd/internal/block"
	"govmd/internal/block/maptable"
)

// Options are the options of the driver vdi.
type Options struct{ block.GenericFormat }

func init() {
	block.Register[Options](&block.Type{
		Name: "vdi", Open: open, Probe: probe, Create: create, CreateKeys: createKeys, CreateFixup: fixup,
	})
	block.RegisterCreate[CreateOptions]("vdi")
}

// image is an open VDI image.
type image struct {
	file *block.Child
	hdr  header // but for allocated, it stays as it is
	bmap *maptable.Table

	mu     sync.Mutex // guards what follows; held while a block is allocated
	next   int64      // the next block of the file
	stored int64      // what the header has as blocks_allocated
}

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

// load reads the header and examines the map.
func (d *image) load() error {
	p := make([]byte, headerSize)
	if err := d.file.Pread(0, p); err != nil {
		return block.Unreadable(d.file, "cannot read the VDI header", err)
	}
	h, err := parse(d.file, p)
	if err != nil {
		return err
	}
	d.hdr, d.next, d.stored = *h, h.allocated, h.allocated
	d.bmap = maptable.New(maptable.Config{
		File: d.file, Width: 4, Order: le, PageBits: 10, Entries: h.blocks,
		Where: func(page int64) int64 { return h.mapOff + page<<12 },
	})
	return d.scan(func(i, entry int64) error {
		if entry >= h.blocks {
			return block.Malformed(d.file, h.mapOff+i*4, "entry of the block map", "block %d is in place %d of %d", i, entry, h.blocks)
		}
		// A crash may have left the map ahead of the header.
		d.next = max(d.next, entry+1)
		return nil
	})
}

// scan calls fn with each entry of the map that is a place in the file.
func (d *image) scan(fn func(i, entry int64) error) error {
	b := block.GetBuffer(1 << 20)
	defer b.Release()
	for i := int64(0); i < d.hdr.blocks; {
		p := b.B[:min(int64(len(b.B)), (d.hdr.blocks-i)*4)]
		if err := d.file.Pread(d.hdr.mapOff+i*4, p); err != nil {
			return block.Unreadable(d.file, "cannot read the VDI block map", err)
		}
		for ; len(p) > 0; i, p = i+1, p[4:] {
			if e := le.Uint32(p); e < entryDiscarded {
				if err := fn(i, int64(e)); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// Length returns the size of the disk.
func (d *image) Length() (int64, error) { return d.hdr.size, nil }

// Limits says that everything is taken.
func (d *image) Limits() block.Limits {
	return block.Limits{
		Align: 1, MemAlign: d.file.Node().Limits().MemAlign, MaxTransfer: 1 << 30, MaxZeroes: 1 << 30, OptTransfer: blockSize,
		WriteFlags: block.Unchanged,
		ZeroFlags:  block.MayUnmap | block.NoFallback | block.Unchanged,
	}
}

// Find implements maptable.Mapper.
func (d *image) Find(off, n int64) (maptable.Place, error) {
	in := off & (blockSize - 1)
	p := maptable.Place{N: min(n, blockSize-in)}
	e, err := d.bmap.Get(off >> blockBits)
	if err == nil && e < entryDiscarded {
		p.Kind, p.File, p.Off = maptable.Data, d.file, d.place(int64(e))+in
	}
	return p, err
}

// place returns where a block of the file begins.
func (d *image) place(entry int64) int64 { return d.hdr.dataOff + entry<<blockBits }

// FindForWrite implements maptable.Mapper.
func (d *image) FindForWrite(off, n int64) (maptable.Place, error) {
	p, err := d.Find(off, n)
	if err != nil || p.Kind == maptable.Data {
		return p, err
	}
	if err := d.allocate(off >> blockBits); err != nil {
		return p, err
	}
	return d.Find(off, n)
}

func (d *image) Preadv(off int64, v block.Vec, _ block.Flags) error {
	return maptable.Preadv(d, nil, off, v)
}

func (d *image) Pwritev(off int64, v block.Vec, f block.Flags) error {
	if err := maptable.Pwritev(d, off, v, f); err != nil {
		return err
	}
	if d.bmap.Full() {
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
	if d.hdr.typ == typeStatic && st.Flags&block.StatusData != 0 {
		st.Flags |= block.StatusRecurse
	}
	return st, err
}

// Map implements block.Mapper: a block that has a place keeps it.
func (d *image) Map(off, n int64, _ bool) (*block.Child, int64, uint32, bool) {
	return maptable.Map(d, d.bmap, off>>blockBits, off, n)
}

// Unmap implements block.Mapper.
func (d *image) Unmap(uint32) {}

// allocate gives a block, unless another has just done so, a place that reads as zeroes.
func (d *image) allocate(i int64) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if e, err := d.bmap.Get(i); err != nil || e < entryDiscarded {
		return err
	}
	if d.next >= d.hdr.blocks {
		return block.ErrIO // there are as many places as blocks: two blocks share one
	}
	begin := d.place(d.next)
	if err := maptable.Claim(d.file, begin, begin+blockSize); err != nil {
		return err
	}
	if err := d.bmap.Set(i, uint64(d.next)); err != nil {
		return err
	}
	d.next++
	return nil
}

// Flush writes the map back, in order.
func (d *image) Flush() error {
	return d.bmap.WriteBack(func() error {
		d.mu.Lock()
		next, stored := d.next, d.stored
		d.mu.Unlock()
		if next != stored {
			var p [4]byte
			le.PutUint32(p[:], uint32(next))
			if err := d.file.Pwrite(offAllocated, p[:]); err != nil {
				return err
			}
		}
		if err := d.file.Flush(); err != nil {
			return err
		}
		d.mu.Lock()
		d.stored = next
		d.mu.Unlock()
		return nil
	})
}

// Close writes what is left. A failure has been met by those who flushed.
func (d *image) Close() { _ = d.Flush() }

// Info says what is known of the image.
func (d *image) Info() block.Info {
	return block.Info{ClusterSize: blockSize, AllocatedBytes: -1, ZeroInit: d.zeroInit(), UnallocZero: true}
}

// zeroInit reports whether a new image reads as zeroes: a static one is its file's space.
func (d *image) zeroInit() bool {
	return d.hdr.typ != typeStatic || d.file.Node().Info().ZeroInit
}

// Check compares the map with the header. It repairs nothing.
func (d *image) Check(_ context.Context, fix block.Fix) (r block.CheckResult, err error) {
	if fix != 0 {
		return r, block.ErrUnsupp
	}
	if err := d.Flush(); err != nil {
		return r, err
	}
	used := make([]uint64, (d.hdr.blocks+63)/64)
	count := int64(0)
	err = d.scan(func(_, entry int64) error {
		count++
		if w, bit := entry>>6, uint64(1)<<(entry&63); used[w]&bit != 0 {
			r.Corruptions++
		} else {
			used[w] |= bit
		}
		return nil
	})
	if count != d.stored {
		r.Corruptions++
	}
	return r, err
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
