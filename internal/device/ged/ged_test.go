package ged

import (
	"slices"
	"testing"

	"govmd/internal/device"
	"govmd/internal/device/devtest"
)

const (
	events = 0xfea00000
	regs   = 0xfea00200
)

func plug(m *devtest.Machine) (*Device, *devtest.Probe) {
	p := devtest.NewProbe("gsi 9")
	d, err := device.Create(TypeName, "")
	if err != nil {
		m.TB.Fatal(err)
	}
	g := d.(*Device)
	g.Events, g.Registers, g.Pin = events, regs, p.Pin
	if err := m.Insert(nil, g); err != nil {
		m.TB.Fatal(err)
	}
	return g, p
}

func TestPowerButton(t *testing.T) {
	m := devtest.New(t)
	g, p := plug(m)
	m.CheckRead32(events, 0, "no event")
	g.PressPowerButton()
	if p.Rises() != 1 || p.Level() {
		t.Errorf("interrupt rose %d times, level %v: want one edge", p.Rises(), p.Level())
	}
	m.CheckRead32(events, EventPowerButton, "power button")
	m.CheckRead32(events, 0, "the register clears on read")
	g.PressPowerButton()
	m.Reset(g)
	m.CheckRead32(events, 0, "after a reset")
}

func TestSleepAndReset(t *testing.T) {
	m := devtest.New(t)
	plug(m)
	m.Write8(regs+sleepControl, sleepTypeS5<<sleepTypeLow) // not enabled
	m.Write8(regs+sleepControl, 3<<sleepTypeLow|sleepEnable)
	m.Write8(regs+resetControl, 1)
	m.Sync()
	if c := m.Calls(); len(c) != 0 {
		t.Errorf("calls %v, want none", c)
	}
	m.Write8(regs+resetControl, resetValue)
	m.Sync()
	m.Write8(regs+sleepControl, sleepTypeS5<<sleepTypeLow|sleepEnable)
	m.Sync()
	if c := m.Calls(); !slices.Equal(c, []string{"reset guest-reset", "end guest-shutdown"}) {
		t.Errorf("calls %v", c)
	}
}

func TestRoundTrip(t *testing.T) {
	mk := func(m *devtest.Machine) { plug(m) }
	_, to := devtest.RoundTrip(t, mk, func(m *devtest.Machine) {
		m.Devices()[0].(*Device).PressPowerButton()
	})
	to.CheckRead32(events, EventPowerButton, "loaded event")
}

func TestTwin(t *testing.T) {
	devtest.Twin(t, func(m *devtest.Machine) {
		d, line := plug(m)
		m.AddAction(func(func(int) uint64) uint64 {
			d.PressPowerButton()
			return 0
		})
		m.AddWatch(func() any { return line.Rises() })
	}, devtest.MMIO(events, 4), devtest.MMIO(regs, 3))
}

func TestConcurrent(t *testing.T) {
	devtest.Concurrent(t, func(m *devtest.Machine) { plug(m) }, devtest.MMIO(events, 4), devtest.MMIO(regs, 3))
}

func FuzzRegisters(f *testing.F) {
	devtest.FuzzIO(f, func(m *devtest.Machine) { plug(m) }, devtest.MMIO(events, 4), devtest.MMIO(regs, 3))
}

func FuzzState(f *testing.F) {
	devtest.FuzzState(f, func(m *devtest.Machine) { plug(m) }, devtest.MMIO(events, 4), devtest.MMIO(regs, 3))
}
