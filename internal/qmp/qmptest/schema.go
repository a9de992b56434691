// Package qmptest checks what a monitor says about itself.
package qmptest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
)

// entry is a SchemaInfo of query-qmp-schema.
type entry struct {
	Name     string   `json:"name"`
	MetaType string   `json:"meta-type"`
	Features []string `json:"features"`

	ArgType     *string   `json:"arg-type"`     // command, event
	RetType     *string   `json:"ret-type"`     // command
	AllowOOB    *bool     `json:"allow-oob"`    // command
	JSONType    *string   `json:"json-type"`    // builtin
	ElementType *string   `json:"element-type"` // array
	Members     []member  `json:"members"`      // enum, object, alternate
	Values      []string  `json:"values"`       // enum
	Tag         *string   `json:"tag"`          // object
	Variants    []variant `json:"variants"`     // object
}

type member struct {
	Name     *string         `json:"name"`
	Type     *string         `json:"type"`
	Default  json.RawMessage `json:"default"`
	Features []string        `json:"features"`
}

type variant struct {
	Case string `json:"case"`
	Type string `json:"type"`
}

// allowed are the members that an entry of each meta-type can have beside name,
// meta-type and features; those with true it must have.
var allowed = map[string]map[string]bool{
	"builtin":   {"json-type": true},
	"enum":      {"members": true, "values": false},
	"array":     {"element-type": true},
	"object":    {"members": true, "tag": false, "variants": false},
	"alternate": {"members": true},
	"command":   {"arg-type": true, "ret-type": true, "allow-oob": false},
	"event":     {"arg-type": true},
}

var jsonTypes = []string{"string", "number", "int", "boolean", "null", "object", "array", "value"}

// CheckSchema checks the result of query-qmp-schema against what QAPI's
// documentation says of it: every entry has the form of its meta-type, each name
// is described once, and whatever is referred to is described and of a fitting
// kind; nothing is described that nothing refers to. The commands and events are
// those of the lists.
func CheckSchema(schema []byte, commands, events []string) error {
	c := checker{entries: make(map[string]*entry), used: make(map[string]bool)}
	var raw []map[string]json.RawMessage
	if err := json.Unmarshal(schema, &raw); err != nil {
		return err
	}
	var list []*entry
	d := json.NewDecoder(bytes.NewReader(schema))
	d.DisallowUnknownFields()
	if err := d.Decode(&list); err != nil {
		return err
	}
	for i, e := range list {
		if c.entries[e.Name] != nil {
			c.failf("%q is described twice", e.Name)
		}
		c.entries[e.Name] = e
		c.form(e, raw[i])
	}
	for _, e := range list {
		c.references(e)
	}
	var gotCommands, gotEvents []string
	for _, e := range list {
		switch {
		case e.MetaType == "command":
			gotCommands = append(gotCommands, e.Name)
		case e.MetaType == "event":
			gotEvents = append(gotEvents, e.Name)
		case !c.used[e.Name]:
			c.failf("nothing refers to %q", e.Name)
		}
	}
	c.same("commands", gotCommands, commands)
	c.same("events", gotEvents, events)
	return errors.Join(c.errs...)
}

type checker struct {
	entries map[string]*entry
	used    map[string]bool
	errs    []error
}

func (c *checker) failf(format string, args ...any) {
	c.errs = append(c.errs, fmt.Errorf(format, args...))
}

func (c *checker) same(what string, got, want []string) {
	got, want = slices.Sorted(slices.Values(got)), slices.Sorted(slices.Values(want))
	if !slices.Equal(got, want) {
		c.failf("the %s are %v, described are %v", what, want, got)
	}
}

// form checks which members an entry has.
func (c *checker) form(e *entry, raw map[string]json.RawMessage) {
	can, ok := allowed[e.MetaType]
	if !ok {
		c.failf("%q: unknown meta-type %q", e.Name, e.MetaType)
		return
	}
	for key := range raw {
		if _, ok := can[key]; !ok && key != "name" && key != "meta-type" && key != "features" {
			c.failf("%s %q has a member %q", e.MetaType, e.Name, key)
		}
	}
	for key, must := range can {
		if _, has := raw[key]; must && !has {
			c.failf("%s %q lacks %q", e.MetaType, e.Name, key)
		}
	}
	if e.JSONType != nil && !slices.Contains(jsonTypes, *e.JSONType) {
		c.failf("%q: unknown json-type %q", e.Name, *e.JSONType)
	}
	if (e.Tag == nil) != (e.Variants == nil) {
		c.failf("%q has a tag or variants, but not both", e.Name)
	}
	if e.Members == nil && can["members"] {
		c.failf("%q: members is null", e.Name)
	}
}

// ref checks a reference to a type of one of the kinds, of any if none is given.
func (c *checker) ref(from *entry, name *string, kinds ...string) *entry {
	if name == nil {
		return nil // form has complained
	}
	e := c.entries[*name]
	switch {
	case e == nil:
		c.failf("%q refers to %q, which is not described", from.Name, *name)
		return nil
	case e.MetaType == "command", e.MetaType == "event", len(kinds) > 0 && !slices.Contains(kinds, e.MetaType):
		c.failf("%q refers to %q, which is of meta-type %s", from.Name, *name, e.MetaType)
	}
	c.used[*name] = true
	return e
}

// references checks what an entry refers to.
func (c *checker) references(e *entry) {
	c.ref(e, e.ArgType, "object")
	c.ref(e, e.RetType)
	if elem := c.ref(e, e.ElementType); elem != nil && e.Name != "["+elem.Name+"]" {
		c.failf("the array of %q is called %q", elem.Name, e.Name)
	}
	names := make(map[string]*string)
	for _, m := range e.Members {
		if e.MetaType == "alternate" {
			c.ref(e, m.Type)
			continue
		}
		if m.Name == nil {
			c.failf("%q has a member without a name", e.Name)
			continue
		}
		if _, dup := names[*m.Name]; dup {
			c.failf("%q has two members %q", e.Name, *m.Name)
		}
		names[*m.Name] = m.Type
		if e.MetaType == "object" {
			if m.Type == nil {
				c.failf("member %q of %q has no type", *m.Name, e.Name)
			}
			c.ref(e, m.Type)
		}
	}
	if e.MetaType == "enum" && e.Values != nil && len(e.Values) != len(names) {
		c.failf("enum %q has %d members and %d values", e.Name, len(names), len(e.Values))
	}
	if e.Tag != nil {
		c.union(e, names[*e.Tag])
	}
}

// union checks that there is one variant for each value of the tag.
func (c *checker) union(e *entry, tag *string) {
	if tag == nil {
		c.failf("the tag %q of %q is no member", *e.Tag, e.Name)
		return
	}
	enum := c.ref(e, tag, "enum")
	if enum == nil {
		return
	}
	var values, cases []string
	for _, m := range enum.Members {
		if m.Name != nil {
			values = append(values, *m.Name)
		}
	}
	for _, v := range e.Variants {
		cases = append(cases, v.Case)
		c.ref(e, &v.Type, "object")
	}
	c.same(fmt.Sprintf("values of the tag of %q", e.Name), cases, values)
}
