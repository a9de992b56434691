package cpu

import (
	"govmd/internal/kvm"
	"govmd/internal/machine/boot"
)

// Enter has the vCPU, which has just been reset, begin at an entry point instead
// of the reset vector.
func (c *VCPU) Enter(e *boot.Entry) error {
	return c.SetRegisters(func(r *kvm.Regs, s *kvm.Sregs) { setEntry(e, r, s) })
}

func setEntry(e *boot.Entry, r *kvm.Regs, s *kvm.Sregs) {
	const fixed = 1 << 1 // of RFLAGS
	*r = kvm.Regs{RIP: e.RIP, RSP: e.RSP, RBX: e.RBX, RSI: e.RSI, RFLAGS: e.RFLAGS | fixed}
	data := segment(e.Data)
	s.DS, s.ES, s.FS, s.GS, s.SS = data, data, data, data, data
	s.CS, s.TR = segment(e.CS), segment(e.TR)
	s.GDT = kvm.DTable{Base: e.GDT.Base, Limit: e.GDT.Limit}
	s.IDT = kvm.DTable{Base: e.IDT.Base, Limit: e.IDT.Limit}
	s.CR0, s.CR3, s.CR4, s.EFER = e.CR0, e.CR3, e.CR4, e.EFER
}

func segment(r boot.SegmentRegister) kvm.Segment {
	bit := func(b bool) uint8 {
		if b {
			return 1
		}
		return 0
	}
	return kvm.Segment{
		Base: r.Base, Limit: r.Limit, Selector: r.Selector, Type: r.Type, Present: 1,
		S: bit(!r.System), L: bit(r.Long), DB: bit(r.Big), G: bit(r.Granular),
	}
}
