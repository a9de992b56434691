package kvm

import "golang.org/x/sys/unix"

const (
	archReqXCompGuestPerm = 0x1025 // asm/prctl.h
	xfeatureXTileData     = 18
)

// AllowGuestAMX lets this process's guests use AMX tiles, which the kernel
// leaves out of what they can have until it is asked (arch_prctl, see Linux's
// Documentation/arch/x86/xstate.rst). It must precede the first vCPU and makes
// every vCPU's XSAVE area larger.
func AllowGuestAMX() error {
	_, _, e := unix.Syscall(unix.SYS_ARCH_PRCTL, archReqXCompGuestPerm, xfeatureXTileData, 0)
	if e != 0 {
		return &Error{Kind: KindUnsupported, Op: "letting guests use AMX", VCPU: -1, Err: e}
	}
	return nil
}
