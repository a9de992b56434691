package cpu

import (
	"encoding/binary"

	"govmd/internal/kvm"
)

// Host is what the host's KVM can give a guest.
type Host struct {
	CPUID []kvm.CPUIDEntry // KVM_GET_SUPPORTED_CPUID

	TSCDeadline bool   // the in-kernel local APIC has the TSC deadline timer
	TSCControl  bool   // the guest's TSC can have another frequency
	ArchCap     uint64 // MSR IA32_ARCH_CAPABILITIES for guests

	// grantAMX asks the kernel to let guests use AMX tiles, and returns the
	// supported CPUID with them. Nil if it cannot be asked.
	grantAMX func() ([]kvm.CPUIDEntry, error)
}

// NewHost asks sys what it can give a guest.
func NewHost(sys *kvm.System) (*Host, error) {
	entries, err := sys.SupportedCPUID()
	if err != nil {
		return nil, err
	}
	h := &Host{
		CPUID:       entries,
		TSCDeadline: sys.Check(kvm.CapTSCDeadlineTimer) != 0,
		TSCControl:  sys.Check(kvm.CapTSCControl) != 0,
	}
	if sys.Check(kvm.CapGetMSRFeatures) != 0 {
		m := []kvm.MSR{{Index: msrArchCapabilities}}
		if sys.GetMSRs(m) == nil { // hosts without it need none
			h.ArchCap = m[0].Value
		}
	}
	h.grantAMX = func() ([]kvm.CPUIDEntry, error) {
		if err := kvm.AllowGuestAMX(); err != nil {
			return nil, err
		}
		return sys.SupportedCPUID()
	}
	return h, nil
}

// leaf returns a supported leaf, or zeros.
func (h *Host) leaf(function, index uint32) kvm.CPUIDEntry {
	for _, e := range h.CPUID {
		if e.Function == function && (e.Flags&kvm.CPUIDSignificantIndex == 0 || e.Index == index) {
			return e
		}
	}
	return kvm.CPUIDEntry{Function: function, Index: index}
}

func (r reg) of(e *kvm.CPUIDEntry) *uint32 {
	switch r {
	case regEAX:
		return &e.EAX
	case regEBX:
		return &e.EBX
	case regECX:
		return &e.ECX
	}
	return &e.EDX
}

// Supported returns the features that a guest can have.
func (h *Host) Supported() (f Features) {
	for w := range numWords {
		i := w.info()
		if i.msr != 0 {
			f[w] = uint32(h.ArchCap)
			continue
		}
		e := h.leaf(i.leaf, i.index)
		f[w] = *i.reg.of(&e)
	}
	// What KVM does without telling in its leaves.
	extra := set("hypervisor x2apic arat topoext ht")
	if h.TSCDeadline {
		extra = merge(extra, set("tsc-deadline"))
	}
	f = merge(f, extra)
	// A guest that waits with MONITOR or UMWAIT keeps the host's CPU to itself.
	off := set("monitor waitpkg")
	// Tiles need room in the XSAVE area, which the kernel grants apart.
	if h.xcr0()&xcr0AMX != xcr0AMX {
		off = merge(off, set("amx-tile amx-bf16 amx-int8 xfd"))
	}
	for w := range f {
		f[w] &^= off[w]
	}
	return f
}

// xcr0 returns the XSAVE components that a guest can enable.
func (h *Host) xcr0() uint64 {
	e := h.leaf(0xd, 0)
	return uint64(e.EDX)<<32 | uint64(e.EAX)
}

// Vendor returns the host's 12-character vendor name.
func (h *Host) Vendor() string {
	e := h.leaf(0, 0)
	var b [12]byte
	binary.LittleEndian.PutUint32(b[:], e.EBX)
	binary.LittleEndian.PutUint32(b[4:], e.EDX)
	binary.LittleEndian.PutUint32(b[8:], e.ECX)
	return string(b[:])
}

// modelID returns the host's processor name, which some KVMs leave empty.
func (h *Host) modelID() string {
	var b []byte
	for l := uint32(0x80000002); l <= 0x80000004; l++ {
		e := h.leaf(l, 0)
		for _, r := range []uint32{e.EAX, e.EBX, e.ECX, e.EDX} {
			b = binary.LittleEndian.AppendUint32(b, r)
		}
	}
	for i, c := range b {
		if c == 0 {
			b = b[:i]
			break
		}
	}
	return string(b)
}

// physBits returns how many physical address bits a guest can have.
func (h *Host) physBits() uint32 {
	e := h.leaf(0x80000008, 0)
	if guest := e.EAX >> 16 & 0xff; guest != 0 {
		return guest // fewer than the processor's where nested paging cannot reach all
	}
	if bits := e.EAX & 0xff; bits != 0 {
		return bits
	}
	return defaultPhysBits
}
