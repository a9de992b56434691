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
	u       *uring
	deliver func(id uint64, res int32)
	iovs    [block.MaxThreadOps][maxThreadIovecs]unix.Iovec
	queued  uint32
	tail    uint32
}

func init() {
	block.NewThreadRing = func(fd int, complete func(slot, n int, err error)) (block.ThreadRing, error) {
		u, err := newURing(block.MaxThreadOps)
		if err != nil {
			return nil, err
		}
		event := int32(fd)
		if _, _, no := unix.Syscall6(unix.SYS_IO_URING_REGISTER, uintptr(u.fd), uringRegisterEventFD, uintptr(unsafe.Pointer(&event)), 1, 0, 0); no != 0 {
			u.close()
			return nil, no
		}
		t := &threadRing{u: u}
		t.deliver = func(id uint64, res int32) {
			clear(t.iovs[id][:]) // they would keep the memory
			if res < 0 {
				complete(int(id), 0, unix.Errno(-res))
			} else {
				complete(int(id), int(res), nil)
			}
		}
		return t, nil
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
func (t *threadRing) Flush() {
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
		if !t.u.reap(t.deliver) && t.queued == 0 {
			return
		}
	}
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
