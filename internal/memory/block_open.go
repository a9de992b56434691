package memory

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"sync"

	"golang.org/x/sys/unix"
)

// blockAlign is the least alignment of blocks in this process: a transparent
// hugepage. Boards keep guest addresses and offsets in blocks congruent to it.
const blockAlign = 2 << 20

// open maps what cfg asks for.
func (b *Block) open(cfg BlockConfig) (err error) {
	page := uint64(PageSize)
	if cfg.HugeTLB != 0 {
		page = cfg.HugeTLB
		if page < PageSize || page&(page-1) != 0 {
			return fmt.Errorf("hugepage size %d is not a power of two", page)
		}
	}
	if cfg.Align&(cfg.Align-1) != 0 {
		return fmt.Errorf("alignment %d is not a power of two", cfg.Align)
	}
	defer func() {
		if err != nil {
			_ = b.closeFD()
		}
	}()
	prot, flags := unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE
	if cfg.ReadOnly {
		prot = unix.PROT_READ
	}
	if cfg.Shared {
		flags = unix.MAP_SHARED
	}
	if cfg.NoReserve {
		flags |= unix.MAP_NORESERVE
	}
	faults := page != PageSize
	switch {
	case cfg.FD > 0:
		b.fd, faults = cfg.FD, true
	case cfg.Path != "":
		if err := b.openPath(cfg); err != nil {
			return err
		}
		faults = true
	case cfg.Shared:
		if err := b.openMemFD(cfg, page); err != nil {
			return err
		}
	default:
		flags |= unix.MAP_ANONYMOUS
		if cfg.HugeTLB != 0 {
			flags |= unix.MAP_HUGETLB | log2(page)<<unix.MAP_HUGE_SHIFT
		}
	}
	if b.fd >= 0 {
		if page, err = b.fitFile(cfg, page); err != nil {
			return err
		}
	}
	b.m, err = mapMemory(b.size, page, max(page, blockAlign, cfg.Align), prot, flags, b.fd, int64(cfg.FDOffset))
	if err != nil {
		return explain(err, page)
	}
	b.m.faults = faults
	b.advise(cfg, page)
	if err := b.m.bind(cfg.Policy); err != nil {
		b.m.unmap()
		return err
	}
	if cfg.Prealloc && !cfg.ReadOnly {
		if err := b.m.populate(0); err != nil {
			b.m.unmap()
			return explain(err, page)
		}
	}
	if !cfg.Shared && b.fd >= 0 { // what the guest writes does not go into the file: of no use to others
		if err := b.closeFD(); err != nil {
			b.m.unmap()
			return err
		}
		b.fd = -1
	}
	return nil
}

func (b *Block) openMemFD(cfg BlockConfig, page uint64) error {
	flags := unix.MFD_CLOEXEC
	if cfg.HugeTLB != 0 {
		flags |= unix.MFD_HUGETLB | log2(page)<<unix.MFD_HUGE_SHIFT
	} else if !cfg.NoSeal {
		flags |= unix.MFD_ALLOW_SEALING
	}
	fd, err := unix.MemfdCreate(cfg.Name, flags)
	if err != nil {
		return explain(err, page)
	}
	b.fd, b.ownFD = fd, true
	if err := unix.Ftruncate(fd, int64((cfg.FDOffset+cfg.Size+page-1)&^(page-1))); err != nil {
		return explain(err, page)
	}
	if cfg.HugeTLB == 0 && !cfg.NoSeal {
		// Those whom the descriptor is passed to cannot take the memory away.
		if _, err := unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, unix.F_SEAL_SHRINK|unix.F_SEAL_GROW|unix.F_SEAL_SEAL); err != nil {
			return err
		}
	}
	return nil
}

func (b *Block) openPath(cfg BlockConfig) error {
	mode := unix.O_RDWR
	if cfg.ReadOnly {
		mode = unix.O_RDONLY
	}
	path := cfg.Path
	var fd int
	var err error
	if st, e := os.Stat(path); e == nil && st.IsDir() {
		f, e := os.CreateTemp(path, "govmd-ram-")
		if e != nil {
			return e
		}
		path = f.Name()
		fd, err = unix.Open(path, unix.O_RDWR|unix.O_CLOEXEC, 0)
		_ = f.Close()
		_ = os.Remove(path)
	} else {
		if !cfg.ReadOnly {
			mode |= unix.O_CREAT
		}
		fd, err = unix.Open(path, mode|unix.O_CLOEXEC, 0o644)
	}
	if err != nil {
		return &os.PathError{Op: "open", Path: path, Err: err}
	}
	b.fd, b.ownFD = fd, true
	return nil
}

// fitFile sees to it that the file behind the block is long enough, and returns
// the size of its pages.
func (b *Block) fitFile(cfg BlockConfig, page uint64) (uint64, error) {
	name := cfg.Path
	if name == "" {
		name = fmt.Sprintf("descriptor %d", b.fd)
	}
	var fs unix.Statfs_t
	if err := unix.Fstatfs(b.fd, &fs); err != nil {
		return 0, fmt.Errorf("%s: %w", name, err)
	}
	if fs.Type == unix.HUGETLBFS_MAGIC && fs.Bsize >= PageSize {
		page = uint64(fs.Bsize)
	}
	if cfg.FDOffset%page != 0 || cfg.FDOffset > 1<<62 {
		return 0, fmt.Errorf("%s: offset %d is not a multiple of the page size %d", name, cfg.FDOffset, page)
	}
	var st unix.Stat_t
	if err := unix.Fstat(b.fd, &st); err != nil {
		return 0, fmt.Errorf("%s: %w", name, err)
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG { // a DAX device, say: it has what it has
		return page, nil
	}
	need := int64((cfg.FDOffset + cfg.Size + page - 1) &^ (page - 1))
	switch {
	case st.Size >= need:
	case st.Size == 0 && !cfg.ReadOnly:
		if err := unix.Ftruncate(b.fd, need); err != nil {
			return 0, fmt.Errorf("%s: cannot make it %d bytes long: %w", name, need, err)
		}
	default:
		return 0, &SizeError{File: name, Size: uint64(st.Size), Needed: uint64(need)}
	}
	return page, nil
}

// advise tells the kernel how the memory is used. It is advice: no error matters.
func (b *Block) advise(cfg BlockConfig, page uint64) {
	all := b.m.all()
	if page == PageSize {
		_ = unix.Madvise(all, unix.MADV_HUGEPAGE)
		if cfg.Merge {
			_ = unix.Madvise(all, unix.MADV_MERGEABLE)
		}
	}
	if !cfg.Dump {
		_ = unix.Madvise(all, unix.MADV_DONTDUMP)
	}
	_ = unix.Madvise(all, unix.MADV_DONTFORK)
}

// populate allocates all pages, on several threads: zeroing them takes long.
func (m *mapping) populate(threads int) error {
	if threads <= 0 {
		threads = runtime.GOMAXPROCS(0)
	}
	all := m.all()
	step := max(m.page, blockAlign)
	chunk := (uint64(len(all))/uint64(threads) + step) &^ (step - 1)
	var wg sync.WaitGroup
	var mu sync.Mutex
	var first error
	for off := uint64(0); off < uint64(len(all)); off += chunk {
		part := all[off:min(off+chunk, uint64(len(all)))]
		wg.Go(func() {
			err := unix.Madvise(part, unix.MADV_POPULATE_WRITE)
			if errors.Is(err, unix.EINVAL) { // before Linux 5.14
				err = Touch(func() {
					for i := uint64(0); i < uint64(len(part)); i += m.page {
						b := part[i] // a file has contents
						part[i] = b
					}
				})
				if err != nil {
					err = unix.EFAULT
				}
			}
			if err != nil {
				mu.Lock()
				first = err
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	return first
}

// Discard gives the pages wholly within size bytes at off back to the host; they
// read as zero (of private file memory: as the file) when touched again.
func (b *Block) Discard(off, size uint64) error {
	if !b.inside(off, size) {
		return b.fault(off, size, true, FaultRange)
	}
	page := b.m.page
	first, end := (off+page-1)&^(page-1), (off+size)&^(page-1)
	if first >= end {
		return nil
	}
	if !b.acquire() {
		return b.fault(off, size, true, FaultGone)
	}
	defer b.release()
	defer b.markDirty(first, end-first)
	if b.fd >= 0 {
		const punch = unix.FALLOC_FL_PUNCH_HOLE | unix.FALLOC_FL_KEEP_SIZE
		if err := unix.Fallocate(b.fd, punch, int64(b.fdOffset+first), int64(end-first)); err != nil {
			return fmt.Errorf("memory: %s: cannot give back %d bytes at %#x: %w", b.name, end-first, first, err)
		}
		return nil
	}
	if err := unix.Madvise(b.m.bytes[first:end], unix.MADV_DONTNEED); err != nil {
		return fmt.Errorf("memory: %s: cannot give back %d bytes at %#x: %w", b.name, end-first, first, err)
	}
	return nil
}

func (b *Block) closeFD() error {
	if !b.ownFD {
		return nil
	}
	b.ownFD = false
	return unix.Close(b.fd)
}

// noMemory is how other programs of this kind, and those who read their output, put it.
const noMemory = "Cannot allocate memory"

// explain says what to do about the errors of allocation.
func explain(err error, page uint64) error {
	switch {
	case (errors.Is(err, unix.ENOMEM) || errors.Is(err, unix.EFAULT)) && page != PageSize:
		// EFAULT: what was not reserved, when it is preallocated.
		return fmt.Errorf("%s: there are too few free hugepages of %d KiB (see /proc/sys/vm/nr_hugepages)", noMemory, page>>10)
	case errors.Is(err, unix.EFAULT):
		return errors.New("the file system behind it is full, or the file was cut short")
	case errors.Is(err, unix.ENOMEM):
		return fmt.Errorf("%s: the host has too little, or a limit (RLIMIT_AS, vm.overcommit_memory) is in the way", noMemory)
	case page != PageSize && (errors.Is(err, unix.ENODEV) || errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOSYS)):
		return fmt.Errorf("the host has no hugepages of %d KiB", page>>10)
	case errors.Is(err, unix.EFBIG):
		return errors.New("it is larger than a file may be (RLIMIT_FSIZE)")
	}
	return err
}

func log2(n uint64) int {
	l := 0
	for n > 1 {
		n >>= 1
		l++
	}
	return l
}
