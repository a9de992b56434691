package cpu

import (
	"errors"
	"fmt"
)

const (
	defaultPhysBits = 40
	maxPhysBits     = 52
	maxBasicLevel   = 0x1f

	vendorIntel = "GenuineIntel"
	vendorAMD   = "AuthenticAMD"
	vendorHygon = "HygonGenuine"
)

// ErrEnforce is the error of Resolve when "enforce" is on and the host lacks
// features; the warnings name them.
var ErrEnforce = errors.New("Host doesn't support requested features")

// ErrNeedsKVM is wrapped by the error of Resolve for models that there are with KVM only.
var ErrNeedsKVM = errors.New("requires KVM")

// Model is a Spec that has been matched with a host: what every vCPU of a
// machine is.
type Model struct {
	Name     string
	Vendor   string
	ModelID  string
	Features Features
	Level    uint32
	XLevel   uint32
	PhysBits uint32
	TSCHz    uint64 // 0: the host's
	PMU      bool
	// Unavailable names features that were wanted and the host does not have.
	Unavailable []string
	// Unmigratable names features that keep the machine from being moved to,
	// or continued on, another host.
	Unmigratable []string

	topo      Topology
	host      *Host
	signature uint32 // leaf 1 EAX
	showKVM   bool
	leafB     bool
	l3        bool
	hostCache bool
	pvEnforce bool
	tscLeaf   bool
	xcr0      uint64
}

func isOn(p *bool, def bool) bool {
	if p == nil {
		return def
	}
	return *p
}

// Resolve matches the spec with a host. host is nil where nothing executes
// (qtest): then every feature is available. Warnings are without the word
// "warning"; they are returned along with an error as well.
func (s *Spec) Resolve(host *Host, topo Topology) (m *Model, warnings []string, err error) {
	if host == nil && s.def.needsKVM {
		return nil, nil, fmt.Errorf("CPU model '%s' %w", s.def.name, ErrNeedsKVM)
	}
	if host == nil {
		host = everything()
		if s.def.all { // there is nothing to take all of
			alike := *s
			d := *findDefinition(DefaultModel)
			d.name = s.def.name
			alike.def = &d
			s = &alike
		}
	}
	s.maybeGrantAMX(host)
	p := &s.props
	m = &Model{
		Name: s.def.name, host: host, topo: topo.normal(),
		PMU:       isOn(p.pmu, s.def.all),
		showKVM:   isOn(p.kvm, true),
		leafB:     isOn(p.leafB, true),
		l3:        isOn(p.l3Cache, true),
		hostCache: isOn(p.hostCacheInfo, false),
		pvEnforce: isOn(p.pvEnforce, false),
	}
	m.identity(s)
	warnings = m.pickFeatures(s)
	if len(warnings) > 0 && isOn(p.enforce, false) {
		return nil, warnings, ErrEnforce
	}
	if !isOn(p.check, true) && !isOn(p.enforce, false) {
		warnings = nil
	}
	w, err := m.pickPhysBits(s)
	warnings = append(warnings, w...)
	if err != nil {
		return nil, warnings, err
	}
	if p.tscFrequency != nil {
		m.TSCHz = *p.tscFrequency
	}
	m.xcr0 = m.Features.xcr0() & host.xcr0()
	m.pickLevels(s)
	m.tscLeaf = isOn(p.vmwareFreq, true) && m.showKVM && (m.TSCHz != 0 || m.Features.Has("invtsc"))
	if m.topo.Threads > 1 && m.isAMD() && !m.Features.Has("topoext") {
		warnings = append(warnings, fmt.Sprintf("an AMD processor without topoext cannot tell its guest of threads=%d: they look like cores; "+
			"add topoext=on to -cpu or change -smp", m.topo.Threads))
	}
	return m, warnings, nil
}

// everything is a host that has all features that can be named.
func everything() *Host {
	h := &Host{TSCDeadline: true, ArchCap: uint64(wArchCap.mask())}
	for w := range numWords {
		i := w.info()
		if i.msr != 0 {
			continue
		}
		found := false
		for k := range h.CPUID {
			if e := &h.CPUID[k]; e.Function == i.leaf && e.Index == i.index {
				*i.reg.of(e) |= w.mask()
				found = true
			}
		}
		if !found {
			e := indexed(i.leaf, i.index)
			*i.reg.of(&e) = w.mask()
			h.CPUID = append(h.CPUID, e)
		}
	}
	h.CPUID = append(h.CPUID, indexed(0xd, 0))
	h.CPUID[len(h.CPUID)-1].EAX = uint32(xcr0All)
	return h
}

func (s *Spec) maybeGrantAMX(h *Host) {
	tile, _ := featureBits("amx-tile")
	wanted := s.def.all && !s.explicit.has(tile[0]) || s.value.has(tile[0])
	e := h.leaf(7, 0)
	if !wanted || h.grantAMX == nil || e.EDX>>24&1 == 0 || h.xcr0()&xcr0AMX == xcr0AMX {
		return
	}
	if entries, err := h.grantAMX(); err == nil {
		h.CPUID = entries
	} // else the guest does without
}

// identity fills in who the processor says it is.
func (m *Model) identity(s *Spec) {
	d, p := s.def, &s.props
	// Even a named model has the host's vendor: what a processor does with
	// SYSCALL and SYSENTER depends on it, and cannot be changed.
	m.Vendor = m.host.Vendor()
	if m.Vendor == string(make([]byte, 12)) {
		m.Vendor = d.vendor
	}
	if m.Vendor == "" {
		m.Vendor = vendorAMD
	}
	m.ModelID = d.modelID
	m.signature = signature(d.family, d.model, d.stepping)
	if d.all {
		m.ModelID = m.host.modelID()
		e := m.host.leaf(1, 0)
		m.signature = e.EAX
	}
	family, model, stepping := parts(m.signature)
	for _, o := range []struct {
		dst *uint32
		src *uint64
	}{{&family, p.family}, {&model, p.model}, {&stepping, p.stepping}} {
		if o.src != nil {
			*o.dst = uint32(*o.src)
		}
	}
	m.signature = signature(family, model, stepping)
	if p.vendor != nil {
		m.Vendor = *p.vendor
	}
	if p.modelID != nil {
		m.ModelID = *p.modelID
	}
}

// Identity returns the processor's family, model and stepping.
func (m *Model) Identity() (family, model, stepping uint32) { return parts(m.signature) }

// signature packs family, model and stepping as leaf 1 has them in EAX.
func signature(family, model, stepping uint32) uint32 {
	v := stepping&0xf | model&0xf<<4 | model>>4&0xf<<16
	if family > 15 {
		return v | 0xf<<8 | (family-15)&0xff<<20
	}
	return v | family<<8
}

func parts(sig uint32) (family, model, stepping uint32) {
	family = sig >> 8 & 0xf
	if family == 15 {
		family += sig >> 20 & 0xff
	}
	return family, sig>>4&0xf | sig>>16&0xf<<4, sig & 0xf
}

func (m *Model) isAMD() bool { return m.Vendor == vendorAMD || m.Vendor == vendorHygon }

// pickFeatures decides the features and returns a warning for each one that was
// asked for and cannot be had.
func (m *Model) pickFeatures(s *Spec) (warnings []string) {
	supported := m.host.Supported()
	want := s.def.features
	if s.def.all {
		want = supported
		for w := range want {
			want[w] &^= notByDefault[w]
			if isOn(s.props.migratable, true) {
				// What has no name is not understood well enough to move.
				want[w] &= word(w).mask() &^ unmigratable[w]
			}
		}
	}
	for w := range want {
		want[w] = want[w]&^s.explicit[w] | s.value[w]
	}
	if !m.showKVM {
		want[wKVM], want[wKVMHints] = 0, 0
	}
	if !m.PMU {
		off := set("pdcm arch-lbr")
		for w := range want {
			want[w] &^= off[w]
		}
	}
	got := want
	for w := range numWords {
		for b := range 32 {
			if got[w]>>b&1 != 0 && supported[w]>>b&1 == 0 {
				got[w] &^= 1 << b
				warnings = append(warnings, "host doesn't support requested feature: "+w.bitName(b))
				if name := w.info().names[b]; name != "" {
					m.Unavailable = append(m.Unavailable, name)
				}
			}
		}
	}
	for _, n := range needs {
		if got.contains(&n.base) {
			continue
		}
		for w := range numWords {
			gone := got[w] & n.dependent[w]
			got[w] &^= gone
			for b := range 32 {
				if gone>>b&1 != 0 && s.value[w]>>b&1 != 0 {
					warnings = append(warnings, "This feature depends on other features that were not requested: "+w.bitName(b))
				}
			}
		}
	}
	m.Features = got
	for _, name := range []string{"invtsc"} {
		if got.Has(name) {
			m.Unmigratable = append(m.Unmigratable, name)
		}
	}
	return warnings
}

func (m *Model) pickPhysBits(s *Spec) (warnings []string, err error) {
	p := &s.props
	host := m.host.physBits()
	m.PhysBits = defaultPhysBits
	switch {
	case isOn(p.hostPhysBits, s.def.all && p.physBits == nil):
		m.PhysBits = host
		if l := p.hostPhysBitsLimit; l != nil && *l != 0 && uint64(host) > *l {
			m.PhysBits = uint32(*l)
		}
	case p.physBits != nil && *p.physBits != 0:
		if *p.physBits > maxPhysBits || *p.physBits < 32 {
			return nil, fmt.Errorf("phys-bits should be between 32 and %d  (but is %d)", maxPhysBits, *p.physBits)
		}
		m.PhysBits = uint32(*p.physBits)
		if m.PhysBits != host {
			warnings = append(warnings, fmt.Sprintf("Host physical bits (%d) does not match phys-bits property (%d)", host, m.PhysBits))
		}
	}
	m.PhysBits = min(max(m.PhysBits, 32), maxPhysBits)
	return warnings, nil
}

// pickLevels decides the highest leaves.
func (m *Model) pickLevels(s *Spec) {
	d, p, f := s.def, &s.props, &m.Features
	m.Level, m.XLevel = d.level, d.xlevel
	if d.all {
		e := m.host.leaf(0, 0)
		x := m.host.leaf(0x80000000, 0)
		m.Level, m.XLevel = min(max(e.EAX, 1), maxBasicLevel), max(x.EAX, 0x80000008)
	}
	raise := func(level *uint32, to uint32, when bool) {
		if when && *level < to {
			*level = to
		}
	}
	if isOn(p.autoLevel, true) {
		raise(&m.Level, 1, f[w1EDX]|f[w1ECX] != 0)
		raise(&m.Level, 6, f[wThermal] != 0)
		raise(&m.Level, 7, f[w7EBX]|f[w7ECX]|f[w7EDX]|f[w71EAX] != 0)
		raise(&m.Level, 0xa, m.PMU)
		raise(&m.Level, 0xd, f[wXSave] != 0 || m.xcr0 != 0)
		raise(&m.Level, 0x1e, f.Has("amx-tile"))
		raise(&m.Level, 0x1f, m.topo.Dies > 1 && !m.isAMD())
		raise(&m.XLevel, 0x80000001, f[wExtEDX]|f[wExtECX] != 0)
		raise(&m.XLevel, 0x80000007, f[wPowerEDX] != 0)
		raise(&m.XLevel, 0x80000008, f[w8EBX] != 0)
		raise(&m.XLevel, 0x8000000a, f.Has("svm"))
		raise(&m.XLevel, 0x8000001e, f.Has("topoext"))
	}
	for _, o := range []struct {
		dst          *uint32
		exact, least *uint64
	}{{&m.Level, p.level, p.minLevel}, {&m.XLevel, p.xlevel, p.minXLevel}} {
		if o.least != nil {
			raise(o.dst, uint32(*o.least), true)
		}
		if o.exact != nil {
			*o.dst = uint32(*o.exact)
		}
	}
}
