package i8254

import (
	"fmt"

	"govmd/internal/state"
)

type saved struct {
	Counters []savedCounter `cbor:"counters"`
	Legacy   bool           `cbor:"hpet-legacy"`
	Line     bool           `cbor:"line"` // the interrupt's level
}

// savedCounter has times in ticks of the virtual clock.
type savedCounter struct {
	Mode       uint8  `cbor:"mode"`
	Access     uint8  `cbor:"access"`
	BCD        bool   `cbor:"bcd"`
	Gate       bool   `cbor:"gate"`
	Loaded     bool   `cbor:"loaded"`
	Count      int64  `cbor:"count"`
	Start      int64  `cbor:"start"`
	Held       bool   `cbor:"held"`
	Elapsed    int64  `cbor:"elapsed"`
	High       bool   `cbor:"high"`
	Frozen     uint16 `cbor:"frozen"`
	Reload     int64  `cbor:"reload"`
	Null       bool   `cbor:"null"`
	LoadAt     int64  `cbor:"load-at"`
	LowByte    uint8  `cbor:"low-byte"`
	HalfWrite  bool   `cbor:"half-write"`
	HalfRead   bool   `cbor:"half-read"`
	Latched    uint16 `cbor:"latched"`
	LatchBytes uint8  `cbor:"latch-bytes"`
	Status     uint8  `cbor:"status"`
	HasStatus  bool   `cbor:"has-status"`
}

// States implements device.Stater. The timer is loaded after the interrupt
// controllers, which know the level of its line.
func (d *Device) States() []state.Entry {
	e := state.Of("", 1, d.save, d.load)
	e.Priority = state.PriorityIRQ - 1
	return []state.Entry{e}
}

func (d *Device) save() saved {
	d.mu.Lock()
	defer d.mu.Unlock()
	t := d.now()
	s := saved{Legacy: d.legacy, Line: d.line.Level()}
	for i := range d.counters {
		c := &d.counters[i]
		c.catchUp(t)
		s.Counters = append(s.Counters, savedCounter{
			Mode: c.mode, Access: c.access, BCD: c.bcd, Gate: c.gate,
			Loaded: c.loaded, Count: c.count, Start: c.start, Held: c.held, Elapsed: c.elapsed, High: c.high,
			Frozen: c.frozen, Reload: c.reload, Null: c.null, LoadAt: c.loadAt,
			LowByte: c.lowByte, HalfWrite: c.halfWrite, HalfRead: c.halfRead,
			Latched: c.latched, LatchBytes: c.latchBytes, Status: c.status, HasStatus: c.hasStatus,
		})
	}
	return s
}

func (d *Device) load(s *saved) error {
	if len(s.Counters) != len(d.counters) {
		return fmt.Errorf("the interval timer has %d counters, not %d", len(s.Counters), len(d.counters))
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	t := d.now()
	for i := range s.Counters {
		if err := d.counters[i].load(t, &s.Counters[i]); err != nil {
			return fmt.Errorf("counter %d: %w", i, err)
		}
	}
	d.legacy = s.Legacy
	d.seen = t
	d.line.SetLevel(s.Line)
	d.update(t)
	return nil
}

func (c *counter) load(t int64, s *savedCounter) error {
	const most = 1 << 16
	switch {
	case s.Mode > 5:
		return fmt.Errorf("mode %d is none", s.Mode)
	case s.Access < accessLow || s.Access > accessBoth:
		return fmt.Errorf("access mode %d is none", s.Access)
	case s.Loaded && (s.Count < 1 || s.Count > most), s.Reload < 0 || s.Reload > most:
		return fmt.Errorf("counts of %d and %d are out of range", s.Count, s.Reload)
	case s.LoadAt != never && s.Reload == 0:
		return fmt.Errorf("a count is due that was not written")
	case s.LatchBytes > bytesOf(s.Access):
		return fmt.Errorf("%d latched bytes are too many", s.LatchBytes)
	}
	*c = counter{
		mode: s.Mode, access: s.Access, bcd: s.BCD, gate: s.Gate,
		loaded: s.Loaded, count: s.Count, start: min(max(s.Start, 0), t), held: s.Held,
		elapsed: min(max(s.Elapsed, 0), t), high: s.High,
		frozen: s.Frozen, reload: s.Reload, null: s.Null, loadAt: never,
		lowByte: s.LowByte, halfWrite: s.HalfWrite, halfRead: s.HalfRead,
		latched: s.Latched, latchBytes: s.LatchBytes, status: s.Status, hasStatus: s.HasStatus,
	}
	if s.LoadAt != never {
		c.loadAt = min(max(s.LoadAt, t+1), t+most)
	}
	return nil
}
