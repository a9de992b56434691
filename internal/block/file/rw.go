package file

import (
	"sync"

	"golang.org/x/sys/unix"

	"govmd/internal/block"
)

// maxIovecs is how many pieces a system call takes (IOV_MAX).
const maxIovecs = 1024

type iovecs struct{ v []unix.Iovec }

var iovecPool = sync.Pool{New: func() any { return &iovecs{v: make([]unix.Iovec, 0, maxIovecs)} }}

func (p *iovecs) release() {
	clear(p.v[:cap(p.v)][:len(p.v)]) // they would keep the memory
	p.v = p.v[:0]
	iovecPool.Put(p)
}

func (f *file) Preadv(off int64, v block.Vec, _ block.Flags) error {
	h := f.h.Load()
	if h.direct && !v.Aligned(h.memAlign) {
		return f.bounced(h, off, v, false)
	}
	return f.read(h, off, v)
}

// read reads what is aligned as the descriptor needs it; the end of the file
// reads as zeroes.
func (f *file) read(h *handle, off int64, v block.Vec) error {
	for v.Len() > 0 {
		n, err := h.readv(off, v)
		switch {
		case err == unix.EINTR || err == unix.EAGAIN:
			continue
		case err != nil:
			return err
		case n == 0:
			return v.Zero()
		}
		off, v = off+int64(n), v.From(n)
		if h.direct && n&(h.align-1) != 0 {
			// A short read that ends within a unit ends where the file does.
			return v.Zero()
		}
	}
	return nil
}

func (f *file) Pwritev(off int64, v block.Vec, fl block.Flags) error {
	h := f.h.Load()
	var err error
	if h.direct && !v.Aligned(h.memAlign) {
		err = f.bounced(h, off, v, true)
	} else {
		err = f.write(h, off, v)
	}
	if err == nil && fl&block.FUA != 0 {
		err = f.Flush()
	}
	return err
}

func (f *file) write(h *handle, off int64, v block.Vec) error {
	for v.Len() > 0 {
		n, err := h.writev(off, v)
		switch {
		case err == unix.EINTR || err == unix.EAGAIN:
			continue
		case err != nil:
			return err
		case n == 0:
			return block.ErrNoSpace
		}
		off, v = off+int64(n), v.From(n)
	}
	return nil
}

// bounced goes through memory that is aligned as O_DIRECT wants it.
func (f *file) bounced(h *handle, off int64, v block.Vec, write bool) error {
	const piece = 1 << 20
	for v.Len() > 0 {
		m := min(v.Len(), piece)
		b := block.GetBuffer(m)
		var err error
		if write {
			if err = v.To(m).Read(b.B); err == nil {
				err = f.write(h, off, block.VecOf(b.B))
			}
		} else if err = f.read(h, off, block.VecOf(b.B)); err == nil {
			err = v.To(m).Write(b.B)
		}
		b.Release()
		if err != nil {
			return err
		}
		off, v = off+int64(m), v.From(m)
	}
	return nil
}

func (h *handle) readv(off int64, v block.Vec) (int, error) {
	if p, ok := v.Single(); ok && h.engine == nil {
		return unix.Pread(h.fd, p, off)
	}
	return h.vectored(opReadv, off, v)
}

func (h *handle) writev(off int64, v block.Vec) (int, error) {
	if p, ok := v.Single(); ok && h.engine == nil {
		return unix.Pwrite(h.fd, p, off)
	}
	return h.vectored(opWritev, off, v)
}

// vectored carries out opReadv or opWritev on as many segments as the kernel takes.
func (h *handle) vectored(op uint8, off int64, v block.Vec) (int, error) {
	iov := iovecPool.Get().(*iovecs)
	defer iov.release()
	iov.v, _ = v.Iovecs(iov.v, maxIovecs)
	switch {
	case h.engine != nil:
		return h.engine.do(op, h.fd, iov.v, off)
	case op == opWritev:
		return pwritev(h.fd, iov.v, off)
	}
	return preadv(h.fd, iov.v, off)
}
