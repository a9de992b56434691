package copy

import (
	"math/bits"
	"sync"

	"govmd/internal/block"
)

// minUnit is the least that is copied at once, in bytes: less costs more than it saves.
const minUnit = 64 << 10

// Unit returns in what units a target is best written, a power of two: no less than
// its clusters, so that it never has to read the rest of one from elsewhere.
func Unit(target *block.Node) int64 {
	return max(minUnit, int64(1)<<bits.Len64(uint64(max(1, target.Info().ClusterSize)-1)))
}

// Once copies each unit of a source once, for whoever comes first: the guest whose
// write is about to change it (Range), or a job that wants all of it (Next and Do).
// A unit that somebody is copying is waited for. What has failed can be tried again.
type Once struct {
	copy Copy
	unit int64
	todo *block.Bitmap // what has not been begun; nobody but us changes it
	kept *block.Bitmap // what was copied before the source changed; may be nil
	base *block.Node   // what it and those below it have is not copied; nil for none
	live bool          // the source changes, and marks todo

	mu      sync.Mutex // above Bitmap.mu
	head    Flight     // of a ring
	free    *Flight
	flying  int64 // bytes
	waiting int
	landed  sync.Cond
	watch   func(copied, left int64) // may be nil
}

// Flight is a range that is being copied, or held.
type Flight struct {
	next, prev *Flight
	off, n     int64
	held       bool // for reading
}

// NewOnce prepares to copy what todo marks, which is made for this and marks
// nothing itself; its granularity is the unit.
func NewOnce(source, target *block.Child, todo *block.Bitmap) *Once {
	o := &Once{unit: todo.Granularity(), todo: todo}
	o.copy.Source, o.copy.Target = source, target
	o.landed.L = &o.mu
	o.head.next, o.head.prev = &o.head, &o.head
	return o
}

// NewLive prepares to copy what dirty marks again and again, while the source changes
// and marks it. No unit is copied twice at once: what is in the target in the end is
// what was read last.
func NewLive(source, target *block.Child, dirty *block.Bitmap) *Once {
	o := NewOnce(source, target, dirty)
	o.live = true
	return o
}

// Unit returns how many bytes a unit has.
func (o *Once) Unit() int64 { return o.unit }

// Keep has what may change after a Range marked in b, which is made for this, so that Hold
// tells where to find it. It is called before the first copy.
func (o *Once) Keep(b *block.Bitmap) { o.kept = b }

// SetFlags says how the target is written, and whether the host may copy. It is
// called before the first copy.
func (o *Once) SetFlags(f block.Flags, ranged bool) {
	o.copy.Flags, o.copy.ZeroFlags = f&^block.MayUnmap, f&(block.Serialising|block.MayUnmap)
	o.copy.passBy.Store(!ranged)
}

// SetBase leaves out what only base and what is below it have of the source's
// chain. It is called before the first copy.
func (o *Once) SetBase(base *block.Node) { o.base = base }

// Watch has fn told of what is copied, in bytes, and of what is left: now, and from
// now on. It must not wait, or come back here.
func (o *Once) Watch(fn func(copied, left int64)) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.watch = fn
	o.progress(0)
}

// Left returns how many bytes have still to be copied.
func (o *Once) Left() int64 {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.todo.Count() + o.flying
}

// Skip takes a range, whole units, out of what is to be copied. What is being
// copied in it is waited for.
func (o *Once) Skip(off, n int64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.todo.Reset(off, n)
	for o.overlaps(off, n, false) {
		o.wait()
	}
	o.progress(0)
}

// Range returns when all of a range has been copied. read says of an error that it
// is the source's.
func (o *Once) Range(off, n int64) (read bool, err error) {
	from, end := o.units(off, n)
	for {
		f := o.claim(from, end)
		if f == nil {
			return false, nil
		}
		b := block.GetBuffer(int(min(f.n, max(DefaultChunk, o.unit))))
		read, err = o.fly(f, b.B)
		b.Release()
		if err != nil {
			return read, err
		}
	}
}

// claim takes the first part of a range that is to be copied. It returns nil when
// nothing of it is, and nobody is copying any of it.
func (o *Once) claim(from, end int64) *Flight {
	o.mu.Lock()
	defer o.mu.Unlock()
	for {
		o.await(from, end)
		if f := o.take(from, end, end-from); f != nil {
			return f
		}
		if o.settled(from, end) {
			return nil
		}
		o.wait()
	}
}

// await returns when nobody copies a range that may change meanwhile. mu is held.
func (o *Once) await(from, end int64) {
	for o.live && o.overlaps(from, end-from, false) {
		o.wait()
	}
}

// Settled is Range if there is nothing to do or to wait for, and else returns false.
func (o *Once) Settled(off, n int64) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	from, end := o.units(off, n)
	todo, k := o.todo.Alike(from, end-from)
	return !todo && k == end-from && o.settled(from, end)
}

// settled reports whether nobody is at a range, which may change then. mu is held.
func (o *Once) settled(from, end int64) bool {
	if o.overlaps(from, end-from, false) {
		return false
	}
	if o.kept != nil {
		o.kept.Set(from, end-from)
	}
	return true
}

// units returns the whole units that a range touches.
func (o *Once) units(off, n int64) (from, end int64) {
	return off / o.unit * o.unit, (off + n + o.unit - 1) / o.unit * o.unit
}

// Next returns the first range from off on that nobody has begun to copy, of at most
// limit bytes (at least a unit).
func (o *Once) Next(off, limit int64) (p Piece, ok bool) {
	p.Off, p.N, ok = o.todo.NextDirty(off, max(limit, o.unit))
	return p, ok
}

// Do copies what nobody has begun to copy of a piece, by means of a buffer of a unit or
// more. read says of an error that it is the source's.
func (o *Once) Do(p Piece, buf []byte) (read bool, err error) {
	for {
		o.mu.Lock()
		o.await(p.Off, p.Off+p.N)
		f := o.take(p.Off, p.Off+p.N, p.N)
		o.mu.Unlock()
		if f == nil {
			return false, nil
		}
		if read, err = o.fly(f, buf); err != nil {
			return read, err
		}
	}
}

// Settle returns when nothing is being copied.
func (o *Once) Settle() {
	o.mu.Lock()
	defer o.mu.Unlock()
	for o.flying > 0 {
		o.wait()
	}
}

// Trim takes what only the base has of a range, whole units, out of what is to be
// copied.
func (o *Once) Trim(off, n int64) error {
	for end := min(off+n, o.todo.Size()); off < end; {
		k, base, err := o.alike(off, end-off)
		if err != nil {
			return err
		}
		if base {
			o.Skip(off, k)
		}
		off += max(k, 1)
	}
	return nil
}

// take is Take for what begins before end. mu is held.
func (o *Once) take(off, end, limit int64) *Flight {
	start, n, ok := o.todo.TakeDirty(off, end, limit)
	if !ok {
		return nil
	}
	o.flying += n
	return o.start(start, n)
}

// start has others wait for a range. mu is held.
func (o *Once) start(off, n int64) *Flight {
	f := o.free
	if f != nil {
		o.free = f.next
	} else {
		f = new(Flight)
	}
	f.off, f.n, f.held = off, n, false
	f.prev, f.next = o.head.prev, &o.head
	f.prev.next, o.head.prev = f, f
	return f
}

// land ends what start began. mu is held.
func (o *Once) land(f *Flight) {
	f.prev.next, f.next.prev = f.next, f.prev
	f.next, o.free = o.free, f
	if o.waiting > 0 {
		o.landed.Broadcast()
	}
}

// overlaps reports whether any of a range is held or, unless only that is asked, being
// copied. mu is held.
func (o *Once) overlaps(off, n int64, held bool) bool {
	for f := o.head.next; f != &o.head; f = f.next {
		if (f.held || !held) && f.off < off+n && off < f.off+f.n {
			return true
		}
	}
	return false
}

// Hold is for who reads the source as it was: of n bytes from off on the first k are
// either kept in the target, or do not change in the source before Release(f).
func (o *Once) Hold(off, n int64) (f *Flight, k int64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	kept, k := o.kept.Alike(off, n)
	if kept {
		return nil, k
	}
	f = o.start(off, k)
	f.held = true
	return f, k
}

// Release ends a Hold.
func (o *Once) Release(f *Flight) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.land(f)
}

// WaitHeld returns when nothing of a range is held.
func (o *Once) WaitHeld(off, n int64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for o.overlaps(off, n, true) {
		o.wait()
	}
}

// wait returns when something has been copied. mu is held.
func (o *Once) wait() {
	o.waiting++
	o.landed.Wait()
	o.waiting--
}

// progress tells of it. mu is held.
func (o *Once) progress(copied int64) {
	if o.watch != nil {
		o.watch(copied, o.todo.Count()+o.flying)
	}
}
