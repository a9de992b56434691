package file

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// preadv and pwritev take vectors that have been made already; x/sys/unix makes
// them anew in each call.
func preadv(fd int, iov []unix.Iovec, off int64) (int, error) {
	return vecCall(unix.SYS_PREADV, fd, iov, off)
}

func pwritev(fd int, iov []unix.Iovec, off int64) (int, error) {
	return vecCall(unix.SYS_PWRITEV, fd, iov, off)
}

func vecCall(nr uintptr, fd int, iov []unix.Iovec, off int64) (int, error) {
	n, _, no := unix.Syscall6(nr, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(iov))), uintptr(len(iov)), uintptr(off), 0, 0)
	if no != 0 {
		return 0, no
	}
	return int(n), nil
}

// ioctlRange is BLKDISCARD, BLKZEROOUT: a start and a length.
func ioctlRange(fd int, req uint, off, n int64) error {
	r := [2]uint64{uint64(off), uint64(n)}
	if _, _, no := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), uintptr(req), uintptr(unsafe.Pointer(&r))); no != 0 {
		return no
	}
	return nil
}
