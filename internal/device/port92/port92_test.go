package port92

import (
	"strings"
	"testing"

	"govmd/internal/device/devtest"
)

func mk(m *devtest.Machine) { m.Plug(m.ISA, TypeName, "") }

func TestA20IsRemembered(t *testing.T) {
	m := devtest.New(t)
	mk(m)
	m.CheckIn8(port, 0, "start")
	m.Out8(port, gateA20)
	m.CheckIn8(port, gateA20, "written")
	m.ResetAll()
	m.CheckIn8(port, 0, "reset")
	if c := m.Calls(); len(c) != 0 {
		t.Errorf("calls: %v", c)
	}
}

func TestFastReset(t *testing.T) {
	m := devtest.New(t)
	mk(m)
	m.Out8(port, gateA20|fastReset)
	if c := strings.Join(m.Calls(), " "); c != "reset guest-reset" {
		t.Errorf("calls: %s", c)
	}
	m.Out8(port, fastReset)
	if c := m.Calls(); len(c) != 0 {
		t.Errorf("no edge: %v", c)
	}
}

func TestRoundTrip(t *testing.T) {
	_, to := devtest.RoundTrip(t, mk, func(m *devtest.Machine) { m.Out8(port, gateA20) })
	to.CheckIn8(port, gateA20, "loaded")
}

func TestTwin(t *testing.T) { devtest.Twin(t, mk, devtest.Ports(port, 1)) }

func TestConcurrent(t *testing.T) { devtest.Concurrent(t, mk, devtest.Ports(port, 1)) }

func FuzzIO(f *testing.F) { devtest.FuzzIO(f, mk, devtest.Ports(port, 1)) }

func FuzzState(f *testing.F) { devtest.FuzzState(f, mk, devtest.Ports(port, 1)) }
