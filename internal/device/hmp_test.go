package device

import (
	"strings"
	"testing"

	"govmd/internal/object"
)

// gauge has a property that its type redefines.
type gauge struct {
	Base
	old, own uint32
}

func (*gauge) Realize() error { return nil }
func (*gauge) Unrealize()     {}

func init() {
	Register(object.Type{Name: "test-gauge", Abstract: true, Props: []object.Property{
		object.Int("level", func(g *gauge) *uint32 { return &g.old }, 1, ""),
		object.Bool("shown", func(*gauge) *bool { return new(bool) }, false, ""),
	}})
	Register(object.Type{Name: "test-own-gauge", Parent: "test-gauge", New: func() object.Object { return &gauge{} }, Props: []object.Property{
		object.Int("level", func(g *gauge) *uint32 { return &g.own }, 2, ""),
	}})
}

func TestTreeShowsWhatIsRedefined(t *testing.T) {
	d, err := Create("test-own-gauge", "g")
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	(&treeWriter{w: &out}).device(d, 0)
	const want = "dev: test-own-gauge, id \"g\"\n  level = 2 (0x2)\n  shown = false\n"
	if out.String() != want {
		t.Errorf("shown is\n%s\nwant\n%s", out.String(), want)
	}
}
