package object

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"govmd/internal/option"
	"govmd/internal/qmp"
	"govmd/internal/qmp/qjson"
)

type colour string

// EnumValues lists the colours.
func (colour) EnumValues() []string { return []string{"red", "green"} }

type lamp struct {
	Node
	watts  uint64
	colour colour
	nodes  []uint16
	spots  []spot
	open   bool
	fail   bool
}

type spot struct {
	Name string `qmp:"name"`
	Dim  *int64 `qmp:"dim"`
}

func (l *lamp) Complete(*Collection) error {
	if l.fail {
		return errors.New("it fails")
	}
	l.open = true
	return nil
}

func (l *lamp) Close() { l.open = false }

func init() {
	Register(Type{Name: "test-lamp", UserCreatable: true, New: func() Object { return &lamp{} }, Props: []Property{
		Mandatory(As("int", Size("watts", func(l *lamp) *uint64 { return &l.watts }, 0, "power"))),
		Enum("colour", "Colour", []colour{"red", "green"}, func(l *lamp) *colour { return &l.colour }, "red", ""),
		Value("nodes", "int", func(l *lamp) *[]uint16 { return &l.nodes }, nil, ""),
		Value("spots", "Spot", func(l *lamp) *[]spot { return &l.spots }, nil, ""),
		Bool("fail", func(l *lamp) *bool { return &l.fail }, false, ""),
		Getter("open", "bool", func(l *lamp) any { return l.open }, ""),
	}})
	Refuse("test-candle", "fire is dangerous")
}

// house is a tree with a collection, and the commands over it.
type house struct {
	root     Node
	objects  Collection
	registry *qmp.Registry
}

func newHouse(t testing.TB) *house {
	h := &house{registry: qmp.NewRegistry()}
	h.root.Container("/machine/peripheral")
	if err := Add(&h.root, &h.objects, "objects"); err != nil {
		t.Fatal(err)
	}
	h.registry.Add(h.objects.Commands(&h.root)...)
	return h
}

// say issues a command ("name {arguments}") and returns the answer as text.
func (h *house) say(t testing.TB, command string) string {
	t.Helper()
	name, args, _ := strings.Cut(command, " ")
	if args == "" {
		args = "{}"
	}
	doc, err := qjson.Parse([]byte(args))
	if err != nil {
		t.Fatal(err)
	}
	var out []byte
	if c := h.registry.Lookup(name); c.Async() {
		c.Start(&qmp.Context{}, doc.Root(), qmp.JSON, func(result []byte, e error) { out, err = result, e })
	} else {
		out, err = c.Call(&qmp.Context{}, doc.Root(), qmp.JSON, nil)
	}
	if err != nil {
		return string(qmp.AsError(err).Class) + ": " + err.Error()
	}
	return string(out)
}

func TestCommands(t *testing.T) {
	h := newHouse(t)
	for _, c := range []struct{ say, want string }{
		{`object-add {"qom-type":"test-lamp","id":"a"}`, "GenericError: Parameter 'watts' is missing"},
		{`object-add {"qom-type":"test-lamp","id":"a","watts":60,"nodes":[1,2],"spots":[{"name":"x"}]}`, "{}"},
		{`object-add {"qom-type":"test-lamp","id":"a","watts":60}`, "GenericError: attempt to add duplicate property 'a' to object (type 'container')"},
		{`object-add {"qom-type":"test-lamp","id":"b","props":{"watts":40,"colour":"green"}}`, "{}"},
		{`object-add {"qom-type":"test-lamp","id":"c","props":{"volts":40}}`, "GenericError: Parameter 'watts' is missing"},
		{`object-add {"qom-type":"test-lamp","id":"c","props":{"watts":1,"id":"d"}}`, "GenericError: Parameter 'id' is unexpected"},
		{`object-add {"qom-type":"test-lamp","id":"c","props":3,"watts":1}`, "GenericError: Parameter 'props' is unexpected"},
		{`object-add {"qom-type":"test-lamp","id":"c","watts":-1}`, "GenericError: Parameter 'watts' expects uint64"},
		{`object-add {"qom-type":"test-lamp","id":"c","watts":1,"colour":"blue"}`, "GenericError: Parameter 'colour' does not accept value 'blue'"},
		{`object-add {"qom-type":"test-lamp","id":"c","watts":1,"spots":[{"dim":1}]}`, "GenericError: Parameter 'spots[0].name' is missing"},
		{`object-add {"qom-type":"test-lamp","id":"c","watts":1,"nodes":[65536]}`, "GenericError: Parameter 'null' expects uint16_t"},
		{`object-add {"qom-type":"test-lamp","id":"c","watts":1,"fail":true}`, "GenericError: it fails"},
		{`object-add {"qom-type":"test-lamp","id":"3","watts":1}`, "GenericError: Parameter 'id' expects an identifier"},
		{`object-add {"qom-type":"test-candle","id":"c"}`, "GenericError: Parameter 'qom-type' does not accept value 'test-candle': fire is dangerous"},
		{`object-add {"qom-type":"test-base","id":"c"}`, "GenericError: Parameter 'qom-type' does not accept value 'test-base'"},
		{`qom-get {"path":"/objects/a","property":"nodes"}`, "[1, 2]"},
		{`qom-get {"path":"b","property":"colour"}`, `"green"`},
		{`qom-get {"path":"b","property":"spots"}`, `[]`},
		{`qom-get {"path":"b","property":"type"}`, `"test-lamp"`},
		{`qom-get {"path":"/","property":"objects"}`, `"/objects"`},
		{`qom-get {"path":"b","property":"volts"}`, "GenericError: Property 'test-lamp.volts' not found"},
		{`qom-get {"path":"/b","property":"volts"}`, "DeviceNotFound: Device '/b' not found"},
		{`qom-set {"path":"b","property":"watts","value":1}`, "GenericError: Property 'watts' can no longer be set"},
		{`qom-set {"path":"b","property":"open","value":true}`, "GenericError: Property 'test-lamp.open' is not writable"},
		{`qom-set {"path":"b","property":"type","value":"x"}`, "GenericError: Property 'test-lamp.type' is not writable"},
		{`qom-list {"path":"/objects"}`, `[{"name": "type", "type": "string"}, {"name": "a", "type": "child<test-lamp>"}, {"name": "b", "type": "child<test-lamp>"}]`},
		{`qom-list-types {"implements":"test-lamp"}`, `[{"name": "test-lamp", "parent": "object"}]`},
		{`qom-list-types {"implements":"test-base"}`, `[{"name": "test-widget", "parent": "test-base"}]`},
		{`qom-list-types {"implements":"test-base","abstract":true}`, `[{"name": "test-base", "abstract": true, "parent": "object"}, {"name": "test-widget", "parent": "test-base"}]`},
		{`qom-list-types {"implements":"user-creatable"}`, `[{"name": "test-lamp", "parent": "object"}, {"name": "test-slow", "parent": "object"}]`},
		{`device-list-properties {"typename":"test-lamp"}`, "GenericError: Parameter 'typename' expects a non-abstract device type"},
		{`device-list-properties {"typename":"none"}`, "DeviceNotFound: Device 'none' not found"},
		{`qom-list-properties {"typename":"none"}`, "DeviceNotFound: Class 'none' not found"},
		{`object-del {"id":"b"}`, "{}"},
		{`object-del {"id":"b"}`, "GenericError: object 'b' not found"},
	} {
		if got := h.say(t, c.say); got != c.want {
			t.Errorf("%s:\n got %s\nwant %s", c.say, got, c.want)
		}
	}
}

// What is in use stays, and the error says who has it.
func TestUse(t *testing.T) {
	h := newHouse(t)
	if got := h.say(t, `object-add {"qom-type":"test-lamp","id":"a","watts":60}`); got != "{}" {
		t.Fatal(got)
	}
	o := h.objects.Find("a")
	first, second := Use(o, "device 'x'"), Use(o, "device 'y'")
	if got, want := h.say(t, `object-del {"id":"a"}`), "object 'a' is in use, can not be deleted: it is used by device 'x' and device 'y'"; !strings.HasSuffix(got, want) {
		t.Error(got)
	}
	first()
	first()
	if got := h.say(t, `object-del {"id":"a"}`); !strings.Contains(got, "device 'y'") || strings.Contains(got, "'x'") {
		t.Error(got)
	}
	second()
	if got := h.say(t, `object-del {"id":"a"}`); got != "{}" || o.(*lamp).open {
		t.Error(got)
	}
}

func TestParseOption(t *testing.T) {
	for text, want := range map[string]string{
		"test-lamp,id=a,watts=1k":                                         "[]",
		"test-lamp,id=a,watts=1k,nodes=3":                                 "[3]",
		"test-lamp,id=a,watts=1k,nodes=0-2,nodes=7":                       "[0 1 2 7]",
		"test-lamp,id=a,watts=1k,nodes.0=4,nodes.1=2":                     "[4 2]",
		"qom-type=test-lamp,id=a,watts=1k,nodes=5":                        "[5]",
		`{"qom-type":"test-lamp","id":"a","watts":1024,"nodes":[9]}`:      "[9]",
		"test-lamp,id=a,watts=1k,nodes=2-1":                               "error",
		"test-lamp,id=a,watts=1k,nodes=0-70000":                           "error",
		"test-lamp,id=a,watts=1k,nodes=x":                                 "error",
		"test-lamp,id=a,watts=1k,spots.0.name=x,spots.0.dim=4,spots.1=no": "error",
		"test-lamp,id=a,watts=1k,bulb=x":                                  "error",
	} {
		var s Collection
		err := s.Parse(text)
		got := "error"
		if err == nil {
			got = fmt.Sprint(s.Find("a").(*lamp).nodes)
			if w := s.Find("a").(*lamp).watts; w != 1024 {
				t.Errorf("%s: watts %d", text, w)
			}
		}
		if got != want {
			t.Errorf("%s: %s (%v), want %s", text, got, err, want)
		}
		s.Close()
		if len(s.Children()) != 0 {
			t.Errorf("%s: objects are left", text)
		}
	}
}

// Whatever the options say, an object is created or there is an error.
func FuzzOptions(f *testing.F) {
	f.Add("test-lamp,id=a,watts=1k,nodes=0-2,spots.0.name=x")
	f.Add(`{"qom-type":"test-lamp","id":"a","watts":1024,"nodes":[9],"spots":[{"name":"x","dim":3}]}`)
	f.Add("test-lamp,id=a,nodes=0-18446744073709551615,watts=1")
	f.Add("test-widget,size=1E,small=300")
	f.Fuzz(func(t *testing.T, text string) {
		var s Collection
		if err := s.Parse(text); err == nil && len(s.Children()) != 1 {
			t.Error("no object and no error")
		}
		kv, err := option.ParseValue(text, "")
		if err != nil {
			return
		}
		// Each member as a property of an object that is there.
		o, err := New("test-lamp")
		if err != nil {
			t.Fatal(err)
		}
		for m := kv.Doc.Root().First(); m.Exists(); m = m.Next() {
			_ = Set(o, string(m.Key()), qmp.ToAny(m))
			_ = SetText(o, string(m.Key()), m.Text())
			_, _ = Get(o, string(m.Key()))
		}
	})
}
