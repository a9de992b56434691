package ioapic

import (
	"fmt"

	"govmd/internal/state"
)

type saved struct {
	Level  uint32   `cbor:"level"`
	Select uint8    `cbor:"select"`
	ID     uint32   `cbor:"id"`
	Table  []uint64 `cbor:"table"`
}

// States implements device.Stater. Input levels are state: devices that are
// loaded later drive their lines to what they were, which must not be an edge.
func (d *Device) States() []state.Entry {
	e := state.Of("", 1, d.save, d.load)
	e.Priority = state.PriorityIRQ
	return []state.Entry{e}
}

func (d *Device) save() saved {
	d.mu.Lock()
	defer d.mu.Unlock()
	return saved{Level: d.level, Select: d.regs.sel, ID: d.regs.id, Table: append([]uint64{}, d.regs.table[:]...)}
}

func (d *Device) load(s *saved) error {
	if len(s.Table) != Inputs {
		return fmt.Errorf("the redirection table has %d entries, not %d", len(s.Table), Inputs)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.level = s.Level & (1<<Inputs - 1)
	d.regs.sel, d.regs.id = s.Select, s.ID&idMask
	for i, e := range s.Table {
		e &= entryState
		if e&entryLevel == 0 {
			e &^= entryRemoteIRR
		}
		d.regs.table[i] = e
	}
	return nil
}
