package debugcon

import (
	"strings"
	"testing"

	"govmd/internal/chardev"
	"govmd/internal/device/devtest"
)

func TestConsole(t *testing.T) {
	m := devtest.New(t)
	c := m.AddChardev("log")
	m.Plug(m.ISA, "isa-debugcon", "", "chardev", "log", "iobase", "0x402")
	m.CheckIn8(0x402, 0xe9, "readback")
	for _, b := range []byte("hello") {
		m.Out8(0x402, b)
	}
	if got := c.Output(); got != "hello" {
		t.Errorf("console shows %q", got)
	}
	c.SetRoom(0)
	m.Out8(0x402, 'x') // must not block
}

func TestRefusals(t *testing.T) {
	m := devtest.New(t)
	m.AddChardev("log")
	for _, c := range []struct{ props, want string }{
		{"", "empty char device"},
		{"chardev=log,iobase=0x10000", "iobase"},
		{"chardev=nobody", "nobody"},
	} {
		var props []string
		if c.props != "" {
			for _, p := range strings.Split(c.props, ",") {
				props = append(props, strings.SplitN(p, "=", 2)...)
			}
		}
		if _, err := m.TryPlug(m.ISA, "isa-debugcon", "", props...); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want an error with %q", c.props, err, c.want)
		}
	}
}

// discard is a port that takes everything.
type discard struct{ chardev.Port }

func (discard) Write(p []byte) int { return len(p) }

func TestNoAllocs(t *testing.T) {
	c := &Console{port: discard{}}
	devtest.NoAllocs(t, "a write", func() { c.WriteIO(0, 1, 'x') })
}

func FuzzIO(f *testing.F) {
	devtest.FuzzIO(f, func(m *devtest.Machine) {
		m.AddChardev("log")
		m.Plug(m.ISA, "isa-debugcon", "", "chardev", "log")
	}, devtest.Ports(0xe9, 1))
}
