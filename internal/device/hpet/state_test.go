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

func FuzzRegisters(f *testing.F) {
	devtest.FuzzIO(f, func(m *devtest.Machine) { plug(m, "msi", "on", "hpet-intcap", "0xff0104") }, devtest.MMIO(Base, 0x180))
}

func FuzzState(f *testing.F) {
	devtest.FuzzState(f, func(m *devtest.Machine) { plug(m) }, devtest.MMIO(Base, 0x180))
}
