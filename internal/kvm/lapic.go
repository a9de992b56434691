package kvm

import "encoding/binary"

// LAPIC is struct kvm_lapic_state: the local APIC's register page. In x2APIC
// mode the id is a 32-bit number at offset 0x20 (if CapX2APICAPI's 32-bit ids
// are on), else it is in bits 24-31 there.
type LAPIC [1024]byte

// Offsets of local APIC registers (SDM volume 3, table 11-1).
const (
	LAPICID      = 0x20
	LAPICVersion = 0x30
	LAPICTPR     = 0x80
	LAPICLDR     = 0xd0
	LAPICDFR     = 0xe0
	LAPICSVR     = 0xf0
	LAPICTimer   = 0x320
	LAPICLVT0    = 0x350
	LAPICLVT1    = 0x360
)

// Reg returns the register at offset off.
func (l *LAPIC) Reg(off int) uint32 { return binary.LittleEndian.Uint32(l[off:]) }

// SetReg sets the register at offset off.
func (l *LAPIC) SetReg(off int, value uint32) { binary.LittleEndian.PutUint32(l[off:], value) }

// LAPIC reads the in-kernel local APIC.
func (v *VCPU) LAPIC(l *LAPIC) error {
	return transfer(v, reqGetLAPIC, l)
}

// SetLAPIC loads the in-kernel local APIC. Sregs.APICBase must have been set.
func (v *VCPU) SetLAPIC(l *LAPIC) error {
	return transfer(v, reqSetLAPIC, l)
}
