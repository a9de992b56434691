package accel

import (
	"fmt"
	"sync"

	"github.com/sirupsen/logrus"

	"govmd/internal/kvm"
	"govmd/internal/memory"
)

// pageSize is what KVM's slots are aligned to.
const pageSize = 4096

// slots keeps KVM's memory slots and ioeventfds as the map of an address space
// has them. RAM that does not fill whole pages is left to software: accesses to
// it are MMIO exits, which the address space serves.
type slots struct {
	vm  *kvm.VM
	log *logrus.Logger
	max int
	// quiet runs a change of slots that the guest uses while no vCPU executes:
	// KVM cannot replace a slot at one stroke.
	quiet func(change func())

	mu      sync.Mutex // guards what follows; taken after the topology lock
	used    map[slotKey]*slot
	free    []uint32
	next    uint32
	logging map[*memory.Block]bool
}

type slotKey struct{ addr, size uint64 }

type slot struct {
	region kvm.MemoryRegion
	block  *memory.Block
	offset uint64 // in block
	bitmap []uint64
}

func newSlots(vm *kvm.VM, log *logrus.Logger, quiet func(func())) *slots {
	n := vm.Check(kvm.CapNrMemSlots)
	if n == 0 {
		n = 32
	}
	return &slots{vm: vm, log: log, max: n, quiet: quiet,
		used: map[slotKey]*slot{}, logging: map[*memory.Block]bool{}}
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
	for _, sec := range c.Removed {
		if addr, size, _, ok := page(sec); ok {
			s.remove(slotKey{addr, size})
		}
	}
	for _, sec := range c.Added {
		if addr, size, offset, ok := page(sec); ok {
			s.add(sec, addr, size, offset)
		}
	}
}

func (s *slots) add(sec memory.Section, addr, size, offset uint64) {
	var id uint32
	switch {
	case len(s.free) > 0:
		id = s.free[len(s.free)-1]
		s.free = s.free[:len(s.free)-1]
	case int(s.next) < s.max:
		id = s.next
		s.next++
	default:
		s.log.Errorf("KVM's %d memory slots are used up: guest memory at 0x%x works, but slowly", s.max, addr)
		return
	}
	sl := &slot{block: sec.Block, offset: offset, region: kvm.MemoryRegion{
		Slot: id, GuestAddr: addr, Size: size, UserAddr: uint64(sec.Block.HostAddr()) + offset,
	}}
	if sec.ReadOnly {
		sl.region.Flags |= kvm.MemReadonly
	} else if s.logging[sec.Block] {
		sl.region.Flags |= kvm.MemLogDirtyPages
	}
	if err := s.vm.SetUserMemoryRegion(&sl.region); err != nil {
		s.log.Errorf("guest memory %q at 0x%x: %v", sec.Region.Name(), addr, err)
		s.free = append(s.free, id)
		return
	}
	s.used[slotKey{addr, size}] = sl
}

func (s *slots) remove(k slotKey) {
	sl := s.used[k]
	if sl == nil {
		return
	}
	delete(s.used, k)
	s.free = append(s.free, sl.region.Slot)
	if sl.region.Flags&kvm.MemLogDirtyPages != 0 {
		// What was written since the last look must not be lost with the slot.
		if err := s.fetch(sl, sl.block.MarkPages); err != nil {
			s.log.Errorf("dirty pages of slot at 0x%x: %v", k.addr, err)
		}
	}
	gone := sl.region
	gone.Size = 0
	if err := s.vm.SetUserMemoryRegion(&gone); err != nil {
		s.log.Errorf("removing guest memory at 0x%x: %v", k.addr, err)
	}
}

// SetLogging implements memory.DirtySource.
func (s *slots) SetLogging(b *memory.Block, on bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if on {
		s.logging[b] = true
	} else {
		delete(s.logging, b)
	}
	for _, sl := range s.used {
		if sl.block != b || sl.region.Flags&kvm.MemReadonly != 0 {
			continue
		}
		sl.region.Flags &^= kvm.MemLogDirtyPages
		if on {
			sl.region.Flags |= kvm.MemLogDirtyPages
		}
		if err := s.vm.SetUserMemoryRegion(&sl.region); err != nil {
			return fmt.Errorf("dirty log of %q: %w", b.Name(), err)
		}
	}
	return nil
}

// Sync implements memory.DirtySource.
func (s *slots) Sync(b *memory.Block, mark func(page, bits uint64)) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, sl := range s.used {
		if sl.block != b || sl.region.Flags&kvm.MemLogDirtyPages == 0 {
			continue
		}
		if err := s.fetch(sl, mark); err != nil {
			return err
		}
	}
	return nil
}

// fetch moves KVM's dirty bits of a slot to mark, which takes them 64 at a time
// from a page number in the block on.
func (s *slots) fetch(sl *slot, mark func(page, bits uint64)) error {
	if sl.bitmap == nil {
		sl.bitmap = make([]uint64, kvm.DirtyWords(sl.region.Size))
	}
	if err := s.vm.GetDirtyLog(sl.region.Slot, sl.region.Size, sl.bitmap); err != nil {
		return err
	}
	first := sl.offset / pageSize
	for i, w := range sl.bitmap {
		if w != 0 {
			mark(first+64*uint64(i), w)
		}
	}
	return nil
}

// eventfds follows the ioeventfds of one address space.
type eventfds struct {
	vm  *kvm.VM
	log *logrus.Logger
	pio bool
}

// MapChanged implements memory.Listener.
func (e *eventfds) MapChanged(c memory.Change) {
	for i := range c.FDRemoved {
		if err := e.vm.RemoveIOEvent(e.event(&c.FDRemoved[i])); err != nil {
			e.log.Errorf("removing ioeventfd: %v", err)
		}
	}
	for i := range c.FDAdded {
		if err := e.vm.AddIOEvent(e.event(&c.FDAdded[i])); err != nil {
			// The write still reaches the device, by an exit to user space.
			e.log.Errorf("ioeventfd: %v", err)
		}
	}
}

func (e *eventfds) event(m *memory.IoEventFD) *kvm.IOEvent {
	return &kvm.IOEvent{Addr: m.Addr, PIO: e.pio, Len: uint32(m.Size), Match: m.Match, Data: m.Value, FD: m.FD}
}
