package filter

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"govmd/internal/block"
	"govmd/internal/block/copy"
)

// CopyBeforeWriteOptions are the options of the driver copy-before-write.
type CopyBeforeWriteOptions struct {
	block.GenericFormat
	Target  block.Ref   `qmp:"target"`
	Bitmap  *BitmapRef  `qmp:"bitmap"`
	OnError *OnCBWError `qmp:"on-cbw-error"`
	Timeout *uint32     `qmp:"cbw-timeout"` // in seconds, 0 for none

	moving bool // as of CopyBeforeWrite
}

// BitmapRef names a dirty bitmap.
type BitmapRef struct {
	Node string `qmp:"node"`
	Name string `qmp:"name"`
}

// OnCBWError says whose loss it is when what was there cannot be copied.
type OnCBWError string

// The values of on-cbw-error.
const (
	BreakGuestWrite OnCBWError = "break-guest-write" // the guest's: its write fails
	BreakSnapshot   OnCBWError = "break-snapshot"    // the snapshot's: reading it fails from then on
)

// EnumValues implements qmp.Enum.
func (OnCBWError) EnumValues() []string {
	return []string{string(BreakGuestWrite), string(BreakSnapshot)}
}

var cbwType = &block.Type{Name: "copy-before-write", Filter: true, Open: openCopyBeforeWrite}

func init() { block.Register[CopyBeforeWriteOptions](cbwType) }

// CopyBeforeWrite keeps what its child held when the filter was made: before
// something changes for the first time it is copied to the target. With a bitmap
// that is so for what the bitmap marks.
type CopyBeforeWrite struct {
	passthrough
	graph   *block.Graph
	node    *block.Node
	target  *block.Child
	options *CopyBeforeWriteOptions

	once   *copy.Once
	todo   *block.Bitmap
	kept   *block.Bitmap // copied before it changed: to be read from the target
	access *block.Bitmap // part of the snapshot, and not discarded there
	broken atomic.Uint32 // the error for which there is no snapshot any more

	moving bool           // users come or go: they may still write past the filter
	late   sync.WaitGroup // copies that a write has not waited for
}

func openCopyBeforeWrite(a *block.OpenArgs) (block.Driver, error) {
	o := a.Opts.(*CopyBeforeWriteOptions)
	p, err := openFile(a, o.File)
	if err != nil {
		return nil, err
	}
	d := &CopyBeforeWrite{passthrough: p, graph: a.Graph, node: a.Node, options: o, moving: o.moving}
	if d.target, err = a.OpenChild("target", o.Target, block.RoleData); err != nil {
		return nil, err
	}
	if err := d.begin(); err != nil {
		d.Close()
		return nil, err
	}
	return d, nil
}

// begin makes the bitmaps; the target's clusters are what they count in.
func (d *CopyBeforeWrite) begin() (err error) {
	unit := copy.Unit(d.target.Node())
	for _, p := range []**block.Bitmap{&d.todo, &d.kept, &d.access} {
		if *p, err = d.file.Node().CreateBitmap("", unit); err != nil {
			return err
		}
		(*p).SetEnabled(false)
	}
	if ref := d.options.Bitmap; ref == nil {
		d.todo.SetAll()
	} else {
		b, err := d.graph.Bitmap(ref.Node, ref.Name)
		if err == nil {
			err = b.Check(block.BitmapAllowRO)
		}
		if err == nil {
			err = d.todo.Merge(b)
		}
		if err != nil {
			return err
		}
	}
	if err := d.access.Merge(d.todo); err != nil {
		return err
	}
	d.once = copy.NewOnce(d.file, d.target, d.todo)
	d.once.Keep(d.kept)
	d.once.SetFlags(d.Flags(), false)
	return nil
}

// Flags returns how the target has to be written: where it falls through to what
// is filtered nobody may read it meanwhile.
func (d *CopyBeforeWrite) Flags() block.Flags {
	if d.target.Node().InChain(d.file.Node().SkipFilters()) {
		return block.Serialising
	}
	return 0
}

// Once returns what copies, Todo what it has not begun to copy.
func (d *CopyBeforeWrite) Once() *copy.Once { return d.once }

// Todo returns the bitmap of what has still to be copied. A job that takes over may
// change it before the first write.
func (d *CopyBeforeWrite) Todo() *block.Bitmap { return d.todo }

// Node returns the filter's node.
func (d *CopyBeforeWrite) Node() *block.Node { return d.node }

// ChildPerm implements block.ChildPermitter. Who writes what is filtered, but for
// those that use the filter, would change the snapshot.
func (d *CopyBeforeWrite) ChildPerm(_ *block.Child, role block.Role, perm, shared block.Perm) (block.Perm, block.Perm) {
	if role&block.RoleFiltered == 0 {
		// The guest's writes to a disk that the target has behind it are no business of
		// the target's; its size has been looked at once.
		return block.PermWrite, block.PermAll &^ block.PermResize
	}
	shared |= block.PermUnchanged
	if d.moving || len(d.node.Parents()) == 0 {
		return perm, shared
	}
	if perm&block.PermWrite != 0 {
		perm |= block.PermRead
	}
	return perm, shared &^ (block.PermWrite | block.PermResize)
}

func (d *CopyBeforeWrite) Pwritev(off int64, v block.Vec, f block.Flags) error {
	if err := d.before(off, int64(v.Len()), f); err != nil {
		return err
	}
	return d.file.Pwritev(off, v, f)
}

func (d *CopyBeforeWrite) PwriteZeroes(off, n int64, f block.Flags) error {
	if err := d.before(off, n, f); err != nil {
		return err
	}
	return d.file.PwriteZeroes(off, n, f)
}

func (d *CopyBeforeWrite) Pdiscard(off, n int64) error {
	if err := d.before(off, n, 0); err != nil {
		return err
	}
	return d.file.Pdiscard(off, n)
}

// before returns when a range may change.
func (d *CopyBeforeWrite) before(off, n int64, f block.Flags) error {
	if f&block.Unchanged != 0 || d.broken.Load() != 0 {
		return nil
	}
	err := d.copy(off, n)
	if err == nil || d.options.OnError == nil || *d.options.OnError == BreakGuestWrite {
		return err
	}
	d.broken.CompareAndSwap(0, uint32(block.Errno(err)))
	// Who reads the snapshot has found it whole.
	d.once.WaitHeld(off, n)
	return nil
}

// copy copies what has to be copied of a range, in the time that there is for it.
func (d *CopyBeforeWrite) copy(off, n int64) error {
	if d.options.Timeout == nil || *d.options.Timeout == 0 || d.once.Settled(off, n) {
		_, err := d.once.Range(off, n)
		return err
	}
	done := make(chan error, 1)
	d.late.Go(func() {
		_, err := d.once.Range(off, n)
		done <- err
	})
	timer := time.NewTimer(time.Duration(*d.options.Timeout) * time.Second)
	defer timer.Stop()
	select {
	case err := <-done:
		return err
	case <-timer.C:
		return unix.ETIMEDOUT
	}
}

// DrainBegin, DrainWait and DrainEnd implement block.Drainer.
func (d *CopyBeforeWrite) DrainBegin() {}

// DrainWait waits for the copies that no write waits for any more.
func (d *CopyBeforeWrite) DrainWait() { d.late.Wait() }

// DrainEnd does nothing: DrainBegin did nothing.
func (d *CopyBeforeWrite) DrainEnd() {}

func (d *CopyBeforeWrite) Close() {
	d.late.Wait()
	for _, b := range []*block.Bitmap{d.todo, d.kept, d.access} {
		if b != nil {
			b.Remove()
		}
	}
}

// ReadSnapshot reads what was there when the filter was made.
func (d *CopyBeforeWrite) ReadSnapshot(off int64, v block.Vec) error {
	for v.Len() > 0 {
		n, err := d.at(off, int64(v.Len()), func(c *block.Child, n int64) error {
			return c.Preadv(off, v.To(int(n)), 0)
		})
		if err != nil {
			return err
		}
		off, v = off+n, v.From(int(n))
	}
	return nil
}

// SnapshotStatus is BlockStatus of what was there when the filter was made.
func (d *CopyBeforeWrite) SnapshotStatus(off, size int64, want block.StatusFlags) (st block.Status, err error) {
	_, err = d.at(off, size, func(c *block.Child, n int64) (err error) {
		if st, _, err = c.Node().BlockStatusAbove(nil, off, n, want); err == nil {
			st.N = min(max(st.N, 1), n)
			st.Flags |= block.StatusAllocated
			// Where the data is now says nothing of where it is later.
			st.Flags &^= block.StatusOffset | block.StatusEOF
			st.File, st.Offset = nil, 0
		}
		return err
	})
	return st, err
}

// at calls fn with the child that has the first n bytes, at most size, of the
// snapshot at off; they stay there until it returns.
func (d *CopyBeforeWrite) at(off, size int64, fn func(c *block.Child, n int64) error) (int64, error) {
	f, n := d.once.Hold(off, size)
	if f != nil {
		defer d.once.Release(f)
	}
	if there, k := d.access.Alike(off, n); d.broken.Load() != 0 || !there || k < n {
		return 0, unix.EACCES
	}
	if f == nil {
		return n, fn(d.target, n)
	}
	return n, fn(d.file, n)
}

// DiscardSnapshot says that a range of the snapshot will not be read any more: it
// is copied no more, and given back in the target.
func (d *CopyBeforeWrite) DiscardSnapshot(off, n int64) error {
	unit := d.once.Unit()
	from, end := (off+unit-1)/unit*unit, off+n
	if end < d.file.Length() {
		end -= end % unit
	}
	if from >= end {
		return nil
	}
	d.access.Reset(from, end-from)
	d.once.Skip(from, end-from)
	return d.target.Pdiscard(from, end-from)
}

// Insert puts a new filter over source, for all that use it, which keeps what
// source holds now in target. name is that of the filter's node, nil for any. It runs
// on the lane, and waits for requests under way.
func Insert(ctx context.Context, g *block.Graph, source, target *block.Node, name *string) (*CopyBeforeWrite, error) {
	n, err := g.InsertFilter(ctx, cbwType, name, &CopyBeforeWriteOptions{
		GenericFormat: block.GenericFormat{File: block.NodeRef(source.Name())}, Target: block.NodeRef(target.Name()), moving: true,
	}, source)
	if err != nil {
		return nil, block.Errorf(block.KindOf(err), "Could not create node: %w", err)
	}
	d := n.Driver().(*CopyBeforeWrite)
	d.moving = false
	if err := n.RefreshPerms(); err != nil {
		d.moving = true
		_ = g.RemoveFilter(ctx, n) // as it was before
		return nil, err
	}
	return d, nil
}

// Remove ends what Insert began: source's users are its own again. It runs on the
// lane, when nothing else uses the filter, and waits for requests under way.
func (d *CopyBeforeWrite) Remove(ctx context.Context) error {
	d.moving = true
	err := d.node.RefreshPerms()
	if err == nil {
		err = d.graph.RemoveFilter(ctx, d.node)
	}
	if err != nil {
		d.moving = false
	}
	return err
}
