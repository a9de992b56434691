package accel

import (
	"io"

	"govmd/internal/device/i8259"
	"govmd/internal/device/ioapic"
	"govmd/internal/kvm"
	"govmd/internal/memory"
)

// PrintPIC shows the in-kernel PICs as `info pic` does.
func (p *kvmPIC) PrintPIC(w io.Writer) error {
	for chip := int(kvm.IRQChipPICSlave); chip >= 0; chip-- {
		s, err := p.vm.PIC(uint32(chip))
		if err != nil {
			return err
		}
		t := i8259.Text{
			IRR: s.IRR, IMR: s.IMR, ISR: s.ISR, Highest: s.PriorityAdd, Base: s.IRQBase, ELCR: s.ELCR,
			ReadISR: s.ReadRegSelect != 0, FullyNested: s.SpecialFullyNestedMode != 0,
		}
		t.Print(w, chip)
	}
	return nil
}

// inKernelVersion is what KVM's I/O APIC says that it is.
const inKernelVersion = 0x11

// PrintPIC shows the in-kernel I/O APIC as `info pic` does.
func (p *kvmIOAPIC) PrintPIC(w io.Writer) error {
	s, err := p.vm.IOAPIC()
	if err != nil {
		return err
	}
	t := ioapic.Text{Version: inKernelVersion, ID: s.ID, Select: s.IORegSel, IRR: s.IRR, Table: s.RedirTable[:]}
	t.Print(w)
	return nil
}

// MapsSection reports whether the guest reaches a section of memory without an exit.
func (a *KVM) MapsSection(s memory.Section) bool {
	_, _, _, ok := page(s)
	return ok
}
