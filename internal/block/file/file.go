package file

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"govmd/internal/block"
)

// file is an open file or device.
type file struct {
	graph *block.Graph
	node  *block.Node
	kind  kind
	opts  *Options
	h     atomic.Pointer[handle] // replaced by a reopen, under drain
	lock  locker
	drop  bool

	cache dataCache
	noOp  atomic.Uint32 // of the operations that the file system lacks

	discards discards
}

// Operations that are tried once.
const (
	noZeroRange uint32 = 1 << iota
	noPunch
	noCopyRange
	noBlkZero
	noBlkDiscard
)

// handle is an open descriptor and what is known of it.
type handle struct {
	graph    *block.Graph
	fd       int
	direct   bool
	readOnly bool
	noFlush  bool
	blockDev bool
	align    int    // of offsets and lengths
	memAlign int    // of memory; only with direct it must be so
	engine   *async // nil: by system calls that wait
}

func open(a *block.OpenArgs, k kind) (block.Driver, error) {
	o := a.Opts.(*Options)
	f := &file{graph: a.Graph, node: a.Node, kind: k, opts: o, drop: o.DropCache == nil || *o.DropCache}
	h, err := f.openHandle(o, a.Settings())
	if slices.Contains([]unix.Errno{unix.EACCES, unix.EROFS, unix.EPERM}, block.Errno(err)) && !a.Settings().ReadOnly {
		if err = a.SetReadOnly(err); err == nil {
			h, err = f.openHandle(o, a.Settings())
		}
	}
	if err != nil {
		return nil, err
	}
	f.h.Store(h)
	if err := f.lock.init(o, h.fd); err != nil {
		h.close()
		return nil, err
	}
	return f, nil
}

// openHandle opens the file as options and settings want it.
func (f *file) openHandle(o *Options, s block.Settings) (*handle, error) {
	if o.aio() == Native && !s.Direct {
		return nil, block.Errorf(block.KindInvalid, "aio=native was specified, but it requires cache.direct=on, which was not specified.")
	}
	if b := o.AIOMaxBatch; b != nil && *b != 0 {
		return nil, block.Errorf(block.KindUnsupported, "aio-max-batch=%d is not supported: what is asked for at a time goes to storage together", *b)
	}
	flags := unix.O_CLOEXEC
	if s.ReadOnly {
		flags |= unix.O_RDONLY
	} else {
		flags |= unix.O_RDWR
	}
	if s.Direct {
		flags |= unix.O_DIRECT
	}
	if f.kind == cdrom {
		flags |= unix.O_NONBLOCK // a drive without a medium opens, too
	}
	var st unix.Stat_t
	if unix.Stat(o.Filename, &st) == nil && st.Mode&unix.S_IFMT == unix.S_IFIFO {
		// Opening would wait for whoever is at the other end; an image may name anything.
		return nil, block.Errorf(block.KindInvalid, "Could not open '%s': it is a FIFO, not a file that can be read anywhere", o.Filename)
	}
	fd, err := f.graph.OpenFD(o.Filename, flags, 0)
	if err != nil {
		if err == unix.EINVAL && s.Direct {
			return nil, block.Errorf(block.KindUnsupported, "Could not open '%s': its file system does not support O_DIRECT (cache=none, cache.direct=on): %w", o.Filename, err)
		}
		return nil, openError(o.Filename, err)
	}
	h := &handle{graph: f.graph, fd: fd, direct: s.Direct, readOnly: s.ReadOnly, noFlush: s.NoFlush}
	if err := h.examine(f.kind, o.Filename); err != nil {
		h.close()
		return nil, err
	}
	if h.engine, err = newEngine(o.aio(), o); err != nil {
		h.close()
		return nil, err
	}
	return h, nil
}

func (h *handle) examine(k kind, name string) error {
	var st unix.Stat_t
	if err := unix.Fstat(h.fd, &st); err != nil {
		return openError(name, err)
	}
	h.blockDev = st.Mode&unix.S_IFMT == unix.S_IFBLK
	switch {
	case k == regular && h.blockDev:
		// It works, and always has, by this name.
	case k == regular && st.Mode&unix.S_IFMT == unix.S_IFDIR:
		return openError(name, unix.EISDIR)
	case k == regular && st.Mode&unix.S_IFMT != unix.S_IFREG:
		return block.Errorf(block.KindInvalid, "Could not open '%s': it is neither a regular file nor a block device", name)
	case k != regular && !h.blockDev && st.Mode&unix.S_IFMT != unix.S_IFCHR:
		return block.Errorf(block.KindInvalid, "'%s' driver requires '%s' to be either a character or block device", kindNames[k], name)
	}
	h.probeAlign()
	return nil
}

func (h *handle) close() {
	if h.engine != nil {
		h.engine.close()
	}
	_ = h.graph.CloseFD(h.fd) // what it could report, a flush has reported
}

func (f *file) Length() (int64, error) { return f.h.Load().length() }

func (h *handle) length() (int64, error) {
	if h.blockDev {
		n, err := unix.IoctlGetInt(h.fd, unix.BLKGETSIZE64)
		return int64(n), err
	}
	var st unix.Stat_t
	err := unix.Fstat(h.fd, &st)
	return st.Size, err
}

func (f *file) Limits() block.Limits {
	h := f.h.Load()
	l := block.Limits{
		Align: 1, MemAlign: h.memAlign, ZeroAlign: 1, DiscAlign: 1, MaxTransfer: 1 << 30,
		WriteFlags: block.FUA | block.Unchanged,
		ZeroFlags:  block.MayUnmap | block.NoFallback | block.Unchanged,
	}
	if h.direct {
		l.Align = h.align
	}
	if h.blockDev {
		l.ZeroAlign, l.DiscAlign = 512, 512
	}
	return l
}

func (f *file) ExactFileName() string { return f.opts.Filename }

// Info says how much space the file takes.
func (f *file) Info() block.Info {
	i := block.Info{AllocatedBytes: -1, UnallocZero: true, Statistics: f.statistics()}
	h := f.h.Load()
	var st unix.Stat_t
	if unix.Fstat(h.fd, &st) == nil && !h.blockDev {
		i.AllocatedBytes = st.Blocks * 512
		i.ZeroInit = true
	} else if h.blockDev {
		i.AllocatedBytes = 0
	}
	i.CanWriteZeroes = !f.lacks(noPunch) && !h.blockDev
	return i
}

func (f *file) Flush() error {
	h := f.h.Load()
	if h.noFlush {
		return nil
	}
	if h.engine != nil {
		return h.engine.fsync(h.fd)
	}
	for {
		if err := unix.Fdatasync(h.fd); err != unix.EINTR {
			return err
		}
	}
}

func (f *file) Close() {
	f.lock.release()
	f.h.Load().close()
}

// Inactivate has nothing to do: the flush that follows writes everything back.
func (f *file) Inactivate() error { return nil }

// Activate drops what the host has cached of the file: another host has written it.
func (f *file) Activate(context.Context) error {
	h := f.h.Load()
	if h.direct || !f.drop || h.blockDev {
		return nil
	}
	if err := unix.Fdatasync(h.fd); err != nil {
		return nil // only what can be dropped matters
	}
	_ = unix.Fadvise(h.fd, 0, 0, unix.FADV_DONTNEED)
	return nil
}

// dataCache remembers the last extent of data that SEEK_DATA found: asking again
// about a part of it is common, and slow on some file systems.
type dataCache struct {
	mu         sync.Mutex
	start, end int64
	valid      bool
}

func (c *dataCache) lookup(off int64) (end int64, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.valid || off < c.start || off >= c.end {
		return 0, false
	}
	return c.end, true
}

func (c *dataCache) store(start, end int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.start, c.end, c.valid = start, end, true
}

// forget drops what a hole in [off, off+n) makes wrong.
func (c *dataCache) forget(off, n int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.valid && off < c.end && off+n > c.start {
		c.valid = false
	}
}
