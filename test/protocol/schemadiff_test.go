package protocol

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"testing"
)

// justified are the differences between what govmd and QEMU say of commands and
// events that both have, and why each is there.
var justified = []struct{ path, why string }{
	{`^(command (block_passwd|block_set_io_throttle|change|cpu|query-cpus|query-events)|event .*): only govmd's$`, "QEMU 7.2 has dropped it, and older clients use it"},
	{`value [a-z0-9_-]+ only QEMU's$`, "of what govmd does not have; the schema says so"},
	{`^(object-add|blockdev-add|blockdev-reopen|chardev-(add|change))\S*: only QEMU's$`, "an option that govmd does not have"},
	{`^object-add.*x-\S+: features`, "throttle-group's properties are those of its documentation"},
	{`^query-cpus-fast returns\[\]: tag`, "the members by target are those of others"},
	{`^query-cpus-fast returns\[\].props: optional`, "it is always there"},
	{`props.cluster-id: only QEMU's$`, "x86 has no clusters"},
	{`^query-(block|named-block-nodes) returns.*encryption_key_missing: only govmd's$`, "QEMU 7.2 opens no image without its key; older clients look for it"},
	{`^query-(block|named-block-nodes) returns.*format-specific: builtin`, "its members are the format's"},
	{`^query-blockstats returns.*driver-specific: builtin`, "its members are the driver's"},
	{`^query-(block|named-block-nodes) returns.*image: optional`, "a node whose file cannot be looked at has none"},
	{`^query-(block|named-block-nodes) returns.*image.backing_file: only govmd's$`, "backing-filename by the name that the command reference has for it"},
	{`^query-mem(dev|ory).*: optional`, "it is always there"},
	{`^query-memory-devices`, "there are none yet"},
	{`^query-qmp-schema returns: builtin`, "the schema is kept as text"},
	{`^GUEST_(PANICKED|CRASHLOADED)\.info: only QEMU's$`, "no guest can give more than the fact"},
	{`^blockdev-add\(nbd\)\.(path|host|port): only govmd's$`, "the short form of a server's address, which QEMU takes and does not describe"},
	{`^blockdev-add\(nbd\)\.server: optional`, "the short form can stand for it"},
	{`^blockdev-add\(nbd\)\.x-dirty-bitmap: features`, "its name says that it is no interface"},
	{`^blockdev-reopen\.options\[\]: builtin`, "they are checked as far as they differ from those of the open node"},
	{`^blockdev-create\.options\(qcow2\)\.backing-fmt: builtin`, "an image can name a format that has no driver"},
	{`^blockdev-snapshot: .* features \[\], QEMU's false, \[allow-write-only-overlay\]$`, "an overlay is opened for reading too"},
	{`^human-monitor-command: .* features \[\], QEMU's false, \[savevm-monitor-nodes\]$`, "there is no savevm yet"},
	{`^BLOCK_IO_ERROR\.action: value enospc only govmd's$`, "one enumeration for the policy and what it came to"},
}

type schemaEntry struct {
	Name    string `json:"name"`
	Meta    string `json:"meta-type"`
	Arg     string `json:"arg-type"`
	Ret     string `json:"ret-type"`
	OOB     bool   `json:"allow-oob"`
	Element string `json:"element-type"`
	Tag     string `json:"tag"`
	Members []struct {
		Name, Type string
		Default    json.RawMessage
		Features   []string
	} `json:"members"`
	Variants []struct{ Case, Type string } `json:"variants"`
	Features []string                      `json:"features"`
}

// schemaDiff compares two schemas from their commands and events down.
type schemaDiff struct {
	ours, theirs map[string]*schemaEntry
	found        map[string]bool
}

func (d *schemaDiff) notef(format string, args ...any) { d.found[fmt.Sprintf(format, args...)] = true }

func wholeSchema(t *testing.T, s *session) map[string]*schemaEntry {
	t.Helper()
	s.result("qmp_capabilities")
	var list []*schemaEntry
	if err := json.Unmarshal(s.result("query-qmp-schema"), &list); err != nil {
		t.Fatal(err)
	}
	byName := make(map[string]*schemaEntry)
	for _, e := range list {
		byName[e.Name] = e
	}
	return byName
}

func (d *schemaDiff) types(path, ours, theirs string, seen [][2]string) {
	pair := [2]string{ours, theirs}
	if slices.Contains(seen, pair) {
		return
	}
	seen = append(seen, pair)
	a, b := d.ours[ours], d.theirs[theirs]
	if a.Meta != b.Meta || a.Meta == "builtin" && a.Name != b.Name {
		d.notef("%s: %s %s, QEMU's %s %s", path, a.Meta, a.Name, b.Meta, b.Name)
		return
	}
	switch a.Meta {
	case "array":
		d.types(path+"[]", a.Element, b.Element, seen)
	case "enum":
		d.members(path, a, b, func(name string) string { return path + ": value " + name }, seen)
	case "alternate":
		if len(a.Members) != len(b.Members) {
			d.notef("%s: %d alternatives, QEMU's %d", path, len(a.Members), len(b.Members))
		}
	case "object":
		d.members(path, a, b, func(name string) string { return path + "." + name + ":" }, seen)
		if a.Tag != b.Tag {
			d.notef("%s: tag %q, QEMU's %q", path, a.Tag, b.Tag)
			return
		}
		for _, v := range a.Variants {
			for _, w := range b.Variants {
				if v.Case == w.Case {
					d.types(path+"("+v.Case+")", v.Type, w.Type, seen)
				}
			}
		}
	}
}

// members compares the members of objects or enumerations; named is how one that
// only one side has is called.
func (d *schemaDiff) members(path string, a, b *schemaEntry, named func(string) string, seen [][2]string) {
	for _, m := range a.Members {
		known := false
		for _, n := range b.Members {
			if m.Name != n.Name {
				continue
			}
			known = true
			if a.Meta != "object" {
				continue
			}
			at := path + "." + m.Name
			if (m.Default == nil) != (n.Default == nil) {
				d.notef("%s: optional %t, QEMU's %t", at, m.Default != nil, n.Default != nil)
			}
			if !slices.Equal(m.Features, n.Features) {
				d.notef("%s: features %v, QEMU's %v", at, m.Features, n.Features)
			}
			d.types(at, m.Type, n.Type, seen)
		}
		if !known {
			d.notef("%s only govmd's", named(m.Name))
		}
	}
	for _, n := range b.Members {
		if !slices.ContainsFunc(a.Members, func(m struct {
			Name, Type string
			Default    json.RawMessage
			Features   []string
		}) bool {
			return m.Name == n.Name
		}) {
			d.notef("%s only QEMU's", named(n.Name))
		}
	}
}

// What schema-driven clients read of commands and events is what QEMU says of them.
func TestSchemaIsQEMUs(t *testing.T) {
	govmd, qemu := programs(t)
	d := &schemaDiff{ours: wholeSchema(t, start(t, govmd)), theirs: wholeSchema(t, start(t, qemu)), found: make(map[string]bool)}
	commands := 0
	for name, a := range d.ours {
		if a.Meta != "command" && a.Meta != "event" {
			continue
		}
		commands++
		b := d.theirs[name]
		if b == nil {
			d.notef("%s %s: only govmd's", a.Meta, name)
			continue
		}
		if a.OOB != b.OOB || !slices.Equal(a.Features, b.Features) {
			d.notef("%s: out of band %t, features %v, QEMU's %t, %v", name, a.OOB, a.Features, b.OOB, b.Features)
		}
		d.types(name, a.Arg, b.Arg, nil)
		if a.Meta == "command" {
			d.types(name+" returns", a.Ret, b.Ret, nil)
		}
	}
	if commands < 50 {
		t.Errorf("only %d commands and events", commands)
	}
	used := make([]bool, len(justified))
	for what := range d.found {
		ok := false
		for i, j := range justified {
			if regexp.MustCompile(j.path).MatchString(what) {
				ok, used[i] = true, true
			}
		}
		if !ok {
			t.Error(what)
		}
	}
	for i, j := range justified {
		if !used[i] {
			t.Errorf("nothing differs as %s says", j.path)
		}
	}
}
