package memory

import (
	"sync/atomic"
	"unsafe"
)

// Numbers in guest memory, which other CPUs and the guest access at the same
// time. The host is little-endian, as its guests are. Offsets are aligned and
// checked by the caller; the results say whether the memory was there.
//
// Where it may be missing it is touched by an ordinary load first: under the race
// detector atomic operations are made by C code, in which a fault is fatal.

func (m *mapping) word32(off uint64) *uint32 { return (*uint32)(unsafe.Pointer(&m.bytes[off])) }
func (m *mapping) word64(off uint64) *uint64 { return (*uint64)(unsafe.Pointer(&m.bytes[off])) }

func (m *mapping) load32(off uint64) (v uint32, ok bool) {
	p := m.word32(off)
	if m.faults {
		ok = Touch(func() { peek(p); v = atomic.LoadUint32(p) }) == nil
		return v, ok
	}
	return atomic.LoadUint32(p), true
}

func (m *mapping) load64(off uint64) (v uint64, ok bool) {
	p := m.word64(off)
	if m.faults {
		ok = Touch(func() { peek((*uint32)(unsafe.Pointer(p))); v = atomic.LoadUint64(p) }) == nil
		return v, ok
	}
	return atomic.LoadUint64(p), true
}

func (m *mapping) store16(off uint64, v uint16) (ok bool) {
	p, shift := m.word32(off&^3), 8*(off&2)
	if m.faults {
		return Touch(func() { peek(p); replace16(p, shift, v) }) == nil
	}
	replace16(p, shift, v)
	return true
}

func (m *mapping) store32(off uint64, v uint32) (ok bool) {
	p := m.word32(off)
	if m.faults {
		return Touch(func() { peek(p); atomic.StoreUint32(p, v) }) == nil
	}
	atomic.StoreUint32(p, v)
	return true
}

func (m *mapping) store64(off uint64, v uint64) (ok bool) {
	p := m.word64(off)
	if m.faults {
		return Touch(func() { peek((*uint32)(unsafe.Pointer(p))); atomic.StoreUint64(p, v) }) == nil
	}
	atomic.StoreUint64(p, v)
	return true
}

// replace16 replaces half of a word. A guest that keeps changing the other half
// cannot keep it here: after some attempts an ordinary store, which on this
// architecture is indivisible too, followed by a barrier, has to do.
func replace16(p *uint32, shift uint64, v uint16) {
	for range 100 {
		old := atomic.LoadUint32(p)
		if atomic.CompareAndSwapUint32(p, old, old&^(0xffff<<shift)|uint32(v)<<shift) {
			return
		}
	}
	*(*uint16)(unsafe.Add(unsafe.Pointer(p), shift/8)) = v
	var barrier uint32
	atomic.StoreUint32(&barrier, 1)
}

//go:noinline
func peek(p *uint32) uint32 { return *p }
