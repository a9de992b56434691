package ctl

import (
	"maps"
	"slices"

	"govmd/internal/qmp/qjson"
)

// schema is what query-qmp-schema says.
type schema struct {
	commands map[string]*entity
	events   map[string]*entity
	types    map[string]*entity
}

// entity is a command, an event or a type.
type entity struct {
	meta     string // command, event, builtin, enum, array, object or alternate
	arg, ret string // of a command or event
	json     string // of a builtin: what JSON has for it
	element  string // of an array
	members  []member
	values   []string // of an enum
	tag      string   // of a union: the member that chooses
	variants []variant
}

type member struct {
	name, typ string
	optional  bool
}

type variant struct{ value, typ string }

// readSchema reads what it can; what is not as it should be is left out.
func readSchema(list qjson.Value) *schema {
	s := &schema{map[string]*entity{}, map[string]*entity{}, map[string]*entity{}}
	for v := list.First(); v.Exists(); v = v.Next() {
		name := v.Get("name").Text()
		e := &entity{
			meta: v.Get("meta-type").Text(), arg: v.Get("arg-type").Text(), ret: v.Get("ret-type").Text(),
			json: v.Get("json-type").Text(), element: v.Get("element-type").Text(), tag: v.Get("tag").Text(),
		}
		for m := v.Get("members").First(); m.Exists(); m = m.Next() {
			e.members = append(e.members, member{m.Get("name").Text(), m.Get("type").Text(), m.Get("default").Exists()})
		}
		for m := v.Get("values").First(); m.Exists(); m = m.Next() {
			e.values = append(e.values, m.Text())
		}
		if e.meta == "enum" && e.values == nil { // values is the older form
			for _, m := range e.members {
				e.values = append(e.values, m.name)
			}
		}
		for m := v.Get("variants").First(); m.Exists(); m = m.Next() {
			e.variants = append(e.variants, variant{m.Get("case").Text(), m.Get("type").Text()})
		}
		switch e.meta {
		case "command":
			s.commands[name] = e
		case "event":
			s.events[name] = e
		default:
			s.types[name] = e
		}
	}
	return s
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

// typ returns a type; one that is not described, and so takes anything, for what
// the schema does not have.
func (s *schema) typ(name string) *entity {
	if s != nil && s.types[name] != nil {
		return s.types[name]
	}
	return &entity{}
}

// membersOf returns the members that an object of type e has, given what its tag
// says; with an unknown tag those that it always has.
func (s *schema) membersOf(e *entity, tag string) []member {
	all := e.members
	for _, v := range e.variants {
		if v.value == tag {
			all = slices.Concat(all, s.typ(v.typ).members)
		}
	}
	return all
}

// maxNesting is how many lists of lists and the like are looked into. There are no
// such chains but in the description of a monitor that means ill.
const maxNesting = 8

// describe returns a type in a few words for people.
func (s *schema) describe(name string) string { return s.describeTo(name, maxNesting) }

func (s *schema) describeTo(name string, depth int) string {
	if depth == 0 {
		return "value"
	}
	switch e := s.typ(name); e.meta {
	case "builtin":
		switch e.json {
		case "boolean":
			return "on|off"
		case "value":
			return "any value"
		}
		return e.json
	case "enum":
		if len(e.values) > maxWords {
			return "word"
		}
		return join(e.values, "|")
	case "array":
		return "list of " + s.describeTo(e.element, depth-1)
	case "alternate":
		var all []string
		for _, m := range s.branches(e) {
			all = append(all, s.describeTo(m.typ, depth-1))
		}
		return join(all, " or ")
	case "object":
		return "object"
	}
	return "value"
}

// maxWords is how many words of an enumeration are shown in a line.
const maxWords = 12

// branches returns the members of an alternate, none of which is one itself.
func (s *schema) branches(e *entity) []member {
	var list []member
	for _, m := range e.members {
		if s.typ(m.typ).meta != "alternate" {
			list = append(list, m)
		}
	}
	return list
}
