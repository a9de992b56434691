package filter

import (
	"context"
	"sync"
	"sync/atomic"

	"govmd/internal/block"
	"govmd/internal/qmp"
)

// PreallocateOptions are the options of the driver preallocate.
type PreallocateOptions struct {
	block.GenericFormat
	Align *qmp.Size `qmp:"prealloc-align"`
	Size  *qmp.Size `qmp:"prealloc-size"`
}

// What preallocation begins with.
const (
	defaultAlign = 1 << 20
	defaultAhead = 128 << 20
)

func init() {
	block.Register[PreallocateOptions](&block.Type{Name: "preallocate", Filter: true, Open: openPreallocate})
}

// preallocate has a file that grows by writes grow ahead of them, so that the
// host's file system is asked for space seldom and in large pieces. What is ahead
// of the data is not seen from above, and goes when the file is not written any
// more. It does so only while nobody else can change the file's size.
type preallocate struct {
	passthrough
	sizes

	// own and end are read anywhere: Length is asked for in the middle of what
	// holds mu. They and has change under mu.
	mu  sync.RWMutex
	own atomic.Bool  // the file's size is ours to change
	end atomic.Int64 // of the data
	has int64        // size of the file, at least end
}

// sizes are what options say.
type sizes struct{ align, ahead int64 }

func (o *PreallocateOptions) sizes() (s sizes, err error) {
	s = sizes{defaultAlign, defaultAhead}
	if o.Align != nil {
		s.align = int64(*o.Align)
	}
	if o.Size != nil {
		s.ahead = int64(*o.Size)
	}
	const most = 1 << 40
	if s.align <= 0 || s.align > most || s.align%512 != 0 {
		return s, block.Errorf(block.KindInvalid, "prealloc-align parameter of preallocate filter is not aligned to 512")
	}
	if s.ahead < 0 || s.ahead > most {
		return s, block.Errorf(block.KindInvalid, "prealloc-size parameter of preallocate filter is out of range")
	}
	return s, nil
}

func openPreallocate(a *block.OpenArgs) (block.Driver, error) {
	o := a.Opts.(*PreallocateOptions)
	s, err := o.sizes()
	if err != nil {
		return nil, err
	}
	p, err := openFile(a, o.File)
	if err != nil {
		return nil, err
	}
	n := p.file.Length()
	d := &preallocate{passthrough: p, sizes: s, has: n}
	d.end.Store(n)
	return d, nil
}

// ChildPerm implements block.ChildPermitter.
func (d *preallocate) ChildPerm(_ *block.Child, _ block.Role, perm, shared block.Perm) (block.Perm, block.Perm) {
	if perm&(block.PermWrite|block.PermResize) != 0 {
		perm |= block.PermResize | block.PermWrite
		shared &^= block.PermResize
	}
	return perm, shared | block.PermUnchanged
}

// CheckPerm, SetPerm and AbortPerm implement block.Permitter.
func (d *preallocate) CheckPerm(_, _ block.Perm) error { return nil }

// SetPerm gives what is ahead back when nobody writes any more.
func (d *preallocate) SetPerm(perm, _ block.Perm) {
	d.mu.Lock()
	defer d.mu.Unlock()
	own := perm&(block.PermWrite|block.PermResize) != 0
	if d.own.Load() && !own {
		d.giveBack()
	}
	if !d.own.Load() && own {
		d.has = d.file.Length()
		d.end.Store(d.has)
	}
	d.own.Store(own)
}

// AbortPerm does nothing: CheckPerm did nothing.
func (d *preallocate) AbortPerm() {}

// giveBack cuts off what is ahead. When that fails the file stays larger than it
// need be, which does no harm.
func (d *preallocate) giveBack() {
	end := d.end.Load()
	if d.has > end && d.file.Truncate(context.Background(), end, true, block.PreallocOff, 0) == nil {
		d.has = end
	}
}

func (d *preallocate) Length() (int64, error) {
	if d.own.Load() {
		return d.end.Load(), nil
	}
	return d.file.Length(), nil
}

// reach has the file reach beyond end, if that is ours to see to, and returns
// whether zeroes that are written there are there already.
func (d *preallocate) reach(off, end int64) (zero bool) {
	if !d.own.Load() || end <= d.end.Load() {
		return false
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.own.Load() {
		return false
	}
	old := d.end.Load()
	fresh := off >= old // zero so far, if the file reaches there
	d.end.Store(max(old, end))
	if end > d.has {
		to := (end + d.ahead + d.align - 1) / d.align * d.align
		from := d.has
		if d.file.PwriteZeroes(from, to-from, block.NoFallback) != nil {
			return false // the write itself makes the file grow
		}
		d.has = to
	}
	return fresh
}

func (d *preallocate) Pwritev(off int64, v block.Vec, f block.Flags) error {
	d.reach(off, off+int64(v.Len()))
	err := d.file.Pwritev(off, v, f)
	d.grown(off + int64(v.Len()))
	return err
}

func (d *preallocate) PwriteZeroes(off, n int64, f block.Flags) error {
	if d.reach(off, off+n) && f&block.FUA == 0 {
		return nil
	}
	err := d.file.PwriteZeroes(off, n, f)
	d.grown(off + n)
	return err
}

// grown notes that a write has made the file larger by itself.
func (d *preallocate) grown(end int64) {
	d.mu.RLock()
	small := d.own.Load() && end > d.has
	d.mu.RUnlock()
	if small {
		d.mu.Lock()
		d.has = max(d.has, min(end, d.file.Length()))
		d.mu.Unlock()
	}
}

func (d *preallocate) Truncate(ctx context.Context, size int64, exact bool, m block.Prealloc, f block.Flags) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.own.Load() {
		if m == block.PreallocOff && size >= d.end.Load() && size <= d.has {
			d.end.Store(size) // what is ahead is zero
			return nil
		}
		d.giveBack()
	}
	if err := d.file.Truncate(ctx, size, exact, m, f); err != nil {
		return err
	}
	d.end.Store(size)
	d.has = d.file.Length()
	return nil
}

func (d *preallocate) BlockStatus(off, n int64, want block.StatusFlags) (block.Status, error) {
	return block.Status{Flags: block.StatusOffset | block.StatusRecurse, N: n, File: d.file.Node(), Offset: off}, nil
}

func (d *preallocate) PrepareReopen(a *block.ReopenArgs) error {
	s, err := a.Opts.(*PreallocateOptions).sizes()
	a.State = s
	return err
}

func (d *preallocate) CommitReopen(a *block.ReopenArgs) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.sizes = a.State.(sizes)
}

func (d *preallocate) AbortReopen(*block.ReopenArgs) {}

func (d *preallocate) Close() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.own.Load() {
		d.giveBack()
	}
}
