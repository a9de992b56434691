package device

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"govmd/internal/object"
	"govmd/internal/option"
	"govmd/internal/qmp"
)

// Describer is a controller that has something to say of its devices in
// `info qtree` beside their properties.
type Describer interface {
	DescribeDevice(d Device, line func(format string, args ...any))
}

// InfoCommands returns the second words of `info` about devices. Buses returns
// those that no device provides.
func (e *Env) InfoCommands(buses func() []*Bus) []qmp.HumanCommand {
	return []qmp.HumanCommand{{
		Name: "qtree", Help: "show device tree",
		Run: func(_ *qmp.Context, _ qmp.HumanArgs, out io.Writer) error {
			t := &treeWriter{w: out}
			t.line(0, "bus: main-system-bus")
			t.line(1, "type System")
			for _, d := range slices.Backward(e.Roots()) {
				if d.Dev().Bus() == nil && !d.Dev().Type().IsA("cpu") {
					t.device(d, 1)
				}
			}
			for _, b := range buses() {
				t.bus(b, 0)
			}
			return nil
		},
	}}
}

type treeWriter struct{ w io.Writer }

func (t *treeWriter) line(level int, format string, args ...any) {
	fmt.Fprintf(t.w, "%s%s\n", strings.Repeat("  ", level), fmt.Sprintf(format, args...))
}

func (t *treeWriter) bus(b *Bus, level int) {
	t.line(level, "bus: %s", b.Name())
	t.line(level+1, "type %s", b.Kind())
	for _, d := range slices.Backward(b.Devices()) {
		t.device(d, level+1)
	}
}

func (t *treeWriter) device(d Device, level int) {
	b := d.Dev()
	t.line(level, "dev: %s, id %q", b.TypeName(), b.ID())
	t.pins(b, level+1)
	for _, p := range b.Unique() {
		if p.Get == nil || p.Set == nil || p.When == object.Never || p.Name == "realized" {
			continue
		}
		text := propertyText(p.Type, p.Get(d))
		if a, ok := b.addresser(); ok && p.Name == "addr" {
			text = a.DeviceAddress(d)
		}
		t.line(level+1, "%s = %s", p.Name, text)
	}
	if b.bus != nil {
		if c, ok := b.bus.ctl.(Describer); ok {
			c.DescribeDevice(d, func(format string, args ...any) { t.line(level+1, format, args...) })
		}
	}
	for _, c := range b.ChildBuses() {
		t.bus(c, level+1)
	}
}

func (b *Base) addresser() (a Addresser, ok bool) {
	if b.bus != nil {
		a, ok = b.bus.ctl.(Addresser)
	}
	return a, ok
}

func (t *treeWriter) pins(b *Base, level int) {
	names := make([]string, 0, len(b.inputs))
	for name := range b.inputs {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		t.line(level, "gpio-in %q %d", name, len(b.inputs[name]))
	}
	if n := len(b.outputs); n > 0 {
		t.line(level, "gpio-out %q %d", "", n)
	}
}

// propertyText shows the value of a property.
func propertyText(kind string, v any) string {
	switch v := v.(type) {
	case nil:
		return `""`
	case bool:
		return fmt.Sprint(v)
	case string:
		return fmt.Sprintf("%q", v)
	case int64, uint64:
		if kind == "size" {
			n, _ := v.(uint64)
			return fmt.Sprintf("%d (%s)", n, option.SizeText(n))
		}
		return fmt.Sprintf("%d (0x%x)", v, v)
	}
	return fmt.Sprint(v)
}
