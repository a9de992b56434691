package accel

import (
	"fmt"

	"govmd/internal/kvm"
	"govmd/internal/memory"
)

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
		changed := sl.region
		changed.Flags &^= kvm.MemLogDirtyPages
		if on {
			changed.Flags |= kvm.MemLogDirtyPages
		}
		if err := s.vm.SetUserMemoryRegion(&changed); err != nil {
			return fmt.Errorf("dirty log of %q: %w", b.Name(), err)
		}
		sl.region = changed
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
