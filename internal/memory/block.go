package memory

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// PageSize is the granule of RAM blocks and of dirty tracking, in bytes.
const PageSize = 4096

// BlockConfig says what a block of RAM is made of. Without Shared, Path, FD and
// HugeTLB it is private anonymous memory.
type BlockConfig struct {
	Name      string // unique in the machine, such as "pc.ram"
	Size      uint64 // in bytes, a multiple of PageSize
	Shared    bool   // other processes can map it: a memfd, or the file itself
	Path      string // file that backs it, made if missing; or a directory (hugetlbfs) for an unnamed one
	FD        int    // open file that backs it, if above 0; stays the caller's
	FDOffset  uint64 // where it starts in the file, a multiple of the page size
	HugeTLB   uint64 // size of its hugepages, 0 for none (transparent ones are always asked for)
	ReadOnly  bool   // the file is opened and mapped read-only
	Prealloc  bool   // all its pages are allocated at once
	Align     uint64 // of its address in this process, at least; 0 or a power of two
	Policy    Policy // on which of the host's nodes it is
	NoSeal    bool   // others can change the size of the memory that they are passed
	NoReserve bool   // no swap or hugepages are reserved for it
	Dump      bool   // it is part of core dumps
	Merge     bool   // KSM may merge its pages
}

// Block is a piece of RAM, mapped outside the Go heap and aligned to 2 MiB, or
// to its hugepages if they are larger.
type Block struct {
	sys      *System
	name     string
	size     uint64
	m        mapping
	fd       int // -1: private memory
	fdOffset uint64
	ownFD    bool
	readOnly bool // mapped so

	dirty atomic.Pointer[[]*bitmap] // of the active consumers, nil if none
	mark  func(page, bits uint64)   // MarkPages, for sources

	_       [64]byte     // what is above is read all the time, what is below is written
	users   gauge        // borrows and accesses; closed by Close
	windows atomic.Int64 // windows and holders of addresses, +1 for the block while it is open
}

// NewBlock allocates RAM.
func (s *System) NewBlock(cfg BlockConfig) (*Block, error) {
	if cfg.Size == 0 || cfg.Size%PageSize != 0 || cfg.Size > 1<<52 {
		return nil, fmt.Errorf("cannot set up guest memory '%s': size %d is not a positive multiple of %d",
			cfg.Name, cfg.Size, PageSize)
	}
	s.begin()
	dup := slices.ContainsFunc(s.blocks, func(b *Block) bool { return b.name == cfg.Name })
	s.end()
	if dup {
		return nil, fmt.Errorf("cannot set up guest memory '%s': there is such a block already", cfg.Name)
	}
	b := &Block{sys: s, name: cfg.Name, size: cfg.Size, fd: -1, fdOffset: cfg.FDOffset, readOnly: cfg.ReadOnly}
	b.mark = b.MarkPages
	b.windows.Store(1)
	if err := b.open(cfg); err != nil {
		return nil, fmt.Errorf("cannot set up guest memory '%s': %w", cfg.Name, err)
	}
	if err := b.join(); err != nil {
		_ = b.Close() // the first error counts
		return nil, err
	}
	return b, nil
}

// join makes the block known to the machine and to those who track all of its blocks.
func (b *Block) join() error {
	s := b.sys
	s.begin()
	defer s.end()
	s.blocks = append(slices.Clone(s.blocks), b)
	for _, c := range s.consumers {
		if c.all {
			if err := b.track(c); err != nil {
				return fmt.Errorf("memory: cannot track dirty pages of %s for %s: %w", b.name, c.name, err)
			}
		}
	}
	return nil
}

// Name returns the block's name.
func (b *Block) Name() string { return b.name }

// Size returns the block's size in bytes.
func (b *Block) Size() uint64 { return b.size }

// FD returns the descriptor of the memory behind the block for those who map it
// too, or -1 if it is private. It stays the block's.
func (b *Block) FD() int { return b.fd }

// FDOffset returns where the block starts in FD.
func (b *Block) FDOffset() uint64 { return b.fdOffset }

// SetMerge says whether KSM may merge the block's pages.
func (b *Block) SetMerge(on bool) { b.advice(on, unix.MADV_MERGEABLE, unix.MADV_UNMERGEABLE) }

// SetDump says whether the block is part of core dumps.
func (b *Block) SetDump(on bool) { b.advice(on, unix.MADV_DODUMP, unix.MADV_DONTDUMP) }

// advice tells the kernel; a kernel without KSM does not take the first.
func (b *Block) advice(on bool, yes, no int) {
	if !on {
		yes = no
	}
	_ = unix.Madvise(b.m.all(), yes)
}

// Populate allocates all pages, on at most that many threads; 0 is any number.
func (b *Block) Populate(threads int) error {
	if !b.acquire() {
		return b.fault(0, b.size, true, FaultGone)
	}
	defer b.release()
	if err := b.m.populate(threads); err != nil {
		return explain(err, b.m.page)
	}
	return nil
}

// PageSize returns the size of the pages behind the block: 4096, or its hugepages'.
func (b *Block) PageSize() uint64 { return b.m.page }

// HostReadOnly reports whether the block is mapped read-only.
func (b *Block) HostReadOnly() bool { return b.readOnly }

// HostAddr returns where the block is in this process, for KVM and vhost. It
// holds until Close.
func (b *Block) HostAddr() uintptr { return b.m.addr() }

// Close takes the block out of the machine and gives its memory back. It must
// not be mapped in any space. It waits until all that was borrowed is released;
// windows that still show it see nothing of it any more.
func (b *Block) Close() error {
	b.sys.begin()
	i := slices.Index(b.sys.blocks, b)
	if i < 0 {
		b.sys.end()
		return errors.New("memory: block '" + b.name + "' is closed already")
	}
	b.sys.blocks = slices.Delete(slices.Clone(b.sys.blocks), i, i+1)
	b.untrackAll()
	b.sys.end()

	b.users.n.Add(closed)
	b.users.wait(&b.sys.quiet, closed)
	if b.windows.Load() > 1 {
		// An idle window may hold on to the address for long, so only the memory
		// goes now: what a stale access finds instead is of no consequence.
		b.m.vacate()
	}
	err := b.closeFD()
	b.releaseWindow()
	return err
}

// acquire keeps the block from going away until release. It fails once Close has begun.
func (b *Block) acquire() bool {
	if b.users.enter() {
		return true
	}
	b.users.leave(&b.sys.quiet)
	return false
}

func (b *Block) release() { b.users.leave(&b.sys.quiet) }

// HoldAddr keeps the block's addresses in this process from being used for
// anything else until release, even when the block is closed: empty memory is
// there then. It is for those who cannot stop others from using them.
func (b *Block) HoldAddr() (release func()) {
	b.windows.Add(1)
	return sync.OnceFunc(b.releaseWindow)
}

// releaseWindow drops a window's hold on the block's addresses.
func (b *Block) releaseWindow() {
	if b.windows.Add(-1) == 0 {
		b.m.unmap()
	}
}

// inside reports whether size bytes at off are in the block.
func (b *Block) inside(off, size uint64) bool { return off <= b.size && size <= b.size-off }

func (b *Block) fault(off, size uint64, write bool, why Fault) *AccessError {
	return &AccessError{Who: b.name, Addr: off, Size: size, Write: write, Fault: why}
}

// Read copies from the block.
func (b *Block) Read(off uint64, p []byte) error {
	if err := b.readAt(off, p); err != nil {
		return err
	}
	return nil
}

// Write copies into the block, ROM too, and marks what it changed as dirty.
func (b *Block) Write(off uint64, p []byte) error {
	if err := b.writeAt(off, p); err != nil {
		return err
	}
	return nil
}

func (b *Block) readAt(off uint64, p []byte) *AccessError {
	n := uint64(len(p))
	if !b.inside(off, n) {
		return b.fault(off, n, false, FaultRange)
	}
	if !b.acquire() {
		return b.fault(off, n, false, FaultGone)
	}
	ok := b.m.copyOut(p, off)
	b.release()
	if !ok {
		return b.fault(off, n, false, FaultGone)
	}
	return nil
}

func (b *Block) writeAt(off uint64, p []byte) *AccessError {
	n := uint64(len(p))
	if !b.inside(off, n) {
		return b.fault(off, n, true, FaultRange)
	}
	if b.readOnly {
		return b.fault(off, n, true, FaultReadOnly)
	}
	if !b.acquire() {
		return b.fault(off, n, true, FaultGone)
	}
	ok := b.m.copyIn(off, p)
	b.markDirty(off, n)
	b.release()
	if !ok {
		return b.fault(off, n, true, FaultGone)
	}
	return nil
}

// Borrow lends size bytes of the block from off, as DMA.Borrow does.
func (b *Block) Borrow(off, size uint64, write bool) (Borrow, error) {
	if !b.inside(off, size) {
		return Borrow{}, b.fault(off, size, write, FaultRange)
	}
	if write && b.readOnly {
		return Borrow{}, b.fault(off, size, write, FaultReadOnly)
	}
	if !b.acquire() {
		return Borrow{}, b.fault(off, size, write, FaultGone)
	}
	return Borrow{block: b, off: off, bytes: b.m.bytes[off : off+size : off+size], write: write}, nil
}
