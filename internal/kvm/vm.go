package kvm

import (
	"golang.org/x/sys/unix"
)

// VM is a virtual machine. Its methods may be called from any goroutine; KVM
// serialises what must be.
type VM struct {
	fd         int
	runBytes   int
	xsaveBytes int // size of a vCPU's XSAVE area
}

// Close gives up the machine. It is freed when its vCPUs are closed as well.
func (m *VM) Close() error { return unix.Close(m.fd) }

// FD returns the machine's descriptor, for interfaces that take one (VFIO).
func (m *VM) FD() int { return m.fd }

// Check returns what KVM says about a capability of this machine; see System.Check.
func (m *VM) Check(c Cap) int {
	n, err := ioctl(m.fd, reqCheckExtension, uintptr(c))
	if err != nil {
		return 0
	}
	return n
}

// Missing returns a *MissingError that names each needed capability which this
// machine lacks, or nil.
func (m *VM) Missing(needs ...[]Need) error { return missing(m.Check, needs) }

// enableCap is struct kvm_enable_cap.
type enableCap struct {
	cap  uint32
	_    uint32
	args [4]uint64
	_    [64]byte
}

// EnableCap turns on a capability that must be asked for.
func (m *VM) EnableCap(c Cap, args ...uint64) error {
	arg := enableCap{cap: uint32(c)}
	copy(arg.args[:], args)
	if _, err := ioctlPtr(m.fd, reqEnableCap, &arg); err != nil {
		return &Error{Op: "KVM_ENABLE_CAP " + c.String(), VCPU: -1, Err: err}
	}
	return nil
}

// DisableExitsIdle is what CapX86DisableExits has for vCPUs that wait
// (KVM_X86_DISABLE_EXITS_*): MWAIT, HLT, PAUSE and C-states.
const DisableExitsIdle = 1<<0 | 1<<1 | 1<<2 | 1<<3

// MaxVCPUs returns how many vCPUs a machine can have.
func (m *VM) MaxVCPUs() int {
	if n := m.Check(CapMaxVCPUs); n > 0 {
		return n
	}
	if n := m.Check(CapNrVCPUs); n > 0 {
		return n
	}
	return 4 // what api.rst says of kernels that tell neither
}

// MaxVCPUID returns the bound of vCPU ids (which are APIC ids): ids are below it.
func (m *VM) MaxVCPUID() int {
	if n := m.Check(CapMaxVCPUID); n > 0 {
		return n
	}
	return m.MaxVCPUs()
}

// SetTSSAddr places three pages that VMX hosts need, anywhere below 4 GiB where
// the guest has nothing. It must precede the first vCPU.
func (m *VM) SetTSSAddr(addr uint32) error {
	if _, err := ioctl(m.fd, reqSetTSSAddr, uintptr(addr)); err != nil {
		return opError(reqSetTSSAddr, err)
	}
	return nil
}

// SetIdentityMapAddr places one page that VMX hosts need, as SetTSSAddr does.
func (m *VM) SetIdentityMapAddr(addr uint64) error {
	if _, err := ioctlPtr(m.fd, reqSetIdentityMapAddr, &addr); err != nil {
		return opError(reqSetIdentityMapAddr, err)
	}
	return nil
}

// SetBootCPUID says which vCPU is the bootstrap processor (default 0). It must
// precede the first vCPU.
func (m *VM) SetBootCPUID(id int) error {
	if _, err := ioctl(m.fd, reqSetBootCPUID, uintptr(id)); err != nil {
		return opError(reqSetBootCPUID, err)
	}
	return nil
}

func (m *VM) refreshXSaveSize() {
	if n := m.Check(CapXSave2); n >= xsaveMinBytes && n <= xsaveMaxBytes {
		m.xsaveBytes = n
	}
}
