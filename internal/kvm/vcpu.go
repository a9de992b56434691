package kvm

import (
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// VCPU is one virtual processor. KVM wants all its calls from one thread, so
// nothing but Kick's part of it is safe for concurrent use: see Thread.
type VCPU struct {
	fd         int
	id         int
	xsaveBytes int
	run        []byte         // the page shared with the kernel, and PIO data after it
	word0      *atomic.Uint32 // first word of run
}

// CreateVCPU makes the vCPU with the given id, which is its APIC id.
func (m *VM) CreateVCPU(id int) (*VCPU, error) {
	fd, err := ioctl(m.fd, reqCreateVCPU, uintptr(id))
	if err != nil {
		return nil, &Error{Op: reqCreateVCPU.String(), VCPU: id, Err: err}
	}
	unix.CloseOnExec(fd)
	run, err := unix.Mmap(fd, 0, m.runBytes, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		_ = unix.Close(fd)
		return nil, &Error{Op: "mapping the shared page", VCPU: id, Err: err}
	}
	m.refreshXSaveSize() // it grows when the process is given AMX, which must precede vCPUs
	return &VCPU{fd: fd, id: id, xsaveBytes: m.xsaveBytes, run: run, word0: runWord(run)}, nil
}

// ID returns the vCPU's id.
func (v *VCPU) ID() int { return v.id }

// Close frees the vCPU. It must not be running.
func (v *VCPU) Close() error {
	err := unix.Munmap(v.run)
	v.run, v.word0 = nil, nil
	if e := unix.Close(v.fd); err == nil {
		err = e
	}
	return err
}

// transfer makes a vCPU's call that reads or writes the structure at p.
func transfer[T any](v *VCPU, req request, p *T) error {
	_, err := ioctlPtr(v.fd, req, p)
	return v.fail(req, err)
}

func (v *VCPU) fail(req request, err error) error {
	if err == nil {
		return nil
	}
	return &Error{Op: req.String(), VCPU: v.id, Err: err}
}

// EnableCap turns on a capability of the vCPU.
func (v *VCPU) EnableCap(c Cap, args ...uint64) error {
	arg := enableCap{cap: uint32(c)}
	copy(arg.args[:], args)
	if _, err := ioctlPtr(v.fd, reqEnableCap, &arg); err != nil {
		return &Error{Op: "KVM_ENABLE_CAP " + c.String(), VCPU: v.id, Err: err}
	}
	return nil
}

// TSCKHz returns the guest's TSC frequency in kHz.
func (v *VCPU) TSCKHz() (int, error) {
	n, err := ioctl(v.fd, reqGetTSCKHz, 0)
	return n, v.fail(reqGetTSCKHz, err)
}

// SetTSCKHz sets the guest's TSC frequency in kHz (CapTSCControl).
func (v *VCPU) SetTSCKHz(khz int) error {
	_, err := ioctl(v.fd, reqSetTSCKHz, uintptr(khz))
	return v.fail(reqSetTSCKHz, err)
}

const (
	attrTSCControl = 0 // KVM_VCPU_TSC_CTRL
	attrTSCOffset  = 0 // KVM_VCPU_TSC_OFFSET
)

// HasTSCOffset reports whether TSCOffset and SetTSCOffset work.
func (v *VCPU) HasTSCOffset() bool {
	var unused uint64
	return attrU64(v.fd, reqHasDeviceAttr, attrTSCControl, attrTSCOffset, &unused) == nil
}

// TSCOffset returns what is added to the host's TSC (scaled) to make the guest's.
func (v *VCPU) TSCOffset() (uint64, error) {
	var off uint64
	err := attrU64(v.fd, reqGetDeviceAttr, attrTSCControl, attrTSCOffset, &off)
	return off, v.fail(reqGetDeviceAttr, err)
}

// SetTSCOffset sets what TSCOffset returns.
func (v *VCPU) SetTSCOffset(off uint64) error {
	return v.fail(reqSetDeviceAttr, attrU64(v.fd, reqSetDeviceAttr, attrTSCControl, attrTSCOffset, &off))
}

// KVMClockCtrl tells the guest, through its paravirtual clock, that it was
// paused, so that its watchdogs do not fire. A guest without that clock makes it
// fail with EINVAL, which is no error here.
func (v *VCPU) KVMClockCtrl() error {
	_, err := ioctl(v.fd, reqKVMClockCtrl, 0)
	if err == unix.EINVAL {
		return nil
	}
	return v.fail(reqKVMClockCtrl, err)
}

// NMI injects a non-maskable interrupt, bypassing the local APIC.
func (v *VCPU) NMI() error {
	_, err := ioctl(v.fd, reqNMI, 0)
	return v.fail(reqNMI, err)
}

// Translation is what the guest's page tables say about a linear address.
type Translation struct {
	Linear   uint64
	Physical uint64
	Valid    bool
}

// translation is struct kvm_translation.
type translation struct {
	linear, physical uint64
	valid            uint8
	_                [7]byte
}

// Translate walks the guest's current page tables.
func (v *VCPU) Translate(linear uint64) (Translation, error) {
	arg := translation{linear: linear}
	_, err := ioctlPtr(v.fd, reqTranslate, &arg)
	if err != nil {
		return Translation{Linear: linear}, v.fail(reqTranslate, err)
	}
	return Translation{Linear: linear, Physical: arg.physical, Valid: arg.valid != 0}, nil
}
