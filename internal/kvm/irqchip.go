package kvm

import "encoding/binary"

// Numbers of the in-kernel interrupt controllers.
const (
	IRQChipPICMaster uint32 = 0
	IRQChipPICSlave  uint32 = 1
	IRQChipIOAPIC    uint32 = 2
)

// IOAPICPins is the number of inputs of the in-kernel I/O APIC.
const IOAPICPins = 24

// CreateIRQChip makes the in-kernel PICs, I/O APIC and, in each vCPU made later,
// local APIC, with the default routing of GSIs 0-15 to both and 16-23 to the
// I/O APIC.
func (m *VM) CreateIRQChip() error {
	if _, err := ioctl(m.fd, reqCreateIRQChip, 0); err != nil {
		return opError(reqCreateIRQChip, err)
	}
	return nil
}

// irqLevel is struct kvm_irq_level.
type irqLevel struct{ irq, level uint32 }

// IRQLine sets the level of a GSI.
func (m *VM) IRQLine(gsi uint32, high bool) error {
	arg := irqLevel{irq: gsi}
	if high {
		arg.level = 1
	}
	if _, err := ioctlPtr(m.fd, reqIRQLine, &arg); err != nil {
		return opError(reqIRQLine, err)
	}
	return nil
}

// irqChip is struct kvm_irqchip.
type irqChip struct {
	id   uint32
	_    uint32
	data [512]byte
}

// PICState is struct kvm_pic_state, one 8259A.
type PICState struct {
	LastIRR, IRR, IMR, ISR uint8
	PriorityAdd            uint8
	IRQBase                uint8
	ReadRegSelect          uint8
	Poll                   uint8
	SpecialMask            uint8
	InitState              uint8
	AutoEOI                uint8
	RotateOnAutoEOI        uint8
	SpecialFullyNestedMode uint8
	Init4                  uint8
	ELCR, ELCRMask         uint8
}

// IOAPICState is struct kvm_ioapic_state.
type IOAPICState struct {
	BaseAddress uint64
	IORegSel    uint32
	ID          uint32
	IRR         uint32
	RedirTable  [IOAPICPins]uint64
}

// PIC returns the state of the master or slave PIC.
func (m *VM) PIC(chip uint32) (PICState, error) {
	var s PICState
	arg := irqChip{id: chip}
	if _, err := ioctlPtr(m.fd, reqGetIRQChip, &arg); err != nil {
		return s, opError(reqGetIRQChip, err)
	}
	_, err := binary.Decode(arg.data[:], binary.LittleEndian, &s)
	return s, err
}

// SetPIC loads the state of the master or slave PIC.
func (m *VM) SetPIC(chip uint32, s *PICState) error {
	arg := irqChip{id: chip}
	if _, err := binary.Encode(arg.data[:], binary.LittleEndian, s); err != nil {
		return err
	}
	if _, err := ioctlPtr(m.fd, reqSetIRQChip, &arg); err != nil {
		return opError(reqSetIRQChip, err)
	}
	return nil
}

// IOAPIC returns the state of the I/O APIC.
func (m *VM) IOAPIC() (IOAPICState, error) {
	arg := irqChip{id: IRQChipIOAPIC}
	if _, err := ioctlPtr(m.fd, reqGetIRQChip, &arg); err != nil {
		return IOAPICState{}, opError(reqGetIRQChip, err)
	}
	le, d := binary.LittleEndian, arg.data[:]
	s := IOAPICState{
		BaseAddress: le.Uint64(d), IORegSel: le.Uint32(d[8:]),
		ID: le.Uint32(d[12:]), IRR: le.Uint32(d[16:]),
	}
	for i := range s.RedirTable {
		s.RedirTable[i] = le.Uint64(d[24+8*i:])
	}
	return s, nil
}

// SetIOAPIC loads the state of the I/O APIC.
func (m *VM) SetIOAPIC(s *IOAPICState) error {
	arg := irqChip{id: IRQChipIOAPIC}
	le, d := binary.LittleEndian, arg.data[:]
	le.PutUint64(d, s.BaseAddress)
	le.PutUint32(d[8:], s.IORegSel)
	le.PutUint32(d[12:], s.ID)
	le.PutUint32(d[16:], s.IRR)
	for i, e := range s.RedirTable {
		le.PutUint64(d[24+8*i:], e)
	}
	if _, err := ioctlPtr(m.fd, reqSetIRQChip, &arg); err != nil {
		return opError(reqSetIRQChip, err)
	}
	return nil
}
