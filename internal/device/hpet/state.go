package hpet

import (
	"fmt"

	"govmd/internal/state"
)

type saved struct {
	Config  uint64       `cbor:"config"`
	Status  uint64       `cbor:"status"`
	Counter uint64       `cbor:"counter"` // at the time since; now, while it is halted
	Since   int64        `cbor:"since"`   // ns of the virtual clock
	Timers  []savedTimer `cbor:"timers"`
}

type savedTimer struct {
	Config     uint64 `cbor:"config"`
	Comparator uint64 `cbor:"comparator"`
	Period     uint64 `cbor:"period"`
	FSB        uint64 `cbor:"fsb"`
	SetValue   bool   `cbor:"set-value"`
	Aimed      bool   `cbor:"aimed"` // the counter will reach At, or has and nobody has noticed yet
	At         uint64 `cbor:"at"`
	Last       int64  `cbor:"last"` // when it interrupted last, ns of the virtual clock
}

// States implements device.Stater.
func (d *Device) States() []state.Entry {
	e := state.Of("", 1, d.save, d.load)
	e.PostLoad = d.tell
	return []state.Entry{e}
}

func (d *Device) save() saved {
	d.mu.Lock()
	defer d.mu.Unlock()
	s := saved{Config: d.config, Status: d.status, Counter: d.start, Since: d.since}
	for i := range d.timers {
		t := &d.timers[i]
		s.Timers = append(s.Timers, savedTimer{
			Config: t.config, Comparator: t.comparator, Period: t.period, FSB: t.fsb,
			SetValue: t.setValue, Aimed: t.aimed, At: t.at, Last: t.last,
		})
	}
	return s
}

// load takes a state of hostile origin: whatever it holds, what the registers
// hold afterwards is what a guest could have written.
func (d *Device) load(s *saved) error {
	if len(s.Timers) != len(d.timers) {
		return fmt.Errorf("%d timers, here there are %d", len(s.Timers), len(d.timers))
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.clear()
	d.config, d.status, d.start = s.Config&configBits, s.Status, s.Counter
	if d.running() {
		d.since = min(max(s.Since, 0), max(d.clock.Now(), 0))
	}
	for i, from := range s.Timers {
		t := &d.timers[i]
		keep := uint64(timerPlain)
		if d.msi {
			keep |= timerFSB
			t.fsb = from.FSB
		}
		if route := from.Config & timerRoute >> timerRouteShift; d.routes>>route&1 != 0 {
			keep |= timerRoute
		}
		t.config |= from.Config & keep
		t.comparator, t.period = from.Comparator, from.Period
		t.truncate()
		t.setValue = from.SetValue && t.periodic()
		t.aimed, t.at = from.Aimed, from.At
		t.last = min(max(from.Last, longAgo), max(d.clock.Now(), 0))
		d.update(t)
	}
	d.status &= 1<<len(d.timers) - 1
	return nil
}

// tell makes the others agree with what was loaded.
func (d *Device) tell() error {
	d.legacyMu.Lock()
	defer d.legacyMu.Unlock()
	d.mu.Lock()
	legacy := d.legacy()
	d.mu.Unlock()
	d.announceLocked(legacy)
	return nil
}
