package cpu

import (
	"encoding/binary"

	"govmd/internal/kvm"
)

// indexed makes an empty entry for one sub-leaf.
func indexed(function, index uint32) kvm.CPUIDEntry {
	return kvm.CPUIDEntry{Function: function, Index: index, Flags: kvm.CPUIDSignificantIndex}
}

// table collects leaves up to the model's levels.
type table struct {
	m       *Model
	entries []kvm.CPUIDEntry
}

func (t *table) add(e kvm.CPUIDEntry) {
	limit := t.m.Level
	switch {
	case e.Function >= 0x80000000:
		limit = t.m.XLevel
	case e.Function >= 0x40000000:
		limit = e.Function
	}
	if e.Function <= limit {
		t.entries = append(t.entries, e)
	}
}

func (t *table) leaf(function, eax, ebx, ecx, edx uint32) {
	t.add(kvm.CPUIDEntry{Function: function, EAX: eax, EBX: ebx, ECX: ecx, EDX: edx})
}

func (t *table) sub(function, index, eax, ebx, ecx, edx uint32) {
	e := indexed(function, index)
	e.EAX, e.EBX, e.ECX, e.EDX = eax, ebx, ecx, edx
	t.add(e)
}

// CPUID returns the leaves of the CPU with the given index. tscKHz is the
// frequency of the guest's TSC, or 0 if unknown.
func (m *Model) CPUID(index, tscKHz int) []kvm.CPUIDEntry {
	t := &table{m: m}
	t.basic(index)
	t.topology(index)
	t.xsave()
	t.paravirtual(tscKHz)
	t.extended(index)
	return t.entries
}

func (t *table) basic(index int) {
	m, f := t.m, &t.m.Features
	b, d, c := vendorRegs(m.Vendor)
	t.leaf(0, m.Level, b, c, d)
	logical := uint32(m.topo.perPackage())
	edx := f[w1EDX]
	ebx := m.topo.APICID(index)&0xff<<24 | cacheLine/8<<8
	if logical > 1 {
		ebx |= min(logical, 255) << 16
		edx |= 1 << 28 // HTT: the number of logical processors is valid
	}
	t.leaf(1, m.signature, ebx, f[w1ECX], edx)
	t.cacheLeaves()
	t.leaf(5, 0, 0, 3, 0) // no MONITOR; interrupts end MWAIT
	t.leaf(6, f[wThermal], 0, 0, 0)
	sub7 := uint32(0)
	if f[w71EAX] != 0 {
		sub7 = 1
	}
	t.sub(7, 0, sub7, f[w7EBX], f[w7ECX], f[w7EDX])
	if sub7 != 0 {
		t.sub(7, 1, f[w71EAX], 0, 0, 0)
	}
	if m.PMU {
		t.copyHost(0xa)
	}
	if f.Has("intel-pt") {
		t.copyHost(0x14)
	}
	if f.Has("amx-tile") {
		t.copyHost(0x1d)
		t.copyHost(0x1e)
	}
}

// copyHost takes over all sub-leaves that KVM supports.
func (t *table) copyHost(function uint32) {
	for _, e := range t.m.host.CPUID {
		if e.Function == function {
			t.add(e)
		}
	}
}

func (t *table) cacheLeaves() {
	m := t.m
	if m.hostCache {
		t.copyHost(2)
	} else if !m.isAMD() {
		ecx := uint32(leaf2ECXL3)
		if !m.l3 {
			ecx = 0
		}
		t.leaf(2, leaf2EAX, 0, ecx, leaf2EDXAll)
	}
	if m.isAMD() {
		return // AMD has leaf 0x8000001d for what follows
	}
	if m.hostCache {
		for _, e := range m.host.CPUID {
			if e.Function == 4 && e.EAX&0x1f != 0 {
				c := cache{perSocket: e.EAX>>5&7 >= 3}
				threads, cores := m.topo.sharing(&c)
				e.EAX = e.EAX&0x3fff | (threads-1)<<14 | (cores-1)<<26
				t.add(e)
			}
		}
		return
	}
	t.deterministicCaches(4, true)
}

// deterministicCaches describes the caches as leaves 4 and 0x8000001d do, which
// differ in that AMD's has no number of cores.
func (t *table) deterministicCaches(function uint32, withCores bool) {
	i := uint32(0)
	for _, c := range caches {
		if c.level == 3 && !t.m.l3 {
			continue
		}
		threads, cores := t.m.topo.sharing(&c)
		eax := c.kind | c.level<<5 | 1<<8 | (threads-1)<<14
		if withCores {
			eax |= (cores - 1) << 26
		}
		t.sub(function, i, eax, cacheLine-1|(c.ways-1)<<22, c.sets-1, c.flags)
		i++
	}
	t.sub(function, i, 0, 0, 0, 0)
}

// topology fills leaves 0xb and 0x1f: levels, lowest first, each with how far to
// shift an APIC id for the next level's and how many CPUs it holds.
func (t *table) topology(index int) {
	m := t.m
	if !m.leafB {
		return
	}
	topo, id := m.topo, m.topo.APICID(index)
	const smt, core, die = 1, 2, 5
	all := uint32(topo.perPackage())
	t.sub(0xb, 0, uint32(topo.coreShift()), uint32(topo.Threads), smt<<8, id)
	t.sub(0xb, 1, uint32(topo.packageShift()), all, core<<8|1, id)
	t.sub(0xb, 2, 0, 0, 2, id)
	if topo.Dies <= 1 || m.isAMD() {
		return
	}
	t.sub(0x1f, 0, uint32(topo.coreShift()), uint32(topo.Threads), smt<<8, id)
	t.sub(0x1f, 1, uint32(topo.dieShift()), uint32(topo.Cores*topo.Threads), core<<8|1, id)
	t.sub(0x1f, 2, uint32(topo.packageShift()), all, die<<8|2, id)
	t.sub(0x1f, 3, 0, 0, 3, id)
}

// xsave fills leaf 0xd. KVM itself keeps the sizes for the components that are
// enabled at the moment.
func (t *table) xsave() {
	m := t.m
	if m.xcr0 == 0 {
		return
	}
	size := uint32(legacyArea)
	var subs []kvm.CPUIDEntry
	for i := uint32(2); i < 63; i++ {
		if m.xcr0>>i&1 == 0 {
			continue
		}
		e := m.host.leaf(0xd, i)
		e.Function, e.Index, e.Flags = 0xd, i, kvm.CPUIDSignificantIndex
		size = max(size, e.EAX+e.EBX)
		subs = append(subs, e)
	}
	t.sub(0xd, 0, uint32(m.xcr0), legacyArea, size, uint32(m.xcr0>>32))
	t.sub(0xd, 1, m.Features[wXSave], 0, 0, 0)
	for _, e := range subs {
		t.add(e)
	}
}

func (t *table) paravirtual(tscKHz int) {
	m := t.m
	if !m.showKVM {
		return
	}
	last := uint32(0x40000001)
	const apicBusKHz = 1000000 // KVM's local APIC timer counts nanoseconds
	if m.tscLeaf && tscKHz > 0 {
		last = 0x40000010
	}
	b, c, d := vendorRegs("KVMKVMKVM\x00\x00\x00")
	t.leaf(0x40000000, last, b, c, d)
	t.leaf(0x40000001, m.Features[wKVM], 0, 0, m.Features[wKVMHints])
	if last == 0x40000010 {
		t.leaf(last, uint32(tscKHz), apicBusKHz, 0, 0)
	}
}

func (t *table) extended(index int) {
	m, f := t.m, &t.m.Features
	topo := m.topo
	b, d, c := vendorRegs(m.Vendor)
	t.leaf(0x80000000, m.XLevel, b, c, d)
	logical := uint32(topo.perPackage())
	edx, ecx := f[wExtEDX], f[wExtECX]
	if m.isAMD() {
		edx |= f[w1EDX] & 0x0183f3ff // AMD repeats these bits of leaf 1
		if logical > 1 {
			ecx |= 1 << 1 // CmpLegacy
		}
	}
	t.leaf(0x80000001, m.signature, 0, ecx, edx)
	var name [48]byte
	copy(name[:47], m.ModelID)
	for i := range uint32(3) {
		var r [4]uint32
		for j := range r {
			r[j] = binary.LittleEndian.Uint32(name[16*int(i)+4*j:])
		}
		t.leaf(0x80000002+i, r[0], r[1], r[2], r[3])
	}
	if m.hostCache {
		t.copyHost(0x80000005)
		t.copyHost(0x80000006)
	} else {
		t.leaf(0x80000005, leafL1[0], leafL1[1], leafL1[2], leafL1[3])
		l3 := leafL2[3]
		if !m.l3 {
			l3 = 0
		}
		t.leaf(0x80000006, leafL2[0], leafL2[1], leafL2[2], l3)
	}
	t.leaf(0x80000007, 0, 0, 0, f[wPowerEDX])
	t.addressSizes(logical)
	if f.Has("svm") {
		t.leaf(0x8000000a, 1, 16, 0, f[wSVM]) // revision 1, 16 address space ids
	}
	if f.Has("topoext") {
		t.deterministicCaches(0x8000001d, false)
		l := topo.Location(index)
		unit := uint32(l.Die*topo.Cores + l.Core)
		t.leaf(0x8000001e, topo.APICID(index), unit&0xff|uint32(topo.Threads-1)<<8,
			uint32(l.Socket*topo.Dies+l.Die)|uint32(topo.Dies-1)<<8, 0)
	}
}

func (t *table) addressSizes(logical uint32) {
	m := t.m
	linear := uint32(48)
	if m.Features.Has("la57") {
		linear = 57
	}
	if !m.Features.Has("lm") {
		linear = 0 // implied; KVM takes no other
	}
	ecx := uint32(0)
	if logical > 1 {
		ecx = min(logical, 256) - 1 | uint32(m.topo.packageShift())<<12
	}
	t.leaf(0x80000008, m.PhysBits|linear<<8, m.Features[w8EBX], ecx, 0)
}

// vendorRegs cuts a name of 12 characters into three registers.
func vendorRegs(s string) (a, b, c uint32) {
	var v [12]byte
	copy(v[:], s)
	le := binary.LittleEndian
	return le.Uint32(v[:]), le.Uint32(v[4:]), le.Uint32(v[8:])
}
