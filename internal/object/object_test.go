package object

import (
	"fmt"
	"strings"
	"testing"
)

type widget struct {
	Node
	on    bool
	small uint8
	wide  int64
	size  uint64
	text  string
	mode  OnOffAuto
	bits  uint64
}

func init() {
	Register(Type{Name: "test-base", Abstract: true, Props: []Property{
		Bool("on", func(w *widget) *bool { return &w.on }, true, ""),
	}})
	Register(Type{Name: "test-widget", Parent: "test-base", New: func() Object { return &widget{} }, Props: []Property{
		Int("small", func(w *widget) *uint8 { return &w.small }, 7, ""),
		Int("wide", func(w *widget) *int64 { return &w.wide }, -1, ""),
		Size("size", func(w *widget) *uint64 { return &w.size }, 4096, ""),
		Live(Str("text", func(w *widget) *string { return &w.text }, "", ""), nil),
		Tristate("mode", func(w *widget) *OnOffAuto { return &w.mode }, Auto, ""),
		Bit("feature", func(w *widget) *uint64 { return &w.bits }, 40, true, ""),
		Getter("twice", "uint32", func(w *widget) any { return uint64(w.small) * 2 }, ""),
	}})
}

func TestDefaultsAndLayers(t *testing.T) {
	o, err := New("test-widget")
	if err != nil {
		t.Fatal(err)
	}
	w := o.(*widget)
	if !w.on || w.small != 7 || w.wide != -1 || w.size != 4096 || w.mode != Auto || w.bits != 1<<40 {
		t.Errorf("defaults are %+v", w)
	}
	var used []int
	err = ApplyDefaults(o, []Default{
		{"test-base", "on", "off"}, {"other", "small", "1"},
		{"test-widget", "small", "9"}, {"test-widget", "small", "10"},
	}, func(i int) { used = append(used, i) })
	if err != nil || w.on || w.small != 10 || len(used) != 3 {
		t.Errorf("after defaults: %+v, %v, used %v", w, err, used)
	}
}

func TestSetText(t *testing.T) {
	for _, c := range []struct{ prop, text, want, err string }{
		{"on", "off", "false", ""},
		{"on", "maybe", "", "Parameter 'on' expects 'on' or 'off'"},
		{"small", "255", "255", ""},
		{"small", "0x10", "16", ""},
		{"small", "010", "8", ""},
		{"small", "256", "", "Parameter 'small' expects uint8_t"},
		{"small", "-1", "", "Parameter 'small' expects uint8_t"},
		{"small", "0b11", "", "Parameter 'small' expects integer"},
		{"small", "1_0", "", "Parameter 'small' expects integer"},
		{"small", "", "", "Parameter 'small' expects integer"},
		{"wide", "9223372036854775808", "", "Parameter 'wide' expects int64_t"},
		{"wide", "-9223372036854775808", "-9223372036854775808", ""},
		{"size", "1.5k", "1536", ""},
		{"size", "lots", "", "Parameter 'size' expects size"},
		{"mode", "on", "on", ""},
		{"mode", "perhaps", "", "does not accept value 'perhaps'"},
		{"feature", "off", "false", ""},
		{"twice", "1", "", "not writable"},
		{"none", "1", "", "Property 'test-widget.none' not found"},
	} {
		o, err := New("test-widget")
		if err != nil {
			t.Fatal(err)
		}
		err = SetText(o, c.prop, c.text)
		if c.err != "" {
			if err == nil || !strings.Contains(err.Error(), c.err) {
				t.Errorf("%s=%s: error %v, want %q", c.prop, c.text, err, c.err)
			}
			continue
		}
		got, gerr := Get(o, c.prop)
		if err != nil || gerr != nil || fmt.Sprint(got) != c.want {
			t.Errorf("%s=%s: got %v, %v, %v", c.prop, c.text, got, err, gerr)
		}
	}
}

func TestSetTyped(t *testing.T) {
	o, _ := New("test-widget")
	for _, c := range []struct {
		prop  string
		value any
		err   string
	}{
		{"small", int64(5), ""},
		{"small", uint64(1 << 40), "expects uint8_t"},
		{"small", "5", "Invalid parameter type for 'small', expected: integer"},
		{"on", "on", "Invalid parameter type for 'on', expected: boolean"},
		{"text", true, "expected: string"},
	} {
		err := Set(o, c.prop, c.value)
		if (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) {
			t.Errorf("%s = %v: %v", c.prop, c.value, err)
		}
	}
	o.Obj().Freeze()
	if err := Set(o, "small", int64(1)); err == nil || !strings.Contains(err.Error(), "can no longer be set") {
		t.Error("configuration of a realized object changes:", err)
	}
	if err := Set(o, "text", "x"); err != nil {
		t.Error(err)
	}
}

func TestTree(t *testing.T) {
	root := &Node{}
	anon := root.Container("/machine/peripheral-anon")
	var first Object
	for range 2 {
		o, _ := New("test-widget")
		if err := Add(anon, o, "device[*]"); err != nil {
			t.Fatal(err)
		}
		if first == nil {
			first = o
		}
	}
	if got := first.Obj().Path(); got != "/machine/peripheral-anon/device[0]" {
		t.Error(got)
	}
	if o, _ := root.Resolve("/machine/peripheral-anon/device[0]"); o != first {
		t.Errorf("found %v", o)
	}
	if o, _ := root.Resolve("device[0]"); o != first {
		t.Errorf("partial path found %v", o)
	}
	if o, _ := root.Resolve("/machine/nowhere"); o != nil {
		t.Errorf("found %v", o)
	}
	Remove(first)
	if o, _ := root.Resolve("device[0]"); o != nil {
		t.Error("a removed object is found")
	}
	again, _ := New("test-widget")
	if err := Add(anon, again, "device[1]"); err == nil {
		t.Error("two children of one name")
	}
	for _, name := range []string{"", "a/b", "/"} {
		if err := Add(anon, again, name); err == nil {
			t.Errorf("an object is named %q", name)
		}
	}
	if err := Add(anon, root, "loop"); err == nil {
		t.Error("the root is below itself")
	}
}
