package block

import (
	"math/bits"
	"slices"
	"sync"
)

// Bitmap remembers which parts of a node have been written. The data path marks;
// everything else runs on the lane or in a job that has made the bitmap busy.
type Bitmap struct {
	node  *Node
	name  string // "" for a job's own
	shift uint   // log2 of the granularity

	mu           sync.Mutex
	bits         bitset
	size         int64
	disabled     bool
	persistent   bool
	readonly     bool // of a read-only image: nothing may be marked
	inconsistent bool // found in use: only good for removal
	busy         bool
	skipStore    bool // migrated: whoever has the image now stores it
	successor    *Bitmap
}

// MinGranularity and MaxGranularity bound how many bytes a bit stands for.
const (
	MinGranularity = 1 << 9
	MaxGranularity = 1 << 31
)

// maxBitmap bounds a bitmap's memory (in bits): 128 MiB.
const maxBitmap = 1 << 30

// DefaultGranularity returns how many bytes a bit of a new bitmap stands for: the
// cluster size, within 4 KiB and 64 KiB.
func (n *Node) DefaultGranularity() int64 {
	if c := int64(n.Info().ClusterSize); c > 0 {
		return max(4096, min(c, 65536))
	}
	return 65536
}

// CreateBitmap adds a bitmap; name is "" for one that only its creator knows.
func (n *Node) CreateBitmap(name string, granularity int64) (*Bitmap, error) {
	if granularity < MinGranularity || granularity > MaxGranularity || granularity&(granularity-1) != 0 {
		if granularity < MinGranularity {
			return nil, Errorf(KindInvalid, "Granularity must be at least %d", MinGranularity)
		}
		return nil, Errorf(KindInvalid, "Granularity must be a power of 2 of at most %d", int64(MaxGranularity))
	}
	if len(name) > 1023 {
		return nil, Errorf(KindInvalid, "Bitmap name too long: %s", name)
	}
	size := n.Length()
	if size/granularity > maxBitmap {
		return nil, Errorf(KindInvalid, "Granularity %d is too small for an image of %d bytes", granularity, size)
	}
	b := &Bitmap{node: n, name: name, shift: uint(bits.TrailingZeros64(uint64(granularity))), size: size}
	b.bits.resize(b.bitsFor(size))
	n.bmMu.Lock()
	defer n.bmMu.Unlock()
	list := n.Bitmaps()
	if name != "" && n.Bitmap(name) != nil {
		return nil, Errorf(KindInUse, "Bitmap already exists: %s", name)
	}
	list = append(slices.Clone(list), b)
	n.bitmaps.Store(&list)
	return b, nil
}

func (b *Bitmap) bitsFor(size int64) int { return int((size + 1<<b.shift - 1) >> b.shift) }

// Bitmaps returns the node's bitmaps; the slice must not be changed.
func (n *Node) Bitmaps() []*Bitmap {
	if p := n.bitmaps.Load(); p != nil {
		return *p
	}
	return nil
}

// Bitmap returns the bitmap of that name, or nil.
func (n *Node) Bitmap(name string) *Bitmap {
	for _, b := range n.Bitmaps() {
		if b.name == name && name != "" {
			return b
		}
	}
	return nil
}

// Bitmap returns the bitmap of that name of a node, or of the medium of a drive.
func (g *Graph) Bitmap(node, name string) (*Bitmap, error) {
	n, err := g.Lookup(node, node)
	if err != nil {
		return nil, Errorf(KindNotFound, "Node '%s' not found", node)
	}
	if b := n.Bitmap(name); b != nil {
		return b, nil
	}
	return nil, Errorf(KindNotFound, "Dirty bitmap '%s' not found", name)
}

// Remove takes the bitmap from its node. What is stored of it in the image is
// not touched (BitmapStore does that).
func (b *Bitmap) Remove() {
	n := b.node
	n.bmMu.Lock()
	defer n.bmMu.Unlock()
	list := slices.DeleteFunc(slices.Clone(n.Bitmaps()), func(x *Bitmap) bool { return x == b })
	if len(list) == 0 {
		n.bitmaps.Store(nil)
		return
	}
	n.bitmaps.Store(&list)
}

// Name returns the bitmap's name, Node its node, Granularity how many bytes a bit
// stands for, Size how many bytes it covers.
func (b *Bitmap) Name() string       { return b.name }
func (b *Bitmap) Node() *Node        { return b.node }
func (b *Bitmap) Granularity() int64 { return 1 << b.shift }
func (b *Bitmap) Size() int64        { return b.size }

// mark is the data path's.
func (b *Bitmap) mark(off, n int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.disabled || b.readonly {
		if s := b.successor; s != nil {
			s.markLocked(off, n)
		}
		return
	}
	b.markLocked(off, n)
}

func (b *Bitmap) markLocked(off, n int64) {
	if !b.disabled {
		b.bits.set(b.granules(off, n))
	}
}

// granules returns which bits a range touches: those from from on, before to.
func (b *Bitmap) granules(off, n int64) (from, to int) {
	if n <= 0 || off >= b.size {
		return 0, 0
	}
	return int(off >> b.shift), int((min(off+n, b.size)-1)>>b.shift) + 1
}

// Set marks a range.
func (b *Bitmap) Set(off, n int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.bits.set(b.granules(off, n))
}

// Reset clears a range; its ends are those of whole granules.
func (b *Bitmap) Reset(off, n int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.bits.reset(b.granules(off, n))
}

// Get reports whether the granule at off is marked.
func (b *Bitmap) Get(off int64) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return off >= 0 && off < b.size && b.bits.get(int(off>>b.shift))
}

// NextDirty returns the first marked range at or after off: whole granules, at most
// limit bytes (0: any number). ok is false when there is none.
func (b *Bitmap) NextDirty(off, limit int64) (start, n int64, ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if off >= b.size {
		return 0, 0, false // within the last granule, too
	}
	i := b.bits.next(int(max(off, 0)>>b.shift), true)
	if i < 0 {
		return 0, 0, false
	}
	start = max(int64(i)<<b.shift, off)
	end := b.bits.nextIn(i, b.endFor(start, limit), false)
	return start, min(int64(end)<<b.shift, b.size) - start, true
}

// Alike returns how many bytes from off on, at most n, are all marked or all not, and
// which. What is beyond the end is not marked.
func (b *Bitmap) Alike(off, n int64) (marked bool, k int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	from, to := b.granules(off, n)
	if from == to {
		return false, n
	}
	marked = b.bits.get(from)
	if end := b.bits.nextIn(from, to, !marked); end < to {
		return marked, int64(end)<<b.shift - off
	}
	if !marked {
		return false, n
	}
	return true, min(n, b.size-off)
}

func (b *Bitmap) endFor(start, limit int64) int {
	if limit <= 0 || limit > b.size-start {
		return b.bits.n
	}
	return max(int((start+limit)>>b.shift), int(start>>b.shift)+1)
}

// TakeDirty is NextDirty and Reset at once, for who copies what is marked while the
// guest goes on marking. It looks at granules that begin before end (0: all of them).
func (b *Bitmap) TakeDirty(off, end, limit int64) (start, n int64, ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if end <= 0 || end > b.size {
		end = b.size
	}
	last := b.bitsFor(end)
	i := b.bits.nextIn(int(max(off, 0)>>b.shift), last, true)
	if i >= last {
		return 0, 0, false
	}
	start = int64(i) << b.shift
	to := b.bits.nextIn(i, min(last, b.endFor(start, limit)), false)
	b.bits.reset(i, to)
	return start, min(int64(to)<<b.shift, b.size) - start, true
}

// Count returns how many bytes are marked.
func (b *Bitmap) Count() int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	count := int64(b.bits.count) << b.shift
	if b.bits.n > 0 && b.bits.get(b.bits.n-1) {
		count -= int64(b.bits.n)<<b.shift - b.size
	}
	return count
}

// Clear unmarks everything and returns what was marked, for Restore.
func (b *Bitmap) Clear() (backup []uint64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	backup = b.bits.words
	b.bits.words = make([]uint64, len(backup))
	b.bits.count = 0
	return backup
}

// Restore takes back a Clear.
func (b *Bitmap) Restore(backup []uint64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.bits.load(backup)
}

// SetAll marks everything.
func (b *Bitmap) SetAll() { b.Set(0, b.size) }

// Words returns a copy of the bits, granule i being bit i%64 of word i/64.
func (b *Bitmap) Words() []uint64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.bits.words)
}

// Merge marks here whatever is marked in src, whatever the granularities. The
// sizes must be the same.
func (b *Bitmap) Merge(src *Bitmap) error {
	if b.size != src.size {
		return Errorf(KindInvalid, "Bitmaps are of different sizes (destination size is %d and source size is %d) and can't be merged", b.size, src.size)
	}
	for off := int64(0); ; {
		start, n, ok := src.NextDirty(off, 0)
		if !ok {
			return nil
		}
		b.Set(start, n)
		off = start + n
	}
}

func (b *Bitmap) truncate(size int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.size = size
	b.bits.resize(b.bitsFor(size))
	if b.successor != nil {
		b.successor.truncate(size)
	}
}
