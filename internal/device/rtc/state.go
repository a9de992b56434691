package rtc

import (
	"fmt"

	"govmd/internal/state"
)

type saved struct {
	CMOS     []byte `cbor:"cmos"`
	Index    uint8  `cbor:"index"`
	Offset   int64  `cbor:"offset"` // from the clock that is followed, in ns
	Now      int64  `cbor:"now"`    // guest time, where that clock means nothing elsewhere
	LastUp   int64  `cbor:"last-update"`
	LastTick int64  `cbor:"last-tick"`
	Missed   int    `cbor:"missed"`
	InARow   int    `cbor:"in-a-row"`
}

// States implements device.Stater.
func (d *Device) States() []state.Entry {
	return []state.Entry{state.Of("", 1, d.save, d.load)}
}

func (d *Device) save() saved {
	d.mu.Lock()
	defer d.mu.Unlock()
	r := &d.regs
	s := saved{
		CMOS: append([]byte{}, r.cmos[:]...), Index: r.index, Offset: r.offset,
		LastUp: r.lastUp, LastTick: r.lastPF, Missed: r.missed, InARow: r.inARow,
	}
	if d.Source == SourceRT {
		s.Now = d.now()
	}
	return s
}

func (d *Device) load(s *saved) error {
	if len(s.CMOS) != cmosSize {
		return fmt.Errorf("CMOS has %d bytes, not %d", len(s.CMOS), cmosSize)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	r := &d.regs
	copy(r.cmos[:], s.CMOS)
	r.cmos[regA] &^= aUIP
	r.cmos[regC] &= cFlags | cIRQF
	r.index = s.Index & indexMask
	const first, last = firstSecond * second, (lastSecond + upTime) * second
	follows := d.follows.Now()
	now := follows + min(max(s.Offset, first-follows), last-follows)
	if d.Source == SourceRT {
		now = min(max(s.Now, first), last)
	}
	r.offset = now - follows
	r.lastUp = min(max(s.LastUp, firstSecond), d.second())
	r.lastPF = max(s.LastTick, 0)
	r.lastPF = min(r.lastPF, d.tick())
	r.missed = min(max(s.Missed, 0), maxMissed)
	r.inARow = min(max(s.InARow, 0), maxInARow)
	d.update()
	d.arm()
	return nil
}
