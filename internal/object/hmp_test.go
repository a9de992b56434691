package object

import (
	"slices"
	"strings"
	"testing"

	"govmd/internal/qmp"
)

func TestHumanCommands(t *testing.T) {
	h := newHouse(t)
	var r qmp.HumanRegistry
	r.Add(h.objects.HumanCommands(&h.root)...)
	var info qmp.HumanRegistry
	info.Add(h.objects.InfoCommands(&h.root)...)
	for _, c := range []struct {
		name string
		args qmp.HumanArgs
		want string
	}{
		{"object_add", qmp.HumanArgs{"object": "test-lamp,id=a,watts=2k,nodes=1-2"}, ""},
		{"object_add", qmp.HumanArgs{"object": "test-lamp"}, "Error: Parameter 'id' is missing"},
		{"object_add", qmp.HumanArgs{"object": "help"}, "List of user creatable objects:\n  test-lamp\n  test-slow\n"},
		{"object_add", qmp.HumanArgs{"object": "test-lamp,help"}, "test-lamp options:\n  colour=<Colour> (default: \"red\")\n  fail=<bool> (default: off)\n" +
			"  nodes=<int>\n  spots=<Spot>\n  watts=<int>            - power\n"},
		{"qom-list", nil, "/\n"},
		{"qom-list", qmp.HumanArgs{"path": "/objects"}, "type (string)\na (child<test-lamp>)\n"},
		{"qom-get", qmp.HumanArgs{"path": "a", "property": "nodes"}, "[\n    1,\n    2\n]\n"},
		{"qom-get", qmp.HumanArgs{"path": "a", "property": "watts"}, "2048\n"},
		{"qom-get", qmp.HumanArgs{"path": "x", "property": "watts"}, "Error: Device 'x' not found"},
		{"qom-set", qmp.HumanArgs{"path": "a", "property": "watts", "value": "1"}, "Error: Property 'watts' can no longer be set"},
		{"qom-set", qmp.HumanArgs{"path": "a", "property": "watts", "value": "{", "json": true}, "Error: "},
		{"qom-tree", qmp.HumanArgs{"path": "/objects"}, "/objects (container)\n  /a (test-lamp)\n"},
		{"qom-tree", qmp.HumanArgs{"path": "/none"}, "Path '/none' could not be resolved.\n"},
		{"object_del", qmp.HumanArgs{"id": "a"}, ""},
		{"qom-tree", nil, "/ (container)\n  /machine (container)\n    /peripheral (container)\n  /objects (container)\n"},
	} {
		cmd := r.Lookup(c.name)
		if cmd == nil {
			cmd = info.Lookup(c.name)
		}
		var out strings.Builder
		if err := cmd.Run(&qmp.Context{}, c.args, &out); err != nil {
			out.WriteString("Error: " + err.Error())
		}
		if got := out.String(); got != c.want && !(strings.HasSuffix(c.want, ": ") && strings.HasPrefix(got, c.want)) {
			t.Errorf("%s %v: %q, want %q", c.name, c.args, got, c.want)
		}
	}
	list := r.Lookup("qom-list").Complete
	if got := list(nil, []string{"/machine/p"}); !slices.Contains(got, "/machine/peripheral") {
		t.Errorf("completions %q", got)
	}
	get := r.Lookup("qom-get").Complete
	if got := get(nil, []string{"/", "o"}); !slices.Contains(got, "objects") {
		t.Errorf("completions %q", got)
	}
}
