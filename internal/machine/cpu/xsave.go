package cpu

// Components of extended processor state (SDM volume 1, section 13.1).
const (
	xcr0X87    = 1 << 0
	xcr0SSE    = 1 << 1
	xcr0AVX    = 1 << 2
	xcr0MPX    = 3 << 3
	xcr0AVX512 = 7 << 5
	xcr0PKRU   = 1 << 9
	xcr0AMX    = 3 << 17
	xcr0All    = xcr0X87 | xcr0SSE | xcr0AVX | xcr0MPX | xcr0AVX512 | xcr0PKRU | xcr0AMX

	legacyArea = 576 // x87 and SSE state with the header
)

// xcr0 returns the components that the features bring with them.
func (f *Features) xcr0() uint64 {
	if !f.Has("xsave") {
		return 0
	}
	x := uint64(xcr0X87 | xcr0SSE)
	for name, bits := range map[string]uint64{
		"avx": xcr0AVX, "mpx": xcr0MPX, "avx512f": xcr0AVX512, "pku": xcr0PKRU, "amx-tile": xcr0AMX,
	} {
		if f.Has(name) {
			x |= bits
		}
	}
	return x
}
