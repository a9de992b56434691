package cpu

import (
	"strings"
	"testing"
)

func TestParse(t *testing.T) {
	for _, c := range []struct {
		text     string
		on, off  string // features that the spec asks for
		warnings int
		err      string
	}{
		{text: "qemu64"},
		{text: "qemu64-v1,+aes,-sse3", on: "aes", off: "pni"},
		{text: "host,aes=off,avx=on,sse4_2,kvm_nopiodelay=off", on: "avx sse4.2", off: "aes kvm-nopiodelay"},
		{text: "max,-kvmclock", off: "kvmclock"},
		{text: "kvm64,+aes,-aes", off: "aes"},
		{text: "kvm64,-aes,aes=on", off: "aes", warnings: 1},
		{text: "qemu64,,"},
		{text: "qemu64,level=0x10,xlevel=0x80000008,vendor=GenuineIntel,model-id=My CPU,family=6,model=158,stepping=10," +
			"phys-bits=39,tsc-frequency=2000000000,check=off,l3-cache=off,pmu=on,migratable=no"},
		{text: "qemu64,tsc-freq=2.5G"},
		{text: "", err: "-cpu option cannot be empty"},
		{text: "foo", err: "unable to find CPU model 'foo'"},
		{text: "qemu64,+foo", err: "Property 'qemu64-x86_64-cpu.foo' not found"},
		{text: "qemu64,+avx513f", err: "Property 'qemu64-x86_64-cpu.avx513f' not found; did you mean 'avx512f'?"},
		{text: "qemu64,foo", err: "can't apply global qemu64-x86_64-cpu.foo=on: Property 'qemu64-x86_64-cpu.foo' not found"},
		{text: "qemu64,aes=xyz", err: "can't apply global qemu64-x86_64-cpu.aes=xyz: Parameter 'aes' expects 'on' or 'off'"},
		{text: "qemu64,level=xyz", err: "can't apply global qemu64-x86_64-cpu.level=xyz: Parameter 'level' expects uint64"},
		{text: "qemu64,level=0x100000000", err: "can't apply global qemu64-x86_64-cpu.level=0x100000000: Parameter 'level' expects uint32"},
		{text: "qemu64,vendor=short", err: "can't apply global qemu64-x86_64-cpu.vendor=short: Property '.vendor' doesn't take value 'short'"},
		{text: "qemu64,family=999", err: "can't apply global qemu64-x86_64-cpu.family=999: Property .family doesn't take value 999 (minimum: 0, maximum: 270)"},
		{text: "qemu64,tsc-freq=1e400", err: "can't apply global qemu64-x86_64-cpu.tsc-freq=1e400: bad numerical value 1e400"},
		{text: "qemu64,tsc-freq=", err: "can't apply global qemu64-x86_64-cpu.tsc-freq=: bad numerical value "},
	} {
		s, warnings, err := Parse(c.text)
		if c.err != "" || err != nil {
			if err == nil || err.Error() != c.err {
				t.Errorf("%q: error %v, want %q", c.text, err, c.err)
			}
			continue
		}
		if len(warnings) != c.warnings {
			t.Errorf("%q: warnings %q", c.text, warnings)
		}
		on, off := set(c.on), set(c.off)
		for w := range numWords {
			if s.value[w] != on[w] || s.explicit[w] != on[w]|off[w] {
				t.Errorf("%q: word %d is %#x of %#x", c.text, w, s.value[w], s.explicit[w])
			}
		}
	}
	s, _, _ := Parse("qemu64,tsc-freq=2.5G")
	if *s.props.tscFrequency != 2500000000 {
		t.Errorf("tsc-freq=2.5G is %d", *s.props.tscFrequency)
	}
	_, warnings, _ := Parse("qemu64,+aes,aes=off")
	if want := `Ambiguous CPU model string. Don't mix both "+aes" and "aes=off"`; len(warnings) != 1 || warnings[0] != want {
		t.Errorf("%q", warnings)
	}
}

func TestEveryPropertyCanBeSet(t *testing.T) {
	text := map[string]string{"bool": "on", "string": "AuthenticAMD", "tsc-freq": "1G"}
	for _, p := range Properties() {
		v, ok := text[p.Name]
		if !ok {
			v, ok = text[p.Type]
		}
		if !ok {
			v = "1"
		}
		s, _ := NewSpec("qemu64")
		if err := s.Set(p.Name, v); err != nil {
			t.Errorf("%s=%s: %v", p.Name, v, err)
		}
		if p.Feature {
			if bits, _ := featureBits(p.Name); !s.value.has(bits[0]) {
				t.Errorf("%s is not set", p.Name)
			}
		}
	}
}

func TestHelpNamesAllThereIs(t *testing.T) {
	h := Help()
	for _, word := range []string{"x86 qemu64 ", "x86 host ", "sse4.2", "kvm-pv-unhalt", "Recognized CPUID flags:"} {
		if !strings.Contains(h, word) {
			t.Errorf("no %q in the help", word)
		}
	}
	for _, line := range strings.Split(h, "\n") {
		if len(line) > 78 && !strings.HasPrefix(line, "x86 ") {
			t.Errorf("long line %q", line)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{"host", "qemu64,+aes,-sse3,level=7", "kvm64,tsc-freq=1G,vendor=GenuineIntel", "max,phys-bits=52,,x=", "base,family=270"} {
		f.Add(s)
	}
	host := fakeHost(vendorIntel, modern)
	f.Fuzz(func(t *testing.T, text string) {
		s, _, err := Parse(text)
		if err != nil {
			return
		}
		m, _, err := s.Resolve(host, Topology{2, 1, 2, 2})
		if err != nil {
			return
		}
		if n := len(m.CPUID(3, 1000)); n == 0 || n > 256 {
			t.Errorf("%d leaves", n)
		}
	})
}
