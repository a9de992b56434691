package pvpanic

import (
	"testing"

	"govmd/internal/device/devtest"
	"govmd/internal/event"
	"govmd/internal/runstate"
)

func names(list []event.Event) (s []string) {
	for _, e := range list {
		s = append(s, e.EventName())
	}
	return s
}

func TestPanic(t *testing.T) {
	m := devtest.New(t)
	m.Plug(m.ISA, TypeName, "")
	m.Events() // those of the start
	m.CheckIn8(0x505, Panicked|CrashLoaded, "what is supported")
	m.Out8(0x505, CrashLoaded)
	m.Out8(0x505, 0x80)
	if got := m.Events(); len(got) != 1 || got[0] != (runstate.GuestCrashloadedEvent{Action: "run"}) {
		t.Errorf("events %v", names(got))
	}
	m.Out8(0x505, Panicked)
	m.Sync()
	got := m.Events()
	if len(got) == 0 || got[0] != (runstate.GuestPanickedEvent{Action: "poweroff"}) {
		t.Errorf("events %v", names(got))
	}
}

func TestEventsProperty(t *testing.T) {
	m := devtest.New(t)
	m.Plug(m.ISA, TypeName, "", "events", "2")
	m.Events()
	m.Out8(0x505, Panicked)
	m.Sync()
	if got := m.Events(); len(got) != 0 {
		t.Errorf("events %v of a guest that may not tell", names(got))
	}
	if _, err := m.TryPlug(m.ISA, TypeName, "", "events", "4"); err == nil {
		t.Error("events=4 is taken")
	}
}

func FuzzIO(f *testing.F) {
	devtest.FuzzIO(f, func(m *devtest.Machine) { m.Plug(m.ISA, "pvpanic", "") }, devtest.Ports(0x505, 1))
}
