package accel

import (
	"fmt"
	"slices"
	"sync"

	"govmd/internal/kvm"
	"govmd/internal/memory"
)

// pageSize is what KVM's slots are aligned to.
const pageSize = 4096

// slotVM is what slots need of KVM's VM.
type slotVM interface {
	SetUserMemoryRegion(r *kvm.MemoryRegion) error
	GetDirtyLog(slot uint32, size uint64, bitmap []uint64) error
}

// slots keeps KVM's memory slots as the map of an address space has them. RAM
// that does not fill whole pages is left to software: accesses to it are MMIO
// exits, which the address space serves. So is what KVM refuses, which is offered
// to it again with each later change.
type slots struct {
	vm  slotVM
	max int
	// quiet runs a change of slots that the guest uses while no vCPU executes:
	// KVM cannot replace a slot at one stroke.
	quiet func(change func())
	// refused is told of each section that KVM does not take or give up. It must
	// not wait, nor change the map.
	refused func(*MapError)

	mu      sync.Mutex // guards what follows; taken after the topology lock
	used    map[slotKey]*slot
	waiting map[slotKey]memory.Section // in the map, and refused by KVM
	stale   []*slot                    // in KVM, and in the map no longer
	free    []uint32
	next    uint32
	logging map[*memory.Block]bool
}

type slotKey struct{ addr, size uint64 }

type slot struct {
	region kvm.MemoryRegion
	name   string // of what was mapped, for messages
	block  *memory.Block
	offset uint64 // in block
	bitmap []uint64

	// Of stale ones only.
	err    error  // why KVM has not given it up
	unhold func() // gives back the block's addresses
}

// newSlots returns the keeper of a VM's slots, of which there are max.
func newSlots(vm slotVM, max int, quiet func(func()), refused func(*MapError)) *slots {
	return &slots{vm: vm, max: max, quiet: quiet, refused: refused,
		used: map[slotKey]*slot{}, waiting: map[slotKey]memory.Section{}, logging: map[*memory.Block]bool{}}
}

// page narrows a section to the whole pages in it.
func page(s memory.Section) (addr, size, offset uint64, ok bool) {
	if s.Block == nil {
		return 0, 0, 0, false
	}
	skip := -s.Addr & (pageSize - 1)
	if s.Size <= skip {
		return 0, 0, 0, false
	}
	addr, offset = s.Addr+skip, s.Offset+skip
	size = (s.Size - skip) &^ (pageSize - 1)
	return addr, size, offset, size > 0 && offset%pageSize == 0
}

// MapChanged implements memory.Listener.
func (s *slots) MapChanged(c memory.Change) {
	removesRAM := false
	for _, sec := range c.Removed {
		removesRAM = removesRAM || sec.Block != nil
	}
	if removesRAM {
		s.quiet(func() { s.apply(c) })
	} else {
		s.apply(c)
	}
}

func (s *slots) apply(c memory.Change) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.removeStale()
	for _, sec := range c.Removed {
		if addr, size, _, ok := page(sec); ok {
			s.remove(slotKey{addr, size})
		}
	}
	s.addWaiting()
	for _, sec := range c.Added {
		if _, _, _, ok := page(sec); !ok {
			continue
		}
		if err := s.add(sec); err != nil {
			s.refused(err)
		}
	}
}

// settle offers KVM again what it has refused, and reports whether the guest sees
// nothing any more that is not there. The vCPUs are paused.
func (s *slots) settle() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.removeStale()
	s.addWaiting()
	for _, sl := range s.stale {
		s.refused(&MapError{Name: sl.name, Addr: sl.region.GuestAddr, Stale: true, Err: sl.err})
	}
	return len(s.stale) == 0
}

// add has KVM map a section of whole pages at least; if it does not, the section
// waits.
func (s *slots) add(sec memory.Section) *MapError {
	addr, size, offset, _ := page(sec)
	sl := &slot{block: sec.Block, name: sec.Region.Name(), offset: offset, region: kvm.MemoryRegion{
		GuestAddr: addr, Size: size, UserAddr: uint64(sec.Block.HostAddr()) + offset,
	}}
	if sec.ReadOnly {
		sl.region.Flags |= kvm.MemReadonly
	} else if s.logging[sec.Block] {
		sl.region.Flags |= kvm.MemLogDirtyPages
	}
	key := slotKey{addr, size}
	if err := s.place(sl); err != nil {
		s.waiting[key] = sec
		return &MapError{Name: sl.name, Addr: addr, Err: err}
	}
	s.used[key] = sl
	return nil
}

// place gives a slot its number and KVM the slot.
func (s *slots) place(sl *slot) error {
	n := len(s.free)
	switch {
	case n > 0:
		sl.region.Slot = s.free[n-1]
	case int(s.next) < s.max:
		sl.region.Slot = s.next
	default:
		return fmt.Errorf("its %d memory slots are used up", s.max)
	}
	if err := s.vm.SetUserMemoryRegion(&sl.region); err != nil {
		return err
	}
	if n > 0 {
		s.free = s.free[:n-1]
	} else {
		s.next++
	}
	return nil
}

// addWaiting offers KVM again what it has refused.
func (s *slots) addWaiting() {
	for key, sec := range s.waiting {
		if s.add(sec) == nil {
			delete(s.waiting, key)
		}
	}
}

func (s *slots) remove(k slotKey) {
	delete(s.waiting, k)
	sl := s.used[k]
	if sl == nil {
		return
	}
	delete(s.used, k)
	if sl.err = s.drop(sl); sl.err != nil {
		// What the guest could still reach must not become anything else.
		sl.unhold = sl.block.HoldAddr()
		s.stale = append(s.stale, sl)
		s.refused(&MapError{Name: sl.name, Addr: k.addr, Stale: true, Err: sl.err})
	}
}

// drop takes a slot from KVM.
func (s *slots) drop(sl *slot) error {
	if sl.region.Flags&kvm.MemLogDirtyPages != 0 {
		// What was written since the last look must not be lost with the slot.
		if err := s.fetch(sl, sl.block.MarkPages); err != nil {
			return err
		}
	}
	gone := sl.region
	gone.Size = 0
	if err := s.vm.SetUserMemoryRegion(&gone); err != nil {
		return err
	}
	s.free = append(s.free, gone.Slot)
	return nil
}

// removeStale takes from KVM again what it has not given up.
func (s *slots) removeStale() {
	s.stale = slices.DeleteFunc(s.stale, func(sl *slot) bool {
		if sl.err = s.drop(sl); sl.err != nil {
			return false
		}
		sl.unhold()
		return true
	})
}
