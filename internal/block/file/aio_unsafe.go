package file

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// Commands of Linux AIO (io_submit(2)).
const (
	iocbFdsync  = 3
	iocbPreadv  = 7
	iocbPwritev = 8
)

// iocb is a request of Linux AIO, as the kernel has it on little-endian machines.
type iocb struct {
	data   uint64
	_      uint32 // key
	_      uint32 // rw_flags
	opcode uint16
	_      int16 // reqprio
	fd     uint32
	buf    uint64
	n      uint64
	off    int64
	_      uint64
	_      uint32 // flags
	_      uint32 // resfd
}

type ioEvent struct {
	data, obj uint64
	res, res2 int64
}

// linuxAIO is a context of Linux AIO.
type linuxAIO struct {
	ctx    uintptr
	iocbs  []iocb // by request
	events []ioEvent
}

func newLinuxAIO(entries int) (*linuxAIO, error) {
	a := &linuxAIO{iocbs: make([]iocb, entries), events: make([]ioEvent, entries)}
	if _, _, no := unix.Syscall(unix.SYS_IO_SETUP, uintptr(entries), uintptr(unsafe.Pointer(&a.ctx)), 0); no != 0 {
		return nil, no
	}
	return a, nil
}

func (a *linuxAIO) close() { _, _, _ = unix.Syscall(unix.SYS_IO_DESTROY, a.ctx, 0, 0) }

func (a *linuxAIO) submit(op uint8, fd int, iov []unix.Iovec, off int64, id uint64) error {
	cb := &a.iocbs[id]
	*cb = iocb{data: id, fd: uint32(fd), off: off, buf: uint64(uintptr(unsafe.Pointer(unsafe.SliceData(iov)))), n: uint64(len(iov))}
	switch op {
	case opReadv:
		cb.opcode = iocbPreadv
	case opWritev:
		cb.opcode = iocbPwritev
	default:
		cb.opcode, cb.buf, cb.n, cb.off = iocbFdsync, 0, 0, 0
	}
	list := [1]*iocb{cb}
	for {
		_, _, no := unix.Syscall(unix.SYS_IO_SUBMIT, a.ctx, 1, uintptr(unsafe.Pointer(&list)))
		switch no {
		case 0:
			return nil
		case unix.EINTR, unix.EAGAIN:
		default:
			return no
		}
	}
}

// get takes completions, least of them at least.
func (a *linuxAIO) get(least int) (int, error) {
	n, _, no := unix.Syscall6(unix.SYS_IO_GETEVENTS, a.ctx, uintptr(least), uintptr(len(a.events)), uintptr(unsafe.Pointer(&a.events[0])), 0, 0)
	if no != 0 && no != unix.EINTR {
		return 0, no
	}
	if no == unix.EINTR {
		return 0, nil
	}
	return int(n), nil
}
