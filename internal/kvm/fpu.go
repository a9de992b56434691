package kvm

import "golang.org/x/sys/unix"

const (
	xsaveMinBytes = 4096    // struct kvm_xsave without its tail
	xsaveMaxBytes = 1 << 20 // far above any XSAVE area there is
)

// FPU is struct kvm_fpu: x87 and SSE state, for hosts without XSAVE.
type FPU struct {
	FPR        [8][16]byte
	FCW, FSW   uint16
	FTWX       uint8 // tag word in FXSAVE form
	_          uint8
	LastOpcode uint16
	LastIP     uint64
	LastDP     uint64
	XMM        [16][16]byte
	MXCSR      uint32
	_          uint32
}

// FPU reads x87 and SSE state.
func (v *VCPU) FPU(f *FPU) error {
	return transfer(v, reqGetFPU, f)
}

// SetFPU writes x87 and SSE state.
func (v *VCPU) SetFPU(f *FPU) error {
	return transfer(v, reqSetFPU, f)
}

// XSaveSize returns the size of the vCPU's XSAVE area: at least 4096.
func (v *VCPU) XSaveSize() int { return v.xsaveBytes }

// XSave reads the XSAVE area (standard form, component offsets as in the host's
// CPUID leaf 0xd) into buf, which must have XSaveSize bytes.
func (v *VCPU) XSave(buf []byte) error {
	req := reqGetXSave
	if v.xsaveBytes > xsaveMinBytes {
		req = reqGetXSave2
	}
	if len(buf) < v.xsaveBytes {
		return v.fail(req, unix.ENOSPC)
	}
	_, err := ioctlPtr(v.fd, req, &buf[0])
	return v.fail(req, err)
}

// SetXSave loads an XSAVE area of XSaveSize bytes. KVM refuses components that
// the host or the vCPU's CPUID does not have.
func (v *VCPU) SetXSave(buf []byte) error {
	if len(buf) < v.xsaveBytes {
		return v.fail(reqSetXSave, unix.EINVAL)
	}
	_, err := ioctlPtr(v.fd, reqSetXSave, &buf[0])
	return v.fail(reqSetXSave, err)
}

const maxXCRs = 16

// xcr is struct kvm_xcr.
type xcr struct {
	index uint32
	_     uint32
	value uint64
}

// xcrs is struct kvm_xcrs.
type xcrs struct {
	n   uint32
	_   uint32
	xcr [maxXCRs]xcr
	_   [16]uint64
}

// XCR0 reads extended control register 0, the enabled XSAVE components.
func (v *VCPU) XCR0() (uint64, error) {
	var arg xcrs
	if _, err := ioctlPtr(v.fd, reqGetXCRs, &arg); err != nil {
		return 0, v.fail(reqGetXCRs, err)
	}
	for _, x := range arg.xcr[:min(arg.n, maxXCRs)] {
		if x.index == 0 {
			return x.value, nil
		}
	}
	return 0, v.fail(reqGetXCRs, unix.ENOENT)
}

// SetXCR0 writes extended control register 0.
func (v *VCPU) SetXCR0(value uint64) error {
	arg := xcrs{n: 1}
	arg.xcr[0].value = value
	_, err := ioctlPtr(v.fd, reqSetXCRs, &arg)
	return v.fail(reqSetXCRs, err)
}
