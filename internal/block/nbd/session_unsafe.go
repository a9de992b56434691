package nbd

import (
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// readv reads what there is into s.rvec. It runs as part of RawConn.Read and
// reports whether it is done, rather than to be called when there is something.
func (s *session) readv(fd uintptr) bool {
	s.iov, _ = s.rvec.Iovecs(s.iov[:0], maxIovecs)
	for {
		n, _, e := unix.Syscall(unix.SYS_READV, fd, uintptr(unsafe.Pointer(unsafe.SliceData(s.iov))), uintptr(len(s.iov)))
		runtime.KeepAlive(s)
		switch e {
		case 0:
			s.rn = int(n)
		case unix.EINTR:
			continue
		case unix.EAGAIN:
			return false
		default:
			s.rerr = e
		}
		clear(s.iov)
		return true
	}
}
