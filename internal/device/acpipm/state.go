package acpipm

import "fmt"

// Saved is a block's saved state, a part of its owner's.
type Saved struct {
	Status    uint16 `cbor:"status"`
	Enable    uint16 `cbor:"enable"`
	Control   uint16 `cbor:"control"`
	Overflow  uint64 `cbor:"overflow"` // tick since time 0 of the virtual clock
	GPEStatus []byte `cbor:"gpe-status"`
	GPEEnable []byte `cbor:"gpe-enable"`
}

// Save returns the state.
func (b *Block) Save() Saved {
	b.mu.Lock()
	defer b.mu.Unlock()
	return Saved{
		Status: b.status, Enable: b.enable, Control: b.control, Overflow: b.overflow,
		GPEStatus: append([]byte{}, b.gpeSts...), GPEEnable: append([]byte{}, b.gpeEn...),
	}
}

// Load applies a state. The virtual clock has been loaded before.
func (b *Block) Load(s Saved) error {
	if len(s.GPEStatus) != len(b.gpeSts) || len(s.GPEEnable) != len(b.gpeEn) {
		return fmt.Errorf("%d and %d bytes of general-purpose events, here there are %d of each",
			len(s.GPEStatus), len(s.GPEEnable), len(b.gpeSts))
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.status = s.Status & statusBits
	b.enable = s.Enable & enableBits
	b.control = s.Control &^ controlSleepEnable
	if b.cfg.ACPIOnly {
		b.control |= ControlSCI
	}
	b.overflow = s.Overflow
	copy(b.gpeSts, s.GPEStatus)
	copy(b.gpeEn, s.GPEEnable)
	b.update()
	return nil
}
