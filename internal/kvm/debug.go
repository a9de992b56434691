package kvm

// DebugRegs is struct kvm_debugregs.
type DebugRegs struct {
	DB       [4]uint64
	DR6, DR7 uint64
	Flags    uint64
	_        [9]uint64
}

// DebugRegs reads the guest's debug registers.
func (v *VCPU) DebugRegs(d *DebugRegs) error {
	return transfer(v, reqGetDebugRegs, d)
}

// SetDebugRegs loads the guest's debug registers.
func (v *VCPU) SetDebugRegs(d *DebugRegs) error {
	return transfer(v, reqSetDebugRegs, d)
}

// Bits of GuestDebug.Control.
const (
	DebugEnable     uint32 = 0x00000001
	DebugSingleStep uint32 = 0x00000002
	DebugUseSWBP    uint32 = 0x00010000 // INT3 exits instead of reaching the guest
	DebugUseHWBP    uint32 = 0x00020000 // DR holds the debugger's breakpoints
	DebugInjectDB   uint32 = 0x00040000
	DebugInjectBP   uint32 = 0x00080000
	DebugBlockIRQ   uint32 = 0x00100000
)

// GuestDebug is struct kvm_guest_debug.
type GuestDebug struct {
	Control uint32
	_       uint32
	DR      [8]uint64
}

// SetGuestDebug turns single-stepping and breakpoints for a debugger on or off.
// It also re-injects an exception (DebugInjectDB, DebugInjectBP) that turned
// out to be the guest's own.
func (v *VCPU) SetGuestDebug(d *GuestDebug) error {
	return transfer(v, reqSetGuestDebug, d)
}
