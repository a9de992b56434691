package kvm

import (
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// ioctl issues a call whose argument is a number.
func ioctl(fd int, req request, arg uintptr) (int, error) {
	for {
		r, _, e := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), uintptr(req), arg)
		if e == 0 {
			return int(r), nil
		}
		if e != unix.EINTR {
			return -1, e
		}
	}
}

// ioctlPtr issues a call whose argument is a structure. A call that a signal
// interrupts is repeated: only KVM_RUN, which does not come through here, has a
// use for EINTR.
func ioctlPtr[T any](fd int, req request, arg *T) (int, error) {
	for {
		r, _, e := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), uintptr(req), uintptr(unsafe.Pointer(arg)))
		if e == 0 {
			return int(r), nil
		}
		if e != unix.EINTR {
			return -1, e
		}
	}
}

// dirtyLog is struct kvm_dirty_log.
type dirtyLog struct {
	slot   uint32
	_      uint32
	bitmap unsafe.Pointer
}

// clearDirtyLog is struct kvm_clear_dirty_log.
type clearDirtyLog struct {
	slot      uint32
	numPages  uint32
	firstPage uint64
	bitmap    unsafe.Pointer
}

func getDirtyLog(fd int, slot uint32, bitmap *uint64) error {
	arg := dirtyLog{slot: slot, bitmap: unsafe.Pointer(bitmap)}
	_, err := ioctlPtr(fd, reqGetDirtyLog, &arg)
	return err
}

func doClearDirtyLog(fd int, slot uint32, first uint64, pages uint32, bitmap *uint64) error {
	arg := clearDirtyLog{slot: slot, numPages: pages, firstPage: first, bitmap: unsafe.Pointer(bitmap)}
	_, err := ioctlPtr(fd, reqClearDirtyLog, &arg)
	return err
}

// deviceAttr is struct kvm_device_attr.
type deviceAttr struct {
	_     uint32
	group uint32
	attr  uint64
	addr  unsafe.Pointer
}

// attrU64 reads, writes or probes a 64-bit device attribute.
func attrU64(fd int, req request, group uint32, attr uint64, value *uint64) error {
	arg := deviceAttr{group: group, attr: attr, addr: unsafe.Pointer(value)}
	_, err := ioctlPtr(fd, req, &arg)
	return err
}

// runWord returns the first 32-bit word of a vCPU's shared page, which holds
// request_interrupt_window (bits 0-7) and immediate_exit (bits 8-15). Other
// threads write it, so it is accessed atomically.
func runWord(page []byte) *atomic.Uint32 {
	return (*atomic.Uint32)(unsafe.Pointer(unsafe.SliceData(page)))
}
