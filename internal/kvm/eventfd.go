package kvm

import "fmt"

const (
	irqfdDeassign = 1 << 0
	irqfdResample = 1 << 1

	ioeventDatamatch = 1 << 0
	ioeventPIO       = 1 << 1
	ioeventDeassign  = 1 << 2
)

// irqfd is struct kvm_irqfd.
type irqfd struct {
	fd         uint32
	gsi        uint32
	flags      uint32
	resampleFD uint32
	_          [16]byte
}

// IRQFD lets a write to the eventfd fd raise a GSI: as a pulse, or, with a
// resample eventfd (0 or more; pass -1 for none), as a level that KVM lowers on
// the guest's end of interrupt, writing to resample so that the device can
// raise it again.
func (m *VM) IRQFD(fd int, gsi uint32, resample int) error {
	arg := irqfd{fd: uint32(fd), gsi: gsi}
	if resample >= 0 {
		arg.flags = irqfdResample
		arg.resampleFD = uint32(resample)
	}
	if _, err := ioctlPtr(m.fd, reqIRQFD, &arg); err != nil {
		return &Error{Op: fmt.Sprintf("%s GSI %d", reqIRQFD, gsi), VCPU: -1, Err: err}
	}
	return nil
}

// RemoveIRQFD undoes IRQFD. When it returns KVM does not read fd any more.
func (m *VM) RemoveIRQFD(fd int, gsi uint32) error {
	arg := irqfd{fd: uint32(fd), gsi: gsi, flags: irqfdDeassign}
	if _, err := ioctlPtr(m.fd, reqIRQFD, &arg); err != nil {
		return &Error{Op: fmt.Sprintf("%s (remove) GSI %d", reqIRQFD, gsi), VCPU: -1, Err: err}
	}
	return nil
}

// IOEvent describes guest writes that signal an eventfd instead of leaving the
// kernel.
type IOEvent struct {
	Addr uint64 // port, or guest-physical address
	PIO  bool
	Len  uint32 // 1, 2, 4 or 8 bytes; 0 for any length, which for MMIO is also the fastest
	// Match: only writes of the value Data (Len is not 0 then).
	Match bool
	Data  uint64
	FD    int
}

// ioEventFD is struct kvm_ioeventfd.
type ioEventFD struct {
	data  uint64
	addr  uint64
	len   uint32
	fd    int32
	flags uint32
	_     [36]byte
}

// AddIOEvent installs e.
func (m *VM) AddIOEvent(e *IOEvent) error { return m.ioEvent(e, 0) }

// RemoveIOEvent undoes AddIOEvent of an equal e. When it returns KVM does not
// signal the eventfd any more.
func (m *VM) RemoveIOEvent(e *IOEvent) error { return m.ioEvent(e, ioeventDeassign) }

func (m *VM) ioEvent(e *IOEvent, flags uint32) error {
	arg := ioEventFD{addr: e.Addr, len: e.Len, fd: int32(e.FD), flags: flags}
	if e.PIO {
		arg.flags |= ioeventPIO
	}
	if e.Match {
		arg.flags |= ioeventDatamatch
		arg.data = e.Data
	}
	if _, err := ioctlPtr(m.fd, reqIOEventFD, &arg); err != nil {
		return &Error{Op: fmt.Sprintf("%s at 0x%x", reqIOEventFD, e.Addr), VCPU: -1, Err: err}
	}
	return nil
}
