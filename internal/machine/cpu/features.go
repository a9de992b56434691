package cpu

import (
	"sort"
	"strings"
)

// byName is the bits of each feature; a name can stand for several.
var byName = func() map[string][]bit {
	m := map[string][]bit{}
	for w := range numWords {
		for b, name := range w.info().names {
			if name != "" {
				m[name] = append(m[name], bit{w, b})
			}
		}
	}
	return m
}()

// aliases are other names by which QEMU knows features.
var aliases = map[string]string{
	"sse3": "pni", "pclmuldq": "pclmulqdq", "sse4-1": "sse4.1", "sse4-2": "sse4.2",
	"xd": "nx", "ffxsr": "fxsr-opt", "i64": "lm",
}

// canonical returns the name under which a property or feature is known:
// underscores are as good as dashes.
func canonical(name string) string {
	name = strings.ReplaceAll(name, "_", "-")
	if a, ok := aliases[name]; ok {
		return a
	}
	return name
}

func featureBits(name string) ([]bit, bool) {
	bits, ok := byName[canonical(name)]
	return bits, ok
}

// FeatureNames returns all names of features, sorted.
func FeatureNames() []string {
	names := make([]string, 0, len(byName))
	for n := range byName {
		names = append(names, n)
	}
	sort.Strings(names)
	return names
}

// mask returns the bits of a word that have a name.
func (w word) mask() (m uint32) {
	for b, name := range w.info().names {
		if name != "" {
			m |= 1 << b
		}
	}
	return m
}

// set makes a set of named features; the names are known to exist.
func set(names string) (f Features) {
	for _, n := range strings.Fields(names) {
		bits, ok := byName[n]
		if !ok {
			panic("cpu: no feature " + n)
		}
		for _, b := range bits {
			f.set(b, true)
		}
	}
	return f
}

var (
	// unmigratable cannot be kept up on another host.
	unmigratable = set("invtsc")
	// notByDefault are features that "host" and "max" have only when asked
	// for: they are promises that the host cannot make, or change the topology
	// that guests see, or need what govmd does not give.
	notByDefault = set("kvm-hint-dedicated topoext sgx sgxlc intel-pt arch-lbr monitor ht")
)

// needs lists features that mean nothing, or something invalid, without another.
var needs = []struct{ base, dependent Features }{
	{set("xsave"), set("avx mpx pku xsaveopt xsavec xgetbv1 xsaves xfd amx-tile")},
	{set("avx"), set("avx2 fma f16c fma4 xop vaes vpclmulqdq avx-vnni avx-ifma avx512f")},
	{set("avx512f"), set(`avx512dq avx512ifma avx512pf avx512er avx512cd avx512bw avx512vl avx512vbmi
		avx512vbmi2 avx512vnni avx512bitalg avx512-vpopcntdq avx512-4vnniw avx512-4fmaps
		avx512-vp2intersect avx512-fp16 avx512-bf16`)},
	{set("amx-tile"), set("amx-bf16 amx-int8")},
	{set("lm"), set("lahf-lm la57")},
	{set("svm"), Features{wSVM: ^uint32(0)}},
	{set("arch-capabilities"), Features{wArchCap: ^uint32(0)}},
}

func merge(sets ...Features) (f Features) {
	for _, s := range sets {
		for w := range f {
			f[w] |= s[w]
		}
	}
	return f
}

// contains reports whether all of sub is in f.
func (f *Features) contains(sub *Features) bool {
	for w := range f {
		if f[w]&sub[w] != sub[w] {
			return false
		}
	}
	return true
}
