package file

import (
	"sync"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The parts of io_uring(7) that are used.
const (
	uringOffSQ     = 0
	uringOffCQ     = 0x8000000
	uringOffSQEs   = 0x10000000
	uringGetEvents = 1
	uringClamp     = 1 << 4
	uringSingleMap = 1 << 0

	opReadv  = 1
	opWritev = 2
	opFsync  = 3

	fsyncDatasync = 1
)

type uringParams struct {
	sqEntries, cqEntries, flags, sqThreadCPU, sqThreadIdle, features, wqFD uint32
	resv                                                                   [3]uint32
	sq                                                                     struct {
		head, tail, ringMask, ringEntries, flags, dropped, array, resv1 uint32
		userAddr                                                        uint64
	}
	cq struct {
		head, tail, ringMask, ringEntries, overflow, cqes, flags, resv1 uint32
		userAddr                                                        uint64
	}
}

// uringSQE is a submission; the kernel's structure of 64 bytes.
type uringSQE struct {
	opcode, flags uint8
	ioprio        uint16
	fd            int32
	off           uint64
	addr          uint64
	length        uint32
	opFlags       uint32
	userData      uint64
	_             [3]uint64
}

type uringCQE struct {
	userData uint64
	res      int32
	flags    uint32
}

// uring is an io_uring. Many submit, one at a time reaps.
type uring struct {
	fd       int
	sqMem    []byte
	cqMem    []byte
	sqeMem   []byte
	sqTail   *atomic.Uint32
	sqMask   uint32
	sqArray  []uint32
	sqes     []uringSQE
	cqHead   *atomic.Uint32
	cqTail   *atomic.Uint32
	cqMask   uint32
	cqes     []uringCQE
	submitMu sync.Mutex
}

func at32(p []byte, off uint32) *atomic.Uint32 { return (*atomic.Uint32)(unsafe.Pointer(&p[off])) }

// newURing makes a ring for so many requests at once.
func newURing(entries uint32) (*uring, error) {
	var p uringParams
	p.flags = uringClamp
	fd, _, no := unix.Syscall(unix.SYS_IO_URING_SETUP, uintptr(entries), uintptr(unsafe.Pointer(&p)), 0)
	if no != 0 {
		return nil, no
	}
	unix.CloseOnExec(int(fd))
	u := &uring{fd: int(fd)}
	var err error
	sqSize := int(p.sq.array + p.sqEntries*4)
	cqSize := int(p.cq.cqes + p.cqEntries*uint32(unsafe.Sizeof(uringCQE{})))
	if p.features&uringSingleMap != 0 {
		sqSize = max(sqSize, cqSize)
	}
	const prot, flags = unix.PROT_READ | unix.PROT_WRITE, unix.MAP_SHARED | unix.MAP_POPULATE
	if u.sqMem, err = unix.Mmap(u.fd, uringOffSQ, sqSize, prot, flags); err == nil {
		u.cqMem = u.sqMem
		if p.features&uringSingleMap == 0 {
			u.cqMem, err = unix.Mmap(u.fd, uringOffCQ, cqSize, prot, flags)
		}
	}
	if err == nil {
		u.sqeMem, err = unix.Mmap(u.fd, uringOffSQEs, int(p.sqEntries)*int(unsafe.Sizeof(uringSQE{})), prot, flags)
	}
	if err != nil {
		u.close()
		return nil, err
	}
	u.sqTail, u.sqMask = at32(u.sqMem, p.sq.tail), at32(u.sqMem, p.sq.ringMask).Load()
	u.sqArray = unsafe.Slice((*uint32)(unsafe.Pointer(&u.sqMem[p.sq.array])), p.sqEntries)
	u.sqes = unsafe.Slice((*uringSQE)(unsafe.Pointer(&u.sqeMem[0])), p.sqEntries)
	u.cqHead, u.cqTail, u.cqMask = at32(u.cqMem, p.cq.head), at32(u.cqMem, p.cq.tail), at32(u.cqMem, p.cq.ringMask).Load()
	u.cqes = unsafe.Slice((*uringCQE)(unsafe.Pointer(&u.cqMem[p.cq.cqes])), p.cqEntries)
	return u, nil
}

func (u *uring) close() {
	if u.cqMem != nil && &u.cqMem[0] != &u.sqMem[0] {
		_ = unix.Munmap(u.cqMem)
	}
	for _, m := range [][]byte{u.sqMem, u.sqeMem} {
		if m != nil {
			_ = unix.Munmap(m)
		}
	}
	_ = unix.Close(u.fd)
}

// submit hands one request to the kernel, which may carry it out there and then.
// The vectors, and the memory that they point to, stay until it is complete.
func (u *uring) submit(op uint8, fd int, iov []unix.Iovec, off int64, id uint64) error {
	u.submitMu.Lock()
	defer u.submitMu.Unlock()
	tail := u.sqTail.Load()
	i := tail & u.sqMask
	e := &u.sqes[i]
	*e = uringSQE{opcode: op, fd: int32(fd), off: uint64(off), userData: id}
	if op == opFsync {
		e.opFlags, e.off = fsyncDatasync, 0
	} else {
		e.addr, e.length = uint64(uintptr(unsafe.Pointer(unsafe.SliceData(iov)))), uint32(len(iov))
	}
	u.sqArray[i] = i
	u.sqTail.Store(tail + 1)
	for {
		n, _, no := unix.Syscall6(unix.SYS_IO_URING_ENTER, uintptr(u.fd), 1, 0, 0, 0, 0)
		switch {
		case no == unix.EINTR || no == unix.EAGAIN || no == unix.EBUSY:
			continue
		case no != 0:
			return no
		case n == 1:
			return nil
		}
	}
}

// wait waits in the kernel until there is a completion.
func (u *uring) wait() error {
	_, _, no := unix.Syscall6(unix.SYS_IO_URING_ENTER, uintptr(u.fd), 0, 1, uringGetEvents, 0, 0)
	if no != 0 && no != unix.EINTR {
		return no
	}
	return nil
}

// reap calls fn for each completion that is there, and reports whether any was.
func (u *uring) reap(fn func(id uint64, res int32)) (some bool) {
	head := u.cqHead.Load()
	for head != u.cqTail.Load() {
		e := u.cqes[head&u.cqMask]
		head++
		u.cqHead.Store(head)
		fn(e.userData, e.res)
		some = true
	}
	return some
}
