package memory

import (
	"runtime/debug"
	"unsafe"

	"golang.org/x/sys/unix"
)

// mapping is memory outside the Go heap. It ends in a page that nobody may touch.
type mapping struct {
	base   unsafe.Pointer
	bytes  []byte  // all of the block
	length uintptr // mapped, whole pages
	page   uint64  // size of the pages behind it
	faults bool    // touching it may fail: a file that can be cut short, or hugepages that can run out
}

// guardSize is what follows a mapping.
const guardSize = PageSize

// mapMemory maps size bytes, rounded up to whole pages, at an address that is a
// multiple of align (a power of two).
func mapMemory(size, page, align uint64, prot, flags, fd int, offset int64) (m mapping, err error) {
	length := uintptr((size + page - 1) &^ (page - 1))
	room := length + uintptr(align) + guardSize
	start, err := unix.MmapPtr(-1, 0, nil, room, unix.PROT_NONE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS|unix.MAP_NORESERVE)
	if err != nil {
		return m, err
	}
	skip := -uintptr(start) & uintptr(align-1)
	base, err := unix.MmapPtr(fd, offset, unsafe.Add(start, skip), length, prot, flags|unix.MAP_FIXED)
	if err != nil {
		_ = unix.MunmapPtr(start, room) // it was mapped just now
		return m, err
	}
	if skip > 0 {
		_ = unix.MunmapPtr(start, skip)
	}
	if used := skip + length + guardSize; used < room {
		_ = unix.MunmapPtr(unsafe.Add(start, used), room-used)
	}
	return mapping{base: base, bytes: unsafe.Slice((*byte)(base), size), length: length, page: page}, nil
}

func (m *mapping) addr() uintptr { return uintptr(m.base) }

// all returns the whole of the mapping, to the end of its last page.
func (m *mapping) all() []byte { return unsafe.Slice((*byte)(m.base), m.length) }

func (m *mapping) unmap() {
	_ = unix.MunmapPtr(m.base, m.length+guardSize) // it is mapped
}

// vacate gives the memory back but keeps the addresses: empty memory is there instead.
func (m *mapping) vacate() {
	_, err := unix.MmapPtr(-1, 0, m.base, m.length, unix.PROT_READ|unix.PROT_WRITE,
		unix.MAP_PRIVATE|unix.MAP_ANONYMOUS|unix.MAP_NORESERVE|unix.MAP_FIXED)
	if err == nil {
		_ = unix.Madvise(m.all(), unix.MADV_DONTDUMP)
	}
}

// copyOut copies from the mapping at off, which the caller has checked. It
// reports whether all of the memory was there.
func (m *mapping) copyOut(dst []byte, off uint64) bool {
	src := m.bytes[off : off+uint64(len(dst))]
	if m.faults {
		return Copy(dst, src) == nil
	}
	copy(dst, src)
	return true
}

// copyIn copies into the mapping at off, which the caller has checked. It
// reports whether all of the memory was there.
func (m *mapping) copyIn(off uint64, src []byte) bool {
	dst := m.bytes[off : off+uint64(len(src))]
	if m.faults {
		return Copy(dst, src) == nil
	}
	copy(dst, src)
	return true
}

// Copy copies len(src) bytes to dst, one of which is guest memory. It costs
// about 10 ns more than copy.
func Copy(dst, src []byte) (err error) {
	old := debug.SetPanicOnFault(true)
	defer func() {
		debug.SetPanicOnFault(old)
		if r := recover(); r != nil {
			err = faultOf(r)
		}
	}()
	copy(dst, src)
	return nil
}

// Touch runs fn, which may touch borrowed bytes, and returns an error if the
// memory behind them was missing. fn must not hold a lock that it would not
// release then.
func Touch(fn func()) (err error) {
	old := debug.SetPanicOnFault(true)
	defer func() {
		debug.SetPanicOnFault(old)
		if r := recover(); r != nil {
			err = faultOf(r)
		}
	}()
	fn()
	return nil
}

// faultOf makes an error of what a fault panics with, and goes on panicking with
// anything else.
func faultOf(r any) error {
	f, ok := r.(interface{ Addr() uintptr })
	if !ok {
		panic(r)
	}
	return &AccessError{Who: "memory at host address", Addr: uint64(f.Addr()), Size: 1, Fault: FaultGone}
}
