package kvm

import (
	"strconv"

	"golang.org/x/sys/unix"
)

// APIVersion is the only version of the interface that Linux has had since 2.6.22.
const APIVersion = 12

// DefaultPath is where the kernel's KVM is found.
const DefaultPath = "/dev/kvm"

// System is an open /dev/kvm. Its methods may be called from any goroutine.
type System struct {
	fd       int
	runBytes int // size of a vCPU's shared mapping
}

// Open opens the KVM device at path (DefaultPath if empty) and checks its version.
func Open(path string) (*System, error) {
	if path == "" {
		path = DefaultPath
	}
	fd, err := unix.Open(path, unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, openError(path, err)
	}
	s := &System{fd: fd}
	if err := s.probe(path); err != nil {
		_ = unix.Close(fd)
		return nil, err
	}
	return s, nil
}

func (s *System) probe(path string) error {
	v, err := ioctl(s.fd, reqGetAPIVersion, 0)
	if err != nil {
		e := &Error{Kind: KindUnavailable, Op: path + " is not a KVM device", VCPU: -1, Err: err}
		return e
	}
	if v != APIVersion {
		return unsupported("%s speaks version %d of the KVM interface, not %d", path, v, APIVersion)
	}
	s.runBytes, err = ioctl(s.fd, reqGetVCPUMmapSize, 0)
	if err != nil {
		return opError(reqGetVCPUMmapSize, err)
	}
	if s.runBytes < runMinBytes {
		return unsupported("%s shares %d bytes for each vCPU, fewer than the %d of its interface", path, s.runBytes, runMinBytes)
	}
	return nil
}

// Close closes the device. VMs that were made from it live on.
func (s *System) Close() error { return unix.Close(s.fd) }

// Check returns what KVM says about a capability: 0 if it is missing, else 1 or
// a value whose meaning depends on the capability.
func (s *System) Check(c Cap) int {
	n, err := ioctl(s.fd, reqCheckExtension, uintptr(c))
	if err != nil {
		return 0
	}
	return n
}

// Missing returns a *MissingError that names each needed capability which this
// KVM lacks, or nil.
func (s *System) Missing(needs ...[]Need) error { return missing(s.Check, needs) }

// CreateVM makes a virtual machine. typ is 0 for an ordinary one.
func (s *System) CreateVM(typ uintptr) (*VM, error) {
	fd, err := ioctl(s.fd, reqCreateVM, typ)
	if err != nil {
		return nil, opError(reqCreateVM, err)
	}
	unix.CloseOnExec(fd) // KVM itself sets it; a kernel that does not would leak the VM to children
	vm := &VM{fd: fd, runBytes: s.runBytes, xsaveBytes: xsaveMinBytes}
	vm.refreshXSaveSize()
	return vm, nil
}

// String names the device for messages.
func (s *System) String() string { return "kvm(fd " + strconv.Itoa(s.fd) + ")" }
