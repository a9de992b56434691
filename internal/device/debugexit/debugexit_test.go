package debugexit

import (
	"slices"
	"strings"
	"testing"

	"govmd/internal/device/devtest"
)

func TestExit(t *testing.T) {
	m := devtest.New(t)
	m.Plug(m.ISA, "isa-debug-exit", "", "iobase", "0xf4", "iosize", "4")
	m.CheckIn8(0xf4, 0, "read")
	m.Out32(0xf4, 0x10)
	m.Sync()
	if code, ok := m.Env.Run.ExitCode(); !ok || code != 0x21 {
		t.Errorf("exit status %#x, %v", code, ok)
	}
	if c := m.Calls(); !slices.Equal(c, []string{"end none"}) {
		t.Errorf("calls %v", c)
	}
}

func TestRange(t *testing.T) {
	m := devtest.New(t)
	_, err := m.TryPlug(m.ISA, "isa-debug-exit", "", "iobase", "0xffff")
	if err == nil || !strings.Contains(err.Error(), "0xffff") {
		t.Error(err)
	}
}

func FuzzIO(f *testing.F) {
	devtest.FuzzIO(f, func(m *devtest.Machine) { m.Plug(m.ISA, "isa-debug-exit", "") }, devtest.Ports(0x501, 2))
}
