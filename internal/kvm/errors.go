package kvm

import (
	"errors"
	"fmt"
	"strconv"

	"golang.org/x/sys/unix"
)

// Kind is the stable part of an Error.
type Kind uint8

// The kinds of error.
const (
	KindFailed      Kind = iota // the kernel refused a call
	KindUnavailable             // there is no usable /dev/kvm
	KindDenied                  // /dev/kvm exists but may not be opened
	KindUnsupported             // this kernel's KVM lacks something
)

// Error is what every call of this package fails with.
type Error struct {
	Kind Kind
	Op   string // the ioctl's name, or what was being done
	VCPU int    // the vCPU's id, or -1
	Hint string // what to do about it, or empty
	Err  error  // the cause: usually a unix.Errno
}

// Error names the call, the vCPU and the cause.
func (e *Error) Error() string {
	s := e.Op
	if e.VCPU >= 0 {
		s += " on vCPU " + strconv.Itoa(e.VCPU)
	}
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	if e.Hint != "" {
		s += ": " + e.Hint
	}
	return s
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

func opError(req request, err error) error {
	return &Error{Op: req.String(), VCPU: -1, Err: err}
}

func openError(path string, err error) error {
	e := &Error{Kind: KindUnavailable, Op: "cannot open " + path, VCPU: -1, Err: err}
	switch {
	case errors.Is(err, unix.ENOENT), errors.Is(err, unix.ENXIO), errors.Is(err, unix.ENODEV):
		e.Hint = "load the kvm_intel or kvm_amd module, and check that virtualisation is enabled in the host's firmware"
	case errors.Is(err, unix.EACCES), errors.Is(err, unix.EPERM):
		e.Kind = KindDenied
		e.Hint = "add the user to the group that owns it (usually kvm)"
	}
	return e
}

func unsupported(format string, args ...any) error {
	return &Error{Kind: KindUnsupported, Op: fmt.Sprintf(format, args...), VCPU: -1}
}
