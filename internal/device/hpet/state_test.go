package hpet

import (
	"slices"
	"testing"

	"govmd/internal/device/devtest"
	"govmd/internal/state"
)

// rigs keeps the rigs of machines that a test helper builds.
func build(rigs *[]*rig, props ...string) func(*devtest.Machine) {
	return func(m *devtest.Machine) { *rigs = append(*rigs, plug(m, props...)) }
}

func TestRoundTrip(t *testing.T) {
	var rigs []*rig
	devtest.RoundTrip(t, build(&rigs, "msi", "on"), func(m *devtest.Machine) {
		r := rigs[0]
		r.set(regCounter, 12345)
		r.set(fsb(1), 0xfee00000_00000031)
		r.set(config(0), timerInterrupts|timerLevel|timerPeriodic|timerSetValue|timer32)
		r.set(comparator(0), 50_000)
		r.set(config(1), timerInterrupts|timerFSB)
		r.set(comparator(1), 100_000)
		r.set(config(2), timerInterrupts|timerPeriodic|timerSetValue|toInput2)
		r.set(regConfig, configEnable|configLegacy)
		r.ticks(60_000)
		r.level(0, true, "saved")
	})
	from, to := rigs[0], rigs[1]
	if !slices.Equal(to.legacy, []bool{true}) {
		t.Errorf("Legacy was called with %v after loading", to.legacy)
	}
	to.level(0, true, "loaded")
	for _, r := range rigs {
		r.set(regStatus, 1)
		r.set(comparator(2), 80_000) // TimerSetValue is still on
		r.ticks(20_000)
		r.rises(2, 1, "first and period at once")
		r.level(0, false, "not yet")
		r.ticks(20_000)
		r.level(0, true, "a period later")
	}
	for _, reg := range []uint64{regConfig, regStatus, regCounter, config(0), config(1), config(2),
		comparator(0), comparator(1), comparator(2), fsb(1)} {
		to.check(reg, from.get(reg), "as in the original")
	}
}

// TestLimitIsSaved has a timer that asks for more interrupts than it gets: loading
// its state brings none before its time.
func TestLimitIsSaved(t *testing.T) {
	var rigs []*rig
	devtest.RoundTrip(t, build(&rigs), func(m *devtest.Machine) {
		r := rigs[0]
		r.set(config(2), timerInterrupts|timerPeriodic|timerSetValue|toInput2)
		r.set(comparator(2), 1)
		r.set(regConfig, configEnable)
		r.ticks(quickest/tickNS + 10)
	})
	for _, r := range rigs {
		r.pins[2].Rises()
		r.ticks(quickest / tickNS / 2)
		r.rises(2, 0, "half of the least time between two interrupts")
		r.ticks(quickest / tickNS / 2)
		r.rises(2, 1, "all of it")
	}
}

// TestMissedWhileSaved has a match that nobody has noticed yet when the state is saved.
func TestMissedWhileSaved(t *testing.T) {
	var rigs []*rig
	devtest.RoundTrip(t, build(&rigs), func(m *devtest.Machine) {
		r := rigs[0]
		r.set(config(2), timerInterrupts|toInput2)
		r.set(comparator(2), 10)
		r.set(regConfig, configEnable)
		clk := m.Env.Clock.Virtual
		clk.SetNow(clk.Now() + 20*tickNS) // runs no timers
	})
	rigs[1].ticks(0)
	rigs[1].rises(2, 1, "delivered after loading")
}

func TestWrongNumberOfTimers(t *testing.T) {
	from, to := newRig(t, "timers", "4"), newRig(t)
	from.Do(func() {
		if err := state.RoundTrip(from.Env.State, to.Env.State); err == nil {
			t.Error("a state of four timers was loaded into three")
		}
	})
}

func TestTwin(t *testing.T) {
	devtest.Twin(t, func(m *devtest.Machine) {
		r := plug(m, "msi", "on", "hpet-intcap", "0xff0104")
		m.AddWatch(func() any {
			var s [inputs]int
			for i, p := range r.pins {
				s[i] = p.Rises() << 1
				if p.Level() {
					s[i] |= 1
				}
			}
			return s
		})
		m.AddWatch(func() any { return len(r.legacy) > 0 && r.legacy[len(r.legacy)-1] })
		m.AddAction(func(next func(int) uint64) uint64 { // a timer that runs
			n := next(1) % 3
			r.set(config(n), timerInterrupts|next(2)&^timerFSB)
			r.set(comparator(n), next(3))
			r.set(regConfig, configEnable|next(1)&configLegacy)
			return r.get(regCounter)
		})
		m.AddAction(func(next func(int) uint64) uint64 {
			v := r.get(regStatus)
			r.set(regStatus, next(1))
			return v
		})
	}, devtest.MMIO(Base, 0x180))
}

func TestConcurrent(t *testing.T) {
	var r *rig
	devtest.Concurrent(t, func(m *devtest.Machine) {
		r = plug(m, "msi", "on", "hpet-intcap", "0xff0104")
		r.dev.Legacy = nil
	}, devtest.MMIO(Base, 0x180))
	for i, p := range r.pins {
		if p.Level() {
			t.Errorf("input %d is high", i)
		}
	}
}

func FuzzRegisters(f *testing.F) {
	devtest.FuzzIO(f, func(m *devtest.Machine) { plug(m, "msi", "on", "hpet-intcap", "0xff0104") }, devtest.MMIO(Base, 0x180))
}

func FuzzState(f *testing.F) {
	devtest.FuzzState(f, func(m *devtest.Machine) { plug(m) }, devtest.MMIO(Base, 0x180))
}
