package kvm

// Regs is struct kvm_regs: the general registers.
type Regs struct {
	RAX, RBX, RCX, RDX uint64
	RSI, RDI, RSP, RBP uint64
	R8, R9, R10, R11   uint64
	R12, R13, R14, R15 uint64
	RIP, RFLAGS        uint64
}

// Segment is struct kvm_segment: a segment register with its hidden part.
type Segment struct {
	Base     uint64
	Limit    uint32 // in bytes, whatever G says
	Selector uint16
	Type     uint8 // of the descriptor
	Present  uint8
	DPL      uint8
	DB       uint8
	S        uint8
	L        uint8
	G        uint8
	AVL      uint8
	Unusable uint8
	_        uint8
}

// DTable is struct kvm_dtable: GDTR or IDTR.
type DTable struct {
	Base  uint64
	Limit uint16
	_     [3]uint16
}

// Sregs is struct kvm_sregs: segment, descriptor-table and control registers,
// the APIC base MSR, and the external interrupt (if any) that has been
// acknowledged but not yet delivered.
type Sregs struct {
	CS, DS, ES, FS, GS, SS  Segment
	TR, LDT                 Segment
	GDT, IDT                DTable
	CR0, CR2, CR3, CR4, CR8 uint64
	EFER                    uint64
	APICBase                uint64
	InterruptBitmap         [4]uint64
}

// Sregs2PDPTRsValid in Sregs2.Flags: PDPTRs holds the four PAE root entries that
// the processor has cached.
const Sregs2PDPTRsValid uint64 = 1

// Sregs2 is struct kvm_sregs2 (CapSregs2): Sregs with the cached PAE roots and
// without the pending interrupt, which VCPUEvents has.
type Sregs2 struct {
	CS, DS, ES, FS, GS, SS  Segment
	TR, LDT                 Segment
	GDT, IDT                DTable
	CR0, CR2, CR3, CR4, CR8 uint64
	EFER                    uint64
	APICBase                uint64
	Flags                   uint64
	PDPTRs                  [4]uint64
}

// Regs reads the general registers.
func (v *VCPU) Regs(r *Regs) error {
	return transfer(v, reqGetRegs, r)
}

// SetRegs writes the general registers. It drops a pending exception.
func (v *VCPU) SetRegs(r *Regs) error {
	return transfer(v, reqSetRegs, r)
}

// Sregs reads the system registers.
func (v *VCPU) Sregs(s *Sregs) error {
	return transfer(v, reqGetSregs, s)
}

// SetSregs writes the system registers.
func (v *VCPU) SetSregs(s *Sregs) error {
	return transfer(v, reqSetSregs, s)
}

// Sregs2 reads the system registers, cached PAE roots included.
func (v *VCPU) Sregs2(s *Sregs2) error {
	return transfer(v, reqGetSregs2, s)
}

// SetSregs2 writes the system registers.
func (v *VCPU) SetSregs2(s *Sregs2) error {
	return transfer(v, reqSetSregs2, s)
}
