package net

import (
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Vector writes frames in segments by system calls. It keeps what it needs for that, so
// that a frame costs no allocation; it is for one goroutine at a time.
type Vector struct{ iov []unix.Iovec }

// maxSegments is how many segments one system call takes (UIO_MAXIOV).
const maxSegments = 1024

// Writev writes a frame to a descriptor. Memory of the guest's that has gone is EFAULT.
func (v *Vector) Writev(fd int, frame [][]byte) (int, error) {
	if len(frame) > maxSegments {
		return 0, unix.EMSGSIZE
	}
	v.iov = v.iov[:0]
	for _, p := range frame {
		if len(p) > 0 {
			v.iov = append(v.iov, unix.Iovec{Base: &p[0], Len: uint64(len(p))})
		}
	}
	n, _, e := unix.Syscall(unix.SYS_WRITEV, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(v.iov))), uintptr(len(v.iov)))
	runtime.KeepAlive(v.iov)
	clear(v.iov)
	if e != 0 {
		return 0, e
	}
	return int(n), nil
}
