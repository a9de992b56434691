package file

import (
	"context"

	"golang.org/x/sys/unix"

	"govmd/internal/block"
)

func (f *file) lacks(op uint32) bool { return f.noOp.Load()&op != 0 }

// attempt returns the error of an operation that not every file system has.
func (f *file) attempt(op uint32, err error) error {
	switch err {
	case unix.EOPNOTSUPP, unix.ENOSYS, unix.ENOTTY, unix.ENODEV:
		f.noOp.Or(op)
		return block.ErrUnsupp
	}
	return err
}

func fallocate(fd int, mode uint32, off, n int64) error {
	for {
		if err := unix.Fallocate(fd, mode, off, n); err != unix.EINTR {
			return err
		}
	}
}

func (f *file) PwriteZeroes(off, n int64, fl block.Flags) error {
	h := f.h.Load()
	f.cache.forget(off, n)
	if h.blockDev {
		if f.lacks(noBlkZero) || off&511 != 0 || n&511 != 0 {
			return block.ErrUnsupp
		}
		return f.attempt(noBlkZero, ioctlRange(h.fd, unix.BLKZEROOUT, off, n))
	}
	if fl&block.MayUnmap != 0 && !f.lacks(noPunch) {
		end, err := h.length()
		if err != nil {
			return err
		}
		if off+n <= end {
			if err := f.punch(h, off, n); err != block.ErrUnsupp {
				return err
			}
		}
	}
	if f.lacks(noZeroRange) {
		return block.ErrUnsupp
	}
	return f.attempt(noZeroRange, fallocate(h.fd, unix.FALLOC_FL_ZERO_RANGE, off, n))
}

func (f *file) discard(off, n int64) error {
	h := f.h.Load()
	f.cache.forget(off, n)
	if h.blockDev {
		if f.lacks(noBlkDiscard) {
			return block.ErrUnsupp
		}
		return f.attempt(noBlkDiscard, ioctlRange(h.fd, unix.BLKDISCARD, off, n))
	}
	return f.punch(h, off, n)
}

// punch makes a hole in a regular file.
func (f *file) punch(h *handle, off, n int64) error {
	if f.lacks(noPunch) {
		return block.ErrUnsupp
	}
	return f.attempt(noPunch, fallocate(h.fd, unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, off, n))
}

// BlockStatus asks the file system for holes.
func (f *file) BlockStatus(off, n int64, want block.StatusFlags) (block.Status, error) {
	h := f.h.Load()
	st := block.Status{Flags: block.StatusData | block.StatusOffset, N: n, File: f.node, Offset: off}
	if want&block.StatusZero == 0 || h.blockDev {
		return st, nil
	}
	if end, ok := f.cache.lookup(off); ok {
		st.N = min(n, end-off)
		return st, nil
	}
	data, err := unix.Seek(h.fd, off, unix.SEEK_DATA)
	switch {
	case err == unix.ENXIO: // a hole up to the end
		st.Flags = block.StatusZero | block.StatusOffset
		return st, nil
	case err != nil:
		return st, nil // it cannot tell: it is data
	case data > off:
		st.Flags = block.StatusZero | block.StatusOffset
		st.N = min(n, data-off)
		return st, nil
	}
	hole, err := unix.Seek(h.fd, off, unix.SEEK_HOLE)
	if err != nil || hole <= off {
		return st, nil
	}
	f.cache.store(off, hole)
	st.N = min(n, hole-off)
	return st, nil
}

// Truncate changes the size of a regular file.
func (f *file) Truncate(ctx context.Context, size int64, exact bool, p block.Prealloc, _ block.Flags) error {
	h := f.h.Load()
	old, err := h.length()
	if err != nil {
		return block.Errorf(block.KindIO, "Failed to inquire current file length: %w", err)
	}
	f.cache.forget(0, 1<<62)
	if h.blockDev {
		switch {
		case p != block.PreallocOff:
			return block.Errorf(block.KindUnsupported, "Preallocation mode '%s' unsupported for this non-regular file", p)
		case size > old:
			return block.Errorf(block.KindInvalid, "Cannot grow device files")
		case size != old && exact:
			return block.Errorf(block.KindInvalid, "Cannot resize device files")
		}
		return nil
	}
	if size < old && p != block.PreallocOff {
		return block.Errorf(block.KindInvalid, "Preallocation can't be used for shrinking files")
	}
	if err := preallocate(ctx, h.fd, old, size, p); err != nil {
		if cut := unix.Ftruncate(h.fd, old); cut != nil {
			return block.Errorf(block.KindIO, "%s; the file could not be cut back: %w", err, cut)
		}
		return err
	}
	return nil
}

// preallocate sets the size of a file, from old, and allocates what is new.
func preallocate(ctx context.Context, fd int, old, size int64, p block.Prealloc) error {
	switch p {
	case block.PreallocMetadata:
		return block.Errorf(block.KindUnsupported, "Unsupported preallocation mode 'metadata'")
	case block.PreallocFalloc:
		if size > old {
			if err := fallocate(fd, 0, old, size-old); err != nil {
				return ioError("Could not preallocate data", err)
			}
		}
	case block.PreallocFull:
		for off := old; off < size; {
			if err := ctx.Err(); err != nil {
				return err
			}
			p, _ := block.Zeroes(int(min(size-off, 1<<20))).Single()
			n, err := unix.Pwrite(fd, p, off)
			if err != nil && err != unix.EINTR {
				return ioError("Could not write zeros for preallocation", err)
			}
			off += int64(max(n, 0))
		}
		if err := unix.Fdatasync(fd); err != nil {
			return ioError("Could not flush file to disk", err)
		}
	}
	if err := unix.Ftruncate(fd, size); err != nil {
		return ioError("Failed to resize file", err)
	}
	return nil
}

// CopyRange copies between files by copy_file_range(2).
func (f *file) CopyRange(srcOff int64, dst *block.Node, dstOff, n int64, fl block.Flags) error {
	src := f.h.Load()
	if f.lacks(noCopyRange) || src.blockDev {
		return block.ErrUnsupp
	}
	return dst.CopyTo(dstOff, n, func(d block.Driver, off int64) error {
		to, ok := d.(*file)
		if !ok || to.h.Load().blockDev {
			return block.ErrUnsupp
		}
		for n > 0 {
			so, do := srcOff, off
			m, err := unix.CopyFileRange(src.fd, &so, to.h.Load().fd, &do, int(min(n, 1<<30)), 0)
			switch {
			case err == unix.EINTR:
				continue
			case err == unix.EXDEV || err == unix.EINVAL || err == unix.EBADF || err == unix.EIO || err == unix.ETXTBSY:
				f.noOp.Or(noCopyRange)
				return block.ErrUnsupp
			case err != nil:
				return f.attempt(noCopyRange, err)
			case m == 0:
				return block.ErrUnsupp // the source has become shorter
			}
			srcOff, off, n = srcOff+int64(m), off+int64(m), n-int64(m)
		}
		if fl&block.FUA != 0 {
			return to.Flush()
		}
		return nil
	})
}
