package memory

import (
	"fmt"
	"math/bits"
	"slices"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// Dirty pages. A consumer (migration, display, dirty rate) that is active has a
// bitmap over each block it is interested in, in pages of PageSize. What this
// process writes sets bits in all of a block's bitmaps as it is written; what
// others write (the guest, vhost) is known to sources, and a harvest by any
// consumer asks the sources and feeds all of them.
//
// A page is marked after it was written, by a locked instruction, and a consumer
// clears the mark before it reads the page, by another: so it sees the write, or
// the mark again.

// DirtySource knows of writes to blocks by others than this process's Go code.
type DirtySource interface {
	// SetLogging starts or stops the logging of writes to b. It is called with
	// the topology lock held; Block.Logging says already what it will be.
	SetLogging(b *Block, on bool) error
	// Sync takes the pages that were written since it was last called from the
	// source's log and marks them: bit i of bits is page page+i of b. It is
	// called for blocks with logging on, never twice at a time. It must not need
	// the topology lock.
	//
	// A source that loses its log, as KVM's does with a memory slot, gives it to
	// Block.MarkPages before.
	Sync(b *Block, mark func(page, bits uint64)) error
}

type sourceHandle struct{ src DirtySource }

// AddDirtySource adds a source until remove is called. Its logging is turned on
// for the blocks that are being tracked, an error from which is returned. remove
// leaves the logging as it is; when it has returned, no call of Sync is under way
// nor will be made. It must not be called by Sync.
func (s *System) AddDirtySource(src DirtySource) (remove func(), err error) {
	s.begin()
	defer s.end()
	h := &sourceHandle{src}
	for i, b := range s.blocks {
		if !b.Logging() {
			continue
		}
		if err := src.SetLogging(b, true); err != nil {
			for _, x := range s.blocks[:i] {
				if x.Logging() {
					_ = src.SetLogging(x, false) // the first error counts
				}
			}
			return func() {}, err
		}
	}
	list := append(slices.Clone(*s.sources.Load()), h)
	s.sources.Store(&list)
	return func() {
		s.begin()
		defer s.end()
		list := slices.DeleteFunc(slices.Clone(*s.sources.Load()), func(x *sourceHandle) bool { return x == h })
		s.sources.Store(&list)
		// A harvest that has the old list does not need the topology lock.
		s.harvest.Lock()
		defer s.harvest.Unlock()
	}, nil
}

// bitmap is one consumer's marks on one block.
type bitmap struct {
	owner *DirtyConsumer
	words []atomic.Uint64
}

// Logging reports whether anyone tracks the block's dirty pages.
func (b *Block) Logging() bool { return b.dirty.Load() != nil }

// Pages returns the number of pages of PageSize in the block.
func (b *Block) Pages() uint64 { return b.size / PageSize }

// markDirty marks the pages of n bytes at off, which are in the block, for all consumers.
func (b *Block) markDirty(off, n uint64) {
	if maps := b.dirty.Load(); maps != nil && n > 0 {
		first, last := off/PageSize, (off+n-1)/PageSize
		for _, m := range *maps {
			m.markRange(first, last)
		}
	}
}

// MarkDirty marks the pages of n bytes at off for all consumers: for those who
// write through HostAddr or FD. What is outside the block is ignored.
func (b *Block) MarkDirty(off, n uint64) {
	if off < b.size {
		b.markDirty(off, min(n, b.size-off))
	}
}

// MarkPages marks pages for all consumers: bit i of word is page page+i. What is
// outside the block is ignored.
func (b *Block) MarkPages(page, word uint64) {
	maps := b.dirty.Load()
	if maps == nil || word == 0 || page >= b.Pages() {
		return
	}
	if rest := b.Pages() - page; rest < 64 {
		word &= 1<<rest - 1
	}
	i, shift := page/64, page%64
	for _, m := range *maps {
		if lo := word << shift; lo != 0 {
			m.words[i].Or(lo)
		}
		if hi := word >> (64 - shift); hi != 0 { // a shift by 64 makes 0
			m.words[i+1].Or(hi)
		}
	}
}

// span returns the bits of word i that stand for pages first to last.
func span(i, first, last uint64) uint64 {
	mask := ^uint64(0)
	if i == first/64 {
		mask &= ^uint64(0) << (first % 64)
	}
	if i == last/64 {
		mask &= ^uint64(0) >> (63 - last%64)
	}
	return mask
}

func (m *bitmap) markRange(first, last uint64) {
	for i := first / 64; i <= last/64; i++ {
		// Unconditionally: the write that this follows must not be visible later
		// than the mark, and a mark that is set may be about to be taken.
		m.words[i].Or(span(i, first, last))
	}
}

// DirtyConsumer takes marks from bitmaps of its own. Start and Stop are called
// one at a time; the other methods may run at any time.
type DirtyConsumer struct {
	sys  *System
	name string
	all  bool // all blocks, those to come too; guarded by sys.topo
}

// NewDirtyConsumer returns a consumer that is not yet active.
func (s *System) NewDirtyConsumer(name string) *DirtyConsumer {
	return &DirtyConsumer{sys: s, name: name}
}

// Start makes c active for the given blocks, or for all (those made later too)
// if none is given, with no page marked. It is an error if c is active, or if a
// source cannot log.
func (c *DirtyConsumer) Start(blocks ...*Block) error {
	s := c.sys
	s.begin()
	defer s.end()
	if slices.Contains(s.consumers, c) {
		return fmt.Errorf("memory: dirty pages are tracked for %s already", c.name)
	}
	if c.all = len(blocks) == 0; c.all {
		blocks = s.blocks
	}
	s.consumers = append(slices.Clone(s.consumers), c)
	for _, b := range blocks {
		if err := b.track(c); err != nil {
			c.stop()
			return fmt.Errorf("memory: cannot track dirty pages of %s for %s: %w", b.name, c.name, err)
		}
	}
	barrierAll()
	return nil
}

// Stop makes c inactive and forgets its marks.
func (c *DirtyConsumer) Stop() {
	c.sys.begin()
	defer c.sys.end()
	c.stop()
}

func (c *DirtyConsumer) stop() {
	s := c.sys
	s.consumers = slices.DeleteFunc(slices.Clone(s.consumers), func(x *DirtyConsumer) bool { return x == c })
	for _, b := range s.blocks {
		b.untrack(c)
	}
}

// track gives the block a bitmap for c, and turns logging on if it is the first.
func (b *Block) track(c *DirtyConsumer) error {
	if !slices.Contains(b.sys.blocks, b) {
		return fmt.Errorf("the block is closed")
	}
	list := []*bitmap{{owner: c, words: make([]atomic.Uint64, (b.Pages()+63)/64)}}
	old := b.dirty.Load()
	if old != nil {
		list = append(slices.Clone(*old), list...)
	}
	b.dirty.Store(&list)
	if old == nil {
		return b.setLogging(true)
	}
	return nil
}

func (b *Block) untrack(c *DirtyConsumer) {
	old := b.dirty.Load()
	if old == nil {
		return
	}
	list := slices.DeleteFunc(slices.Clone(*old), func(m *bitmap) bool { return m.owner == c })
	switch {
	case len(list) > 0:
		b.dirty.Store(&list)
	default:
		b.dirty.Store(nil)
		_ = b.setLogging(false) // at worst a log is kept that nobody reads
	}
}

func (b *Block) untrackAll() {
	if b.dirty.Swap(nil) != nil {
		_ = b.setLogging(false) // as above
	}
}

func (b *Block) setLogging(on bool) error {
	for _, h := range *b.sys.sources.Load() {
		if err := h.src.SetLogging(b, on); err != nil {
			return err
		}
	}
	return nil
}

func (c *DirtyConsumer) bitmap(b *Block) *bitmap {
	if maps := b.dirty.Load(); maps != nil {
		for _, m := range *maps {
			if m.owner == c {
				return m
			}
		}
	}
	return nil
}

// Sync brings the marks of all consumers on b up to date with the sources.
func (s *System) Sync(b *Block) error {
	s.harvest.Lock()
	defer s.harvest.Unlock()
	if !b.Logging() {
		return nil
	}
	for _, h := range *s.sources.Load() {
		if err := h.src.Sync(b, b.mark); err != nil {
			return fmt.Errorf("memory: cannot read which pages of %s are dirty: %w", b.name, err)
		}
	}
	return nil
}

// Harvest is Sync followed by Take.
func (c *DirtyConsumer) Harvest(b *Block, first, last uint64, fn func(page, n uint64)) error {
	if err := c.sys.Sync(b); err != nil {
		return err
	}
	c.Take(b, first, last, fn)
	return nil
}

// Take clears c's marks on the pages first to last of b and calls fn for each
// run of n pages that had one, ascending. Of pages that fn reads it sees all that
// was written before the mark was cleared. Pages outside the block have no marks.
func (c *DirtyConsumer) Take(b *Block, first, last uint64, fn func(page, n uint64)) {
	c.scan(b, first, last, true, fn)
}

// Peek is as Take, but leaves the marks.
func (c *DirtyConsumer) Peek(b *Block, first, last uint64, fn func(page, n uint64)) {
	c.scan(b, first, last, false, fn)
}

func (c *DirtyConsumer) scan(b *Block, first, last uint64, take bool, fn func(page, n uint64)) {
	m := c.bitmap(b)
	last = min(last, b.Pages()-1)
	if m == nil || first > last {
		return
	}
	var start, n uint64 // the run so far
	for i := first / 64; i <= last/64; i++ {
		mask := span(i, first, last)
		word := m.words[i].Load() & mask
		if take && word != 0 {
			word = m.words[i].And(^mask) & mask
		}
		for word != 0 {
			skip := uint64(bits.TrailingZeros64(word))
			run := uint64(bits.TrailingZeros64(^(word >> skip)))
			page := i*64 + skip
			if n > 0 && start+n != page {
				fn(start, n)
				n = 0
			}
			if n == 0 {
				start = page
			}
			n += run
			if skip+run == 64 {
				break
			}
			word &= ^uint64(0) << (skip + run)
		}
	}
	if n > 0 {
		fn(start, n)
	}
}

// Mark sets c's marks, and no other's, on the pages first to last of b.
func (c *DirtyConsumer) Mark(b *Block, first, last uint64) {
	last = min(last, b.Pages()-1)
	if m := c.bitmap(b); m != nil && first <= last {
		m.markRange(first, last)
	}
}

// Count returns how many pages of b have c's mark.
func (c *DirtyConsumer) Count(b *Block) (n uint64) {
	if m := c.bitmap(b); m != nil {
		for i := range m.words {
			n += uint64(bits.OnesCount64(m.words[i].Load()))
		}
	}
	return n
}

// barrierAll has all threads pass a memory barrier. Writers look whether there
// are consumers right after they have written, without a barrier of their own:
// whoever saw none has by now made the write visible.
func barrierAll() {
	const global, expedited, register = 1, 8, 16
	if _, _, e := unix.Syscall(unix.SYS_MEMBARRIER, register, 0, 0); e == 0 {
		if _, _, e := unix.Syscall(unix.SYS_MEMBARRIER, expedited, 0, 0); e == 0 {
			return
		}
	}
	// Older kernels, slowly. Should this fail too, the time that passes until a
	// consumer reads pages is far longer than a store stays invisible.
	_, _, _ = unix.Syscall(unix.SYS_MEMBARRIER, global, 0, 0)
}
