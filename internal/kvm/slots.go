package kvm

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// Flags of a memory slot.
const (
	MemLogDirtyPages uint32 = 1 << 0 // record which pages the guest writes
	MemReadonly      uint32 = 1 << 1 // guest writes become MMIO exits (CapReadonlyMem)
)

// MemoryRegion is struct kvm_userspace_memory_region: a memory slot. Guest and
// user address and size are multiples of 4096; size 0 deletes the slot.
type MemoryRegion struct {
	Slot      uint32
	Flags     uint32
	GuestAddr uint64
	Size      uint64
	UserAddr  uint64 // in this process, outside the Go heap
}

// SetUserMemoryRegion makes, moves, re-flags or deletes a slot. A slot's size
// cannot change: delete it first.
func (m *VM) SetUserMemoryRegion(r *MemoryRegion) error {
	if _, err := ioctlPtr(m.fd, reqSetUserMemoryRegion, r); err != nil {
		return &Error{
			Op: fmt.Sprintf("%s slot %d at 0x%x size 0x%x flags %d",
				reqSetUserMemoryRegion, r.Slot, r.GuestAddr, r.Size, r.Flags),
			VCPU: -1, Err: err,
		}
	}
	return nil
}

// DirtyWords returns how many 64-bit words hold one bit for each page of a slot
// of that many bytes.
func DirtyWords(size uint64) int { return int((size>>12 + 63) / 64) }

// GetDirtyLog fetches a slot's dirty bitmap, one bit a page, lowest first.
// bitmap must have DirtyWords(size) words: the kernel writes as many as the
// slot needs. Without manual protection it also clears the log; with it,
// ClearDirtyLog does.
func (m *VM) GetDirtyLog(slot uint32, size uint64, bitmap []uint64) error {
	if len(bitmap) == 0 || len(bitmap) < DirtyWords(size) {
		return &Error{Op: reqGetDirtyLog.String() + ": bitmap too short", VCPU: -1, Err: unix.EINVAL}
	}
	if err := getDirtyLog(m.fd, slot, &bitmap[0]); err != nil {
		return opError(reqGetDirtyLog, err)
	}
	return nil
}

// Flags for EnableManualDirtyLogProtect.
const (
	DirtyLogManualProtect = 1 << 0 // GetDirtyLog does not clear
	DirtyLogInitiallySet  = 1 << 1 // all pages of a slot begin as dirty; logging starts cheaply
)

// EnableManualDirtyLogProtect separates reading the dirty log from clearing it.
// flags must be among those that Check(CapManualDirtyLogProtect2) returns.
func (m *VM) EnableManualDirtyLogProtect(flags uint64) error {
	return m.EnableCap(CapManualDirtyLogProtect2, flags)
}

// ClearDirtyLog clears the log of those of the pages first to first+pages-1
// whose bit (counted from first) is set, and begins to watch them again. first
// is a multiple of 64, and so is pages unless they reach the slot's end.
func (m *VM) ClearDirtyLog(slot uint32, first uint64, pages uint32, bitmap []uint64) error {
	if pages == 0 {
		return nil
	}
	if len(bitmap) < (int(pages)+63)/64 {
		return &Error{Op: reqClearDirtyLog.String() + ": bitmap too short", VCPU: -1, Err: unix.EINVAL}
	}
	if err := doClearDirtyLog(m.fd, slot, first, pages, &bitmap[0]); err != nil {
		return opError(reqClearDirtyLog, err)
	}
	return nil
}
