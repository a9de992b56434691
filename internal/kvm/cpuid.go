package kvm

import (
	"errors"

	"golang.org/x/sys/unix"
)

// CPUIDEntry is struct kvm_cpuid_entry2: the four registers that a CPUID leaf
// (and, if Flags has CPUIDSignificantIndex, its sub-leaf) returns.
type CPUIDEntry struct {
	Function, Index, Flags uint32
	EAX, EBX, ECX, EDX     uint32
	_                      [3]uint32
}

// CPUIDSignificantIndex in CPUIDEntry.Flags: the entry is for one value of ECX only.
const CPUIDSignificantIndex = 1

const (
	cpuidEntryWords = 10 // of 32 bits
	cpuidHeadWords  = 2
	cpuidMaxEntries = 256 // KVM_MAX_CPUID_ENTRIES
	usualCPUID      = 64  // entries that there is room for at first
)

// growCPUID issues a call that fills a kvm_cpuid2, with room for n entries and
// more each time that the kernel asks for it.
func growCPUID(fd int, req request, n int) ([]CPUIDEntry, error) {
	for ; ; n *= 2 {
		buf := make([]uint32, cpuidHeadWords+cpuidEntryWords*n)
		buf[0] = uint32(n)
		_, err := ioctlPtr(fd, req, &buf[0])
		if err == nil {
			return decodeCPUID(buf), nil
		}
		if !errors.Is(err, unix.E2BIG) || n >= 16*cpuidMaxEntries {
			return nil, opError(req, err)
		}
	}
}

func decodeCPUID(buf []uint32) []CPUIDEntry {
	n := min(int(buf[0]), (len(buf)-cpuidHeadWords)/cpuidEntryWords)
	entries := make([]CPUIDEntry, n)
	for i := range entries {
		w := buf[cpuidHeadWords+i*cpuidEntryWords:]
		entries[i] = CPUIDEntry{
			Function: w[0], Index: w[1], Flags: w[2],
			EAX: w[3], EBX: w[4], ECX: w[5], EDX: w[6],
		}
	}
	return entries
}

func encodeCPUID(entries []CPUIDEntry) []uint32 {
	buf := make([]uint32, cpuidHeadWords+cpuidEntryWords*len(entries))
	buf[0] = uint32(len(entries))
	for i, e := range entries {
		w := buf[cpuidHeadWords+i*cpuidEntryWords:]
		w[0], w[1], w[2] = e.Function, e.Index, e.Flags
		w[3], w[4], w[5], w[6] = e.EAX, e.EBX, e.ECX, e.EDX
	}
	return buf
}

// SupportedCPUID returns the leaves that KVM can give a guest on this host. A
// few features (x2APIC, TSC deadline, those that depend on the in-kernel
// interrupt controllers) are told by capabilities instead.
func (s *System) SupportedCPUID() ([]CPUIDEntry, error) {
	return growCPUID(s.fd, reqGetSupportedCPUID, usualCPUID)
}

// SetCPUID gives the vCPU its CPUID leaves. It must be done before the vCPU
// first runs; afterwards KVM refuses changes.
func (v *VCPU) SetCPUID(entries []CPUIDEntry) error {
	if len(entries) > cpuidMaxEntries {
		return v.fail(reqSetCPUID2, unix.E2BIG)
	}
	buf := encodeCPUID(entries)
	_, err := ioctlPtr(v.fd, reqSetCPUID2, &buf[0])
	return v.fail(reqSetCPUID2, err)
}

// CPUID returns the leaves that the vCPU has, as KVM adjusted them.
func (v *VCPU) CPUID() ([]CPUIDEntry, error) { return growCPUID(v.fd, reqGetCPUID2, usualCPUID) }
