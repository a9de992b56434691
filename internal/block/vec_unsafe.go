package block

import (
	"runtime/debug"
	"unsafe"

	"golang.org/x/sys/unix"
)

func addrOf(p []byte) uintptr { return uintptr(unsafe.Pointer(unsafe.SliceData(p))) }

// guard runs with faults turned into panics; it is deferred by what touches a Vec.
func unguard(old bool, err *error) {
	debug.SetPanicOnFault(old)
	if r := recover(); r != nil {
		if f, ok := r.(interface{ Addr() uintptr }); ok && f != nil {
			*err = ErrFault
			return
		}
		panic(r)
	}
}

// Read copies to p, which must be at least as long as the vector.
func (v Vec) Read(p []byte) (err error) {
	_ = p[:v.n]
	defer unguard(debug.SetPanicOnFault(true), &err)
	for seg, rest, ok := v.Next(); ok; seg, rest, ok = rest.Next() {
		p = p[copy(p, seg):]
	}
	return nil
}

// Write copies from p, which must be at least as long as the vector.
func (v Vec) Write(p []byte) (err error) {
	_ = p[:v.n]
	defer unguard(debug.SetPanicOnFault(true), &err)
	for seg, rest, ok := v.Next(); ok; seg, rest, ok = rest.Next() {
		p = p[copy(seg, p):]
	}
	return nil
}

// Zero fills the vector with zeroes.
func (v Vec) Zero() (err error) {
	defer unguard(debug.SetPanicOnFault(true), &err)
	for seg, rest, ok := v.Next(); ok; seg, rest, ok = rest.Next() {
		clear(seg)
	}
	return nil
}

// IsZero reports whether all bytes are zero; false when they cannot be read.
func (v Vec) IsZero() (zero bool) {
	var err error
	defer func() { zero = zero && err == nil }()
	defer unguard(debug.SetPanicOnFault(true), &err)
	for seg, rest, ok := v.Next(); ok; seg, rest, ok = rest.Next() {
		if !isZero(seg) {
			return false
		}
	}
	return true
}

// isZero reports whether p holds only zeroes.
func isZero(p []byte) bool {
	for len(p) > 0 && addrOf(p)&7 != 0 {
		if p[0] != 0 {
			return false
		}
		p = p[1:]
	}
	words := unsafe.Slice((*uint64)(unsafe.Pointer(unsafe.SliceData(p))), len(p)/8)
	tail := p[len(p)&^7:]
	for len(words) >= 8 {
		w := words[:8:8]
		if w[0]|w[1]|w[2]|w[3]|w[4]|w[5]|w[6]|w[7] != 0 {
			return false
		}
		words = words[8:]
	}
	for _, w := range words {
		if w != 0 {
			return false
		}
	}
	for _, b := range tail {
		if b != 0 {
			return false
		}
	}
	return true
}

// IsZeroBytes reports whether p, which is Go memory, holds only zeroes.
func IsZeroBytes(p []byte) bool { return isZero(p) }

// Iovecs appends what preadv(2) and its like take to dst, at most limit of
// them, and returns how many bytes these cover. The caller keeps the vector alive.
func (v Vec) Iovecs(dst []unix.Iovec, limit int) ([]unix.Iovec, int) {
	n := 0
	for seg, rest, ok := v.Next(); ok && len(dst) < limit; seg, rest, ok = rest.Next() {
		iov := unix.Iovec{Base: unsafe.SliceData(seg)}
		iov.SetLen(len(seg))
		dst = append(dst, iov)
		n += len(seg)
	}
	return dst, n
}

// AlignedBuffer returns n zero bytes of Go memory at an address that is a
// multiple of align, a power of two.
func AlignedBuffer(n, align int) []byte {
	p := make([]byte, n+align-1)
	skip := int(-addrOf(p) & uintptr(align-1))
	return p[skip : skip+n : skip+n]
}
