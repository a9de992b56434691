package memory

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// mbind sets the policy of the memory that p is. The kernel takes one bit less of
// the mask than it is told of.
func mbind(p []byte, mode int, mask []uint64, flags uintptr) error {
	_, _, errno := unix.Syscall6(unix.SYS_MBIND, uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p)),
		uintptr(mode), uintptr(unsafe.Pointer(unsafe.SliceData(mask))), uintptr(len(mask)*wordBits+1), flags)
	if errno != 0 {
		return errno
	}
	return nil
}
