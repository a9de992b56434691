package file

import (
	"unsafe"

	"golang.org/x/sys/unix"

	"govmd/internal/block"
)

const (
	uringRegisterEventFD = 4
	maxThreadIovecs      = 64
)

// threadRing is an io_uring that one thread uses.
type threadRing struct {
	u      *uring
	iovs   [block.MaxThreadOps][maxThreadIovecs]unix.Iovec
	queued uint32
	tail   uint32
}

func init() {
	block.NewThreadRing = func(fd int) (block.ThreadRing, error) {
		u, err := newURing(block.MaxThreadOps)
		if err != nil {
			return nil, err
		}
		event := int32(fd)
		if _, _, no := unix.Syscall6(unix.SYS_IO_URING_REGISTER, uintptr(u.fd), uringRegisterEventFD, uintptr(unsafe.Pointer(&event)), 1, 0, 0); no != 0 {
			u.close()
			return nil, no
		}
		return &threadRing{u: u}, nil
	}
}

// Queue implements block.ThreadRing.
func (t *threadRing) Queue(write bool, fd int, v block.Vec, off int64, slot int) bool {
	if int(t.queued) >= len(t.u.sqes) {
		return false
	}
	iov, n := v.Iovecs(t.iovs[slot][:0], maxThreadIovecs)
	if n < v.Len() {
		return false
	}
	op := uint8(opReadv)
	if write {
		op = opWritev
	}
	i := t.tail & t.u.sqMask
	t.u.sqes[i] = uringSQE{opcode: op, fd: int32(fd), off: uint64(off), userData: uint64(slot),
		addr: uint64(uintptr(unsafe.Pointer(unsafe.SliceData(iov)))), length: uint32(len(iov))}
	t.u.sqArray[i] = i
	t.tail++
	t.queued++
	return true
}

// Flush implements block.ThreadRing.
func (t *threadRing) Flush(complete func(slot, n int, err error)) {
	for {
		for t.queued > 0 {
			t.u.sqTail.Store(t.tail)
			n, _, no := unix.Syscall6(unix.SYS_IO_URING_ENTER, uintptr(t.u.fd), uintptr(t.queued), 0, 0, 0, 0)
			if no == 0 {
				t.queued -= uint32(n)
			} else if no == unix.EBUSY || no == unix.EAGAIN {
				break // completions have to be taken first
			}
		}
		if !t.reap(complete) && t.queued == 0 {
			return
		}
	}
}

func (t *threadRing) reap(complete func(slot, n int, err error)) (any bool) {
	u := t.u
	head := u.cqHead.Load()
	for head != u.cqTail.Load() {
		e := u.cqes[head&u.cqMask]
		head++
		u.cqHead.Store(head)
		clear(t.iovs[e.userData][:]) // they would keep the memory
		if e.res < 0 {
			complete(int(e.userData), 0, unix.Errno(-e.res))
		} else {
			complete(int(e.userData), int(e.res), nil)
		}
		any = true
	}
	return any
}

// Close implements block.ThreadRing.
func (t *threadRing) Close() { t.u.close() }

// FastFD implements block.FastFile.
func (f *file) FastFD(write bool, v block.Vec) (int, bool) {
	h := f.h.Load()
	if h.direct && !v.Aligned(h.memAlign) || write && h.readOnly {
		return 0, false
	}
	return h.fd, true
}
