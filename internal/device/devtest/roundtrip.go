package devtest

import (
	"testing"

	"govmd/internal/device"
	"govmd/internal/state"
)

// RoundTrip checks saved state: mk builds the same machine twice, drive brings
// the first into an interesting condition, whose state is then saved, loaded
// into the second and saved again. Both machines are returned.
func RoundTrip(t *testing.T, mk, drive func(*Machine)) (from, to *Machine) {
	t.Helper()
	from, to = New(t), New(t)
	mk(from)
	mk(to)
	if drive != nil {
		drive(from)
	}
	if got, err := from.save(); err != nil {
		t.Fatal(err)
	} else if len(got) == 0 {
		t.Fatal("the machine has no saved state")
	}
	roundTrip(t, from, to)
	return from, to
}

func roundTrip(t testing.TB, from, to *Machine) {
	t.Helper()
	now := from.Env.Clock.Virtual.Now()
	from.Do(func() {
		to.Env.Clock.Virtual.SetNow(now)
		if err := state.RoundTrip(from.Env.State, to.Env.State); err != nil {
			t.Error(err)
		}
	})
	to.pump()
}

func (m *Machine) save() (s []state.Saved, err error) {
	m.Do(func() { s, err = m.Env.State.SaveAll() })
	return s, err
}

// ResetAll resets every device of the machine that is plugged into no other's bus.
func (m *Machine) ResetAll() {
	m.Do(func() { device.Reset(m.roots()...) })
}

func (m *Machine) roots() []device.Device {
	var list []device.Device
	for _, d := range m.Devices() {
		if b := d.Dev().Bus(); b == nil || b.Owner() == nil {
			list = append(list, d)
		}
	}
	return list
}
