package cpu

import (
	"errors"
	"reflect"
	"strings"
	"testing"

	"govmd/internal/kvm"
)

func mustResolve(t *testing.T, text string, h *Host, topo Topology) (*Model, []string) {
	t.Helper()
	s, _, err := Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	m, warnings, err := s.Resolve(h, topo)
	if err != nil {
		t.Fatal(err)
	}
	return m, warnings
}

func TestMissingFeaturesAreNamed(t *testing.T) {
	old := fakeHost(vendorIntel, everyP6+" cx16 lm syscall nx lahf-lm kvmclock kvm-nopiodelay kvm-asyncpf kvm-steal-time kvm-pv-eoi kvmclock-stable-bit")
	want := []string{
		"host doesn't support requested feature: CPUID.01H:ECX.pni [bit 0]",
		"host doesn't support requested feature: CPUID.01H:ECX.vmx [bit 5]",
		"host doesn't support requested feature: CPUID.01H:ECX.aes [bit 25]",
		"host doesn't support requested feature: CPUID.07H:EBX.avx2 [bit 5]",
	}
	m, got := mustResolve(t, "qemu64,+vmx,+aes,+avx2", old, Topology{})
	if !reflect.DeepEqual(got, want) {
		t.Errorf("warnings %q", got)
	}
	if m.Features.Has("aes") || m.Features.Has("pni") || !m.Features.Has("x2apic") || !m.Features.Has("cx16") {
		t.Errorf("features %x", m.Features)
	}
	if _, got := mustResolve(t, "qemu64,+vmx,check=off", old, Topology{}); got != nil {
		t.Errorf("with check=off: %q", got)
	}
	s, _, _ := Parse("qemu64,+vmx,enforce")
	if _, got, err := s.Resolve(old, Topology{}); !errors.Is(err, ErrEnforce) || len(got) != 2 {
		t.Errorf("with enforce: %v, %q", err, got)
	}
	if _, got := mustResolve(t, "qemu64,+avic", fakeHost(vendorIntel, modern+" avic"), Topology{}); len(got) != 1 ||
		got[0] != "This feature depends on other features that were not requested: CPUID.8000000AH:EDX.avic [bit 13]" {
		t.Errorf("avic without svm: %q", got)
	}
}

func TestHostModel(t *testing.T) {
	h := fakeHost(vendorIntel, modern+" topoext intel-pt")
	m, warnings := mustResolve(t, "host", h, Topology{})
	if warnings != nil {
		t.Errorf("warnings %q", warnings)
	}
	for name, want := range map[string]bool{
		"avx512f": true, "x2apic": true, "hypervisor": true, "tsc-deadline": true, "kvm-pv-unhalt": true, "rdctl-no": true,
		"invtsc": false, "ht": false, "topoext": false, "intel-pt": false, "monitor": false, "svm": false, "kvm-hint-dedicated": false,
	} {
		if m.Features.Has(name) != want {
			t.Errorf("%s: %v", name, !want)
		}
	}
	if m.Vendor != vendorIntel || m.ModelID != "Host" || m.PhysBits != 48 || m.signature != 0xa0671 || !m.PMU || m.Level != 0x16 {
		t.Errorf("%+v", m)
	}
	if m.Unmigratable != nil {
		t.Errorf("not migratable: %q", m.Unmigratable)
	}
	if m, _ = mustResolve(t, "host,migratable=off", h, Topology{}); !m.Features.Has("invtsc") || len(m.Unmigratable) != 1 {
		t.Error("no invtsc with migratable=off")
	}
	if m, _ = mustResolve(t, "host,+invtsc", h, Topology{}); !m.Features.Has("invtsc") {
		t.Error("no invtsc with +invtsc")
	}
	if m, _ = mustResolve(t, "host,-xsave", h, Topology{}); m.Features.Has("avx512f") || m.Features.Has("avx") || m.Features.Has("pku") || m.xcr0 != 0 {
		t.Error("AVX without XSAVE")
	}
	if m, _ = mustResolve(t, "host,-avx", h, Topology{}); m.Features.Has("avx512f") || m.xcr0 != xcr0X87|xcr0SSE|xcr0PKRU {
		t.Errorf("without AVX XCR0 is %#x", m.xcr0)
	}
	if m, _ = mustResolve(t, "host,kvm=off", h, Topology{}); m.Features[wKVM] != 0 || !m.Features.Has("hypervisor") {
		t.Error("kvm=off shows KVM, or hides the hypervisor")
	}
	if m, _ = mustResolve(t, "host,host-phys-bits-limit=39", h, Topology{}); m.PhysBits != 39 {
		t.Errorf("%d physical bits", m.PhysBits)
	}
	if m, _ = mustResolve(t, "host,family=27,model=0x5a,stepping=3,vendor=AuthenticAMD", h, Topology{}); m.signature != 0x00c50fa3 || !m.isAMD() {
		t.Errorf("signature %#x", m.signature)
	}
}

func TestNamedModelsOnOtherVendors(t *testing.T) {
	m, _ := mustResolve(t, "qemu64", fakeHost(vendorIntel, modern), Topology{})
	if m.Vendor != vendorIntel || m.signature != 0x60fb1 || m.PhysBits != 40 || m.Level != 0xd || m.XLevel != 0x8000000a {
		t.Errorf("%+v", m)
	}
	if m, _ = mustResolve(t, "qemu64,vendor=AuthenticAMD", fakeHost(vendorIntel, modern), Topology{}); m.Vendor != vendorAMD {
		t.Errorf("vendor %q", m.Vendor)
	}
	_, w := mustResolve(t, "qemu64,phys-bits=41", fakeHost(vendorIntel, modern), Topology{})
	if len(w) != 1 || w[0] != "Host physical bits (48) does not match phys-bits property (41)" {
		t.Errorf("%q", w)
	}
	s, _, _ := Parse("qemu64,phys-bits=20")
	if _, _, err := s.Resolve(fakeHost(vendorIntel, modern), Topology{}); err == nil || err.Error() != "phys-bits should be between 32 and 52  (but is 20)" {
		t.Errorf("%v", err)
	}
}

func TestLevels(t *testing.T) {
	h := fakeHost(vendorIntel, modern)
	for _, c := range []struct {
		text          string
		topo          Topology
		level, xlevel uint32
	}{
		{"base", Topology{}, 0, 0x80000008},
		{"base,+aes", Topology{}, 1, 0x80000008},
		{"base,+avx2,+avx,+xsave", Topology{}, 0xd, 0x80000008},
		{"base,+smep", Topology{}, 7, 0x80000008},
		{"base,+smep,full-cpuid-auto-level=off", Topology{}, 0, 0x80000008},
		{"qemu64,level=2", Topology{}, 2, 0x8000000a},
		{"qemu64,min-level=0x14,min-xlevel=0x80000020", Topology{}, 0x14, 0x80000020},
		{"kvm64", Topology{1, 2, 1, 1}, 0x1f, 0x80000008},
		{"kvm64,+topoext", Topology{}, 0xd, 0x8000001e},
	} {
		if m, _ := mustResolve(t, c.text, h, c.topo); m.Level != c.level || m.XLevel != c.xlevel {
			t.Errorf("%s: levels %#x %#x", c.text, m.Level, m.XLevel)
		}
	}
}

// Where nothing executes all models but host are there.
func TestWithoutHost(t *testing.T) {
	for _, name := range []string{"qemu64", "kvm64", "max", "base"} {
		m, w := mustResolve(t, name, nil, Topology{})
		if len(w) != 0 || m.Vendor == "" || strings.Contains(m.Vendor, "\x00") {
			t.Errorf("%s: %q %q", name, m.Vendor, w)
		}
	}
	s, _, _ := Parse("host")
	if _, _, err := s.Resolve(nil, Topology{}); err == nil || err.Error() != "CPU model 'host' requires KVM" {
		t.Errorf("%v", err)
	}
}

func TestAMXIsAskedFor(t *testing.T) {
	h := fakeHost(vendorIntel, modern+" amx-tile amx-bf16")
	for k := range h.CPUID {
		if e := &h.CPUID[k]; e.Function == 0xd && e.Index == 0 {
			e.EAX &^= xcr0AMX
		}
	}
	asked := 0
	h.grantAMX = func() ([]kvm.CPUIDEntry, error) { asked++; return nil, errors.New("no") }
	if m, w := mustResolve(t, "host", h, Topology{}); m.Features.Has("amx-bf16") || len(w) != 0 || asked != 1 {
		t.Errorf("refused: %q, asked %d times", w, asked)
	}
	mustResolve(t, "qemu64", h, Topology{})
	mustResolve(t, "host,-amx-tile", h, Topology{})
	if asked != 1 {
		t.Errorf("asked %d times", asked)
	}
	granted := fakeHost(vendorIntel, modern+" amx-tile amx-bf16").CPUID
	h.grantAMX = func() ([]kvm.CPUIDEntry, error) { return granted, nil }
	if m, _ := mustResolve(t, "host", h, Topology{}); !m.Features.Has("amx-tile") || m.xcr0&xcr0AMX != xcr0AMX || m.Level < 0x1e {
		t.Errorf("granted: %+v", m)
	}
}
