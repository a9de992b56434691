package kvm

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// setThreadName names the calling thread; the kernel cuts it to 15 bytes. A
// refusal only costs the name.
func setThreadName(name string) {
	b := append([]byte(name), 0)
	_ = unix.Prctl(unix.PR_SET_NAME, uintptr(unsafe.Pointer(&b[0])), 0, 0, 0)
}
