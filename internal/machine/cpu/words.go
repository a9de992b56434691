package cpu

import "fmt"

// word is a register whose bits are features: one of a CPUID leaf, or an MSR.
type word int

const (
	w1EDX word = iota
	w1ECX
	w7EBX
	w7ECX
	w7EDX
	w71EAX
	wExtEDX // leaf 0x80000001
	wExtECX
	wPowerEDX // leaf 0x80000007
	w8EBX     // leaf 0x80000008
	wKVM      // leaf 0x40000001
	wKVMHints
	wSVM   // leaf 0x8000000a
	wXSave // leaf 0xd, sub-leaf 1
	wThermal
	wArchCap // MSR 0x10a
	numWords
)

type reg int

const (
	regEAX reg = iota
	regEBX
	regECX
	regEDX
)

const msrArchCapabilities = 0x10a

// wordInfo says where a word is and what its bits are called.
type wordInfo struct {
	leaf, index uint32
	reg         reg
	msr         uint32 // 0 for CPUID
	names       [32]string
}

func (w word) info() *wordInfo { return &wordInfos[w] }

// bitName names a feature as QEMU's messages do: "CPUID.01H:ECX.vmx [bit 5]".
func (w word) bitName(bit int) string {
	i := w.info()
	where := fmt.Sprintf("MSR(%XH)", i.msr)
	if i.msr == 0 {
		where = fmt.Sprintf("CPUID.%02XH:%s", i.leaf, [...]string{"EAX", "EBX", "ECX", "EDX"}[i.reg])
	}
	name := i.names[bit]
	if name != "" {
		name = "." + name
	}
	return fmt.Sprintf("%s%s [bit %d]", where, name, bit)
}

// Features is a set of CPU features.
type Features [numWords]uint32

// Has reports whether the named feature is in the set.
func (f *Features) Has(name string) bool {
	bits, ok := featureBits(name)
	if !ok {
		return false
	}
	for _, b := range bits {
		if f[b.word]>>b.bit&1 == 0 {
			return false
		}
	}
	return true
}

func (f *Features) set(b bit, on bool) {
	if on {
		f[b.word] |= 1 << b.bit
	} else {
		f[b.word] &^= 1 << b.bit
	}
}

func (f *Features) has(b bit) bool { return f[b.word]>>b.bit&1 != 0 }

type bit struct {
	word word
	bit  int
}

// wordInfos has the names that QEMU's users know.
var wordInfos = [numWords]wordInfo{
	w1EDX: {leaf: 1, reg: regEDX, names: [32]string{
		0: "fpu", 1: "vme", 2: "de", 3: "pse", 4: "tsc", 5: "msr", 6: "pae", 7: "mce", 8: "cx8", 9: "apic",
		11: "sep", 12: "mtrr", 13: "pge", 14: "mca", 15: "cmov", 16: "pat", 17: "pse36", 18: "pn", 19: "clflush",
		21: "ds", 22: "acpi", 23: "mmx", 24: "fxsr", 25: "sse", 26: "sse2", 27: "ss", 28: "ht", 29: "tm",
		30: "ia64", 31: "pbe",
	}},
	w1ECX: {leaf: 1, reg: regECX, names: [32]string{
		0: "pni", 1: "pclmulqdq", 2: "dtes64", 3: "monitor", 4: "ds-cpl", 5: "vmx", 6: "smx", 7: "est",
		8: "tm2", 9: "ssse3", 10: "cid", 12: "fma", 13: "cx16", 14: "xtpr", 15: "pdcm", 17: "pcid", 18: "dca",
		19: "sse4.1", 20: "sse4.2", 21: "x2apic", 22: "movbe", 23: "popcnt", 24: "tsc-deadline", 25: "aes",
		26: "xsave", 28: "avx", 29: "f16c", 30: "rdrand", 31: "hypervisor",
	}},
	w7EBX: {leaf: 7, reg: regEBX, names: [32]string{
		0: "fsgsbase", 1: "tsc-adjust", 2: "sgx", 3: "bmi1", 4: "hle", 5: "avx2", 7: "smep", 8: "bmi2", 9: "erms",
		10: "invpcid", 11: "rtm", 14: "mpx", 16: "avx512f", 17: "avx512dq", 18: "rdseed", 19: "adx", 20: "smap",
		21: "avx512ifma", 22: "pcommit", 23: "clflushopt", 24: "clwb", 25: "intel-pt", 26: "avx512pf",
		27: "avx512er", 28: "avx512cd", 29: "sha-ni", 30: "avx512bw", 31: "avx512vl",
	}},
	w7ECX: {leaf: 7, reg: regECX, names: [32]string{
		1: "avx512vbmi", 2: "umip", 3: "pku", 5: "waitpkg", 6: "avx512vbmi2", 8: "gfni", 9: "vaes",
		10: "vpclmulqdq", 11: "avx512vnni", 12: "avx512bitalg", 14: "avx512-vpopcntdq", 16: "la57", 22: "rdpid",
		24: "bus-lock-detect", 25: "cldemote", 27: "movdiri", 28: "movdir64b", 30: "sgxlc", 31: "pks",
	}},
	w7EDX: {leaf: 7, reg: regEDX, names: [32]string{
		2: "avx512-4vnniw", 3: "avx512-4fmaps", 4: "fsrm", 8: "avx512-vp2intersect", 10: "md-clear",
		14: "serialize", 16: "tsx-ldtrk", 19: "arch-lbr", 22: "amx-bf16", 23: "avx512-fp16", 24: "amx-tile",
		25: "amx-int8", 26: "spec-ctrl", 27: "stibp", 29: "arch-capabilities", 30: "core-capability", 31: "ssbd",
	}},
	w71EAX: {leaf: 7, index: 1, reg: regEAX, names: [32]string{
		4: "avx-vnni", 5: "avx512-bf16", 7: "cmpccxadd", 10: "fzrm", 11: "fsrs", 12: "fsrc", 23: "avx-ifma",
	}},
	wExtEDX: {leaf: 0x80000001, reg: regEDX, names: [32]string{
		11: "syscall", 20: "nx", 22: "mmxext", 25: "fxsr-opt", 26: "pdpe1gb", 27: "rdtscp", 29: "lm",
		30: "3dnowext", 31: "3dnow",
	}},
	wExtECX: {leaf: 0x80000001, reg: regECX, names: [32]string{
		0: "lahf-lm", 1: "cmp-legacy", 2: "svm", 3: "extapic", 4: "cr8legacy", 5: "abm", 6: "sse4a",
		7: "misalignsse", 8: "3dnowprefetch", 9: "osvw", 10: "ibs", 11: "xop", 12: "skinit", 13: "wdt",
		15: "lwp", 16: "fma4", 17: "tce", 19: "nodeid-msr", 21: "tbm", 22: "topoext", 23: "perfctr-core",
		24: "perfctr-nb",
	}},
	wPowerEDX: {leaf: 0x80000007, reg: regEDX, names: [32]string{8: "invtsc"}},
	w8EBX: {leaf: 0x80000008, reg: regEBX, names: [32]string{
		0: "clzero", 2: "xsaveerptr", 9: "wbnoinvd", 12: "ibpb", 14: "ibrs", 15: "amd-stibp", 24: "amd-ssbd",
		25: "virt-ssbd", 26: "amd-no-ssb",
	}},
	wKVM: {leaf: 0x40000001, reg: regEAX, names: [32]string{
		0: "kvmclock", 1: "kvm-nopiodelay", 2: "kvm-mmu", 3: "kvmclock", 4: "kvm-asyncpf", 5: "kvm-steal-time",
		6: "kvm-pv-eoi", 7: "kvm-pv-unhalt", 9: "kvm-pv-tlb-flush", 11: "kvm-pv-ipi", 12: "kvm-poll-control",
		13: "kvm-pv-sched-yield", 14: "kvm-asyncpf-int", 15: "kvm-msi-ext-dest-id", 24: "kvmclock-stable-bit",
	}},
	wKVMHints: {leaf: 0x40000001, reg: regEDX, names: [32]string{0: "kvm-hint-dedicated"}},
	wSVM: {leaf: 0x8000000a, reg: regEDX, names: [32]string{
		0: "npt", 1: "lbrv", 2: "svm-lock", 3: "nrip-save", 4: "tsc-scale", 5: "vmcb-clean", 6: "flushbyasid",
		7: "decodeassists", 10: "pause-filter", 12: "pfthreshold", 13: "avic", 15: "v-vmsave-vmload", 16: "vgif",
		28: "svme-addr-chk",
	}},
	wXSave: {leaf: 0xd, index: 1, reg: regEAX, names: [32]string{
		0: "xsaveopt", 1: "xsavec", 2: "xgetbv1", 3: "xsaves", 4: "xfd",
	}},
	wThermal: {leaf: 6, reg: regEAX, names: [32]string{2: "arat"}},
	wArchCap: {msr: msrArchCapabilities, names: [32]string{
		0: "rdctl-no", 1: "ibrs-all", 2: "rsba", 3: "skip-l1dfl-vmentry", 4: "ssb-no", 5: "mds-no",
		6: "pschange-mc-no", 7: "tsx-ctrl", 8: "taa-no",
	}},
}
