package accel

import (
	"fmt"

	"govmd/internal/device"
	"govmd/internal/kvm"
	"govmd/internal/object"
	"govmd/internal/state"
)

// The in-kernel interrupt controllers and timer are devices of the machine all
// the same: they are reset, saved and loaded with it.
func init() {
	device.Register(object.Type{Name: "kvm-i8259", Description: "in-kernel 8259A interrupt controllers",
		New: func() object.Object { return &kvmPIC{} }})
	device.Register(object.Type{Name: "kvm-ioapic", Description: "in-kernel I/O APIC",
		New: func() object.Object { return &kvmIOAPIC{} }})
}

// vmUser is a device whose work is done by KVM.
type vmUser interface {
	device.Device
	setVM(*kvm.VM)
}

type vmHolder struct {
	device.Base
	vm *kvm.VM
}

func (h *vmHolder) setVM(vm *kvm.VM) { h.vm = vm }

// Realize implements device.Device.
func (h *vmHolder) Realize() error {
	if h.vm == nil {
		return fmt.Errorf("%s belongs to a machine that runs on KVM", h.TypeName())
	}
	return nil
}

// Unrealize implements device.Device.
func (h *vmHolder) Unrealize() {}

// check logs what KVM refuses of values that are valid by construction.
func (h *vmHolder) check(err error) {
	if err != nil {
		h.Warnf("%v", err)
	}
}

type kvmPIC struct{ vmHolder }

// picELCRMask is which inputs of the master and slave can be level-triggered.
var picELCRMask = [2]uint8{0xf8, 0xde}

// ResetHold implements device.ResetHolder.
func (p *kvmPIC) ResetHold() {
	for chip, mask := range picELCRMask {
		p.check(p.vm.SetPIC(uint32(chip), &kvm.PICState{ELCRMask: mask}))
	}
}

type picPair struct {
	Master, Slave kvm.PICState
}

// States implements device.Stater.
func (p *kvmPIC) States() []state.Entry {
	e := state.Entry{Version: 1, Priority: state.PriorityIRQ,
		Save: func() (any, error) {
			var s picPair
			var err error
			if s.Master, err = p.vm.PIC(kvm.IRQChipPICMaster); err != nil {
				return nil, err
			}
			s.Slave, err = p.vm.PIC(kvm.IRQChipPICSlave)
			return s, err
		},
		New: func() any { return &picPair{} },
		Load: func(v any, _ int) error {
			s := v.(*picPair)
			if err := p.vm.SetPIC(kvm.IRQChipPICMaster, &s.Master); err != nil {
				return err
			}
			return p.vm.SetPIC(kvm.IRQChipPICSlave, &s.Slave)
		}}
	return []state.Entry{e}
}

type kvmIOAPIC struct{ vmHolder }

// ioapicBase is where the I/O APIC's registers are.
const ioapicBase = 0xfec00000

// ResetHold implements device.ResetHolder.
func (p *kvmIOAPIC) ResetHold() {
	s := kvm.IOAPICState{BaseAddress: ioapicBase}
	for i := range s.RedirTable {
		s.RedirTable[i] = 1 << 16 // masked
	}
	p.check(p.vm.SetIOAPIC(&s))
}

// States implements device.Stater.
func (p *kvmIOAPIC) States() []state.Entry {
	return []state.Entry{{Version: 1, Priority: state.PriorityIRQ,
		Save: func() (any, error) { return p.vm.IOAPIC() },
		New:  func() any { return &kvm.IOAPICState{} },
		Load: func(v any, _ int) error { return p.vm.SetIOAPIC(v.(*kvm.IOAPICState)) },
	}}
}
