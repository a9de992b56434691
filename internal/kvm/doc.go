// Package kvm wraps /dev/kvm: its ioctls as typed methods of System, VM and
// VCPU, the kernel's structures laid out by hand, and Thread, which runs one
// vCPU on an operating-system thread of its own.
//
// There is no policy here and no device: which CPUID leaves a guest sees, what
// a port does and what a reset is are decided above. The layouts and the
// meaning of each call are those of Linux's Documentation/virt/kvm/api.rst and
// of its uapi headers, for x86-64.
package kvm
