package cpu

import "govmd/internal/kvm"

// fakeHost is a host of the given vendor with the named features.
func fakeHost(vendor, features string) *Host {
	h := everything()
	f := set(features)
	for w := range numWords {
		i := w.info()
		for k := range h.CPUID {
			if e := &h.CPUID[k]; i.msr == 0 && e.Function == i.leaf && e.Index == i.index {
				*i.reg.of(e) = f[w]
			}
		}
	}
	h.ArchCap, h.TSCDeadline = uint64(f[wArchCap]), f.Has("tsc-deadline")
	e := kvm.CPUIDEntry{EAX: 0x16}
	e.EBX, e.EDX, e.ECX = vendorRegs(vendor)
	h.CPUID = append(h.CPUID, e,
		kvm.CPUIDEntry{Function: 0x80000000, EAX: 0x80000008},
		kvm.CPUIDEntry{Function: 0x80000002, EAX: 0x74736f48}, // "Host"
	)
	for k := range h.CPUID {
		switch e := &h.CPUID[k]; {
		case e.Function == 1:
			e.EAX = 0xa0671
		case e.Function == 0x80000008:
			e.EAX = 0x3930
		case e.Function == 0xd && e.Index == 0:
			e.EAX = uint32(f.xcr0())
		}
	}
	for i, c := range [][2]uint32{2: {0x100, 0x240}, 5: {0x40, 0x440}, 6: {0x200, 0x480}, 7: {0x400, 0x680}, 9: {8, 0xa80}} {
		if c[0] != 0 {
			e := indexed(0xd, uint32(i))
			e.EAX, e.EBX = c[0], c[1]
			h.CPUID = append(h.CPUID, e)
		}
	}
	return h
}

const modern = everyP6 + ` vme pni pclmulqdq ssse3 fma cx16 sse4.1 sse4.2 movbe popcnt aes xsave avx f16c rdrand pcid
	fsgsbase tsc-adjust bmi1 avx2 smep bmi2 erms invpcid rdseed adx smap clflushopt sha-ni umip pku rdpid
	avx512f avx512dq avx512bw avx512vl arch-capabilities spec-ctrl ssbd
	lm syscall nx pdpe1gb rdtscp lahf-lm abm 3dnowprefetch invtsc xsaveopt xsavec xgetbv1 tsc-deadline rdctl-no mds-no
	kvmclock kvm-nopiodelay kvm-asyncpf kvm-steal-time kvm-pv-eoi kvm-pv-unhalt kvm-asyncpf-int kvmclock-stable-bit`
