package cpu

import "govmd/internal/kvm"

// Bits of control registers (SDM volume 3, section 2.5).
const (
	cr0PE, cr0ET, cr0NE, cr0WP, cr0PG = 1 << 0, 1 << 4, 1 << 5, 1 << 16, 1 << 31
	cr4PAE                            = 1 << 5
	eferLME, eferLMA                  = 1 << 8, 1 << 10
	rflagsFixed                       = 1 << 1
)

// Selectors that direct entries find loaded, as Linux's boot protocol has them.
const (
	EntryCodeSelector = 0x10
	EntryDataSelector = 0x18
	EntryTaskSelector = 0x20
)

// EntryGDT returns a descriptor table with flat segments for the entry
// selectors; long says whether the code segment is 64-bit.
func EntryGDT(long bool) [5]uint64 {
	code := uint64(0x00cf9b000000ffff)
	if long {
		code = 0x00af9b000000ffff
	}
	return [5]uint64{2: code, 3: 0x00cf93000000ffff, 4: 0x00008b0000000067}
}

func flatSegments(s *kvm.Sregs, long bool) {
	code := kvm.Segment{Limit: 0xffffffff, Selector: EntryCodeSelector, Type: 0xb, Present: 1, S: 1, G: 1}
	if long {
		code.L = 1
	} else {
		code.DB = 1
	}
	data := kvm.Segment{Limit: 0xffffffff, Selector: EntryDataSelector, Type: 0x3, Present: 1, DB: 1, S: 1, G: 1}
	s.CS = code
	s.DS, s.ES, s.FS, s.GS, s.SS = data, data, data, data, data
	s.TR = kvm.Segment{Limit: 0x67, Selector: EntryTaskSelector, Type: 0xb, Present: 1}
	s.LDT = kvm.Segment{Unusable: 1}
	s.IDT = kvm.DTable{}
}

// LongEntry is an entry point in 64-bit mode with paging on, as Linux's 64-bit
// boot protocol describes it (Documentation/arch/x86/boot.rst): RSI is the
// address of boot_params.
type LongEntry struct {
	RIP, RSP, RSI uint64
	CR3           uint64 // page tables that map at least what the kernel uses one to one
	GDT           uint64 // address of what EntryGDT(true) returns
}

// Set puts the entry into registers; r and s are as after a reset.
func (e *LongEntry) Set(r *kvm.Regs, s *kvm.Sregs) {
	*r = kvm.Regs{RIP: e.RIP, RSP: e.RSP, RSI: e.RSI, RFLAGS: rflagsFixed}
	flatSegments(s, true)
	s.GDT = kvm.DTable{Base: e.GDT, Limit: 5*8 - 1}
	s.CR0 = cr0PE | cr0ET | cr0NE | cr0WP | cr0PG
	s.CR3 = e.CR3
	s.CR4 = cr4PAE
	s.EFER = eferLME | eferLMA
}

// ProtectedEntry is an entry point in 32-bit mode without paging, as the PVH
// boot protocol describes it: RBX is the address of hvm_start_info.
type ProtectedEntry struct {
	RIP, RSP, RBX uint64
	GDT           uint64 // address of what EntryGDT(false) returns
}

// Set puts the entry into registers; r and s are as after a reset.
func (e *ProtectedEntry) Set(r *kvm.Regs, s *kvm.Sregs) {
	*r = kvm.Regs{RIP: e.RIP, RSP: e.RSP, RBX: e.RBX, RFLAGS: rflagsFixed}
	flatSegments(s, false)
	s.GDT = kvm.DTable{Base: e.GDT, Limit: 5*8 - 1}
	s.CR0 = cr0PE | cr0ET
	s.CR3, s.CR4, s.EFER = 0, 0, 0
}

// RealEntry is an entry point in real mode, as ACPI's waking vector is.
type RealEntry struct {
	CS, IP uint16
}

// Set puts the entry into registers; r and s are as after a reset.
func (e *RealEntry) Set(r *kvm.Regs, s *kvm.Sregs) {
	*r = kvm.Regs{RIP: uint64(e.IP), RFLAGS: rflagsFixed}
	data := kvm.Segment{Limit: 0xffff, Type: 0x3, Present: 1, S: 1}
	s.DS, s.ES, s.FS, s.GS, s.SS = data, data, data, data, data
	s.CS = data
	s.CS.Type, s.CS.Selector, s.CS.Base = 0xb, e.CS, uint64(e.CS)<<4
	s.GDT = kvm.DTable{Limit: 0xffff}
	s.IDT = kvm.DTable{Limit: 0x3ff}
	s.CR0 = cr0ET
	s.CR3, s.CR4, s.EFER = 0, 0, 0
}
