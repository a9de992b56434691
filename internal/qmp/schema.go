package qmp

import (
	"reflect"
	"slices"
	"strconv"
	"strings"

	"govmd/internal/qmp/qjson"
)

// Schema returns the result of query-qmp-schema: every command, event and type,
// as QEMU describes its own. Types are called by number, since their names are
// no interface; commands, events and built-in types by their names.
func (r *Registry) Schema() Raw {
	s := &schema{names: make(map[any]string)}
	s.out = append(s.out, '[')
	for _, name := range r.Names() {
		c := r.commands[name]
		s.begin(name, "command")
		s.str("arg-type", s.ref(c.args))
		s.str("ret-type", s.ref(c.ret))
		if c.oob {
			s.raw("allow-oob", "true")
		}
		s.features(c.features)
		s.end()
	}
	for _, name := range r.EventNames() {
		s.begin(name, "event")
		s.str("arg-type", s.ref(r.events[name]))
		s.end()
	}
	for len(s.todo) > 0 { // describing a type can bring more
		fn := s.todo[0]
		s.todo = s.todo[1:]
		fn()
	}
	s.out = append(s.out, ']')
	return s.out
}

type schema struct {
	out   []byte
	names map[any]string // by *typeInfo, or by what a made-up type stands for
	todo  []func()
	next  int
}

func (s *schema) begin(name, meta string) {
	if len(s.out) > 1 {
		s.out = append(s.out, ", "...)
	}
	s.out = append(s.out, `{"name": `...)
	s.out = qjson.AppendString(s.out, name)
	s.str("meta-type", meta)
}

func (s *schema) end() { s.out = append(s.out, '}') }

func (s *schema) str(key, value string) {
	s.raw(key, string(qjson.AppendString(nil, value)))
}

func (s *schema) raw(key, value string) {
	s.out = append(s.out, ", \""+key+"\": "+value...)
}

func (s *schema) features(f []string) {
	if len(f) > 0 {
		s.raw("features", stringList(f))
	}
}

func stringList(list []string) string {
	b := []byte{'['}
	for i, v := range list {
		if i > 0 {
			b = append(b, ", "...)
		}
		b = qjson.AppendString(b, v)
	}
	return string(append(b, ']'))
}

// builtin returns the name and JSON type of a built-in type.
func builtin(k kind) (name, jsonType string) {
	switch k {
	case kindBool:
		return "bool", "boolean"
	case kindInt, kindUint, kindSize:
		return "int", "int"
	case kindFloat:
		return "number", "number"
	case kindString:
		return "str", "string"
	case kindNull:
		return "null", "null"
	case kindAny, kindObject, kindRaw:
		return "any", "value"
	}
	return "", ""
}

// define names a type and has describe called once for it.
func (s *schema) define(key any, name string, describe func(name string)) string {
	if name == "" {
		name = strconv.Itoa(s.next)
		s.next++
	}
	s.names[key] = name
	s.todo = append(s.todo, func() { describe(name) })
	return name
}

// ref returns the name of a type, which is described later when it is new.
func (s *schema) ref(ti *typeInfo) string {
	for ti.kind == kindPointer {
		ti = ti.elem
	}
	if ti.kind == kindStruct && len(ti.fields) == 0 && ti.union == nil {
		ti = typeOf(reflect.TypeFor[None]()) // one name for all that are empty
	}
	if name, jsonType := builtin(ti.kind); name != "" {
		if _, known := s.names[name]; known {
			return name
		}
		return s.define(name, name, func(string) {
			s.begin(name, "builtin")
			s.str("json-type", jsonType)
			s.end()
		})
	}
	if name, known := s.names[ti]; known {
		return name
	}
	switch ti.kind {
	case kindArray:
		elem := s.ref(ti.elem)
		name := "[" + elem + "]"
		if _, known := s.names[name]; known { // of another Go type that looks the same
			return name
		}
		return s.define(name, name, func(name string) {
			s.begin(name, "array")
			s.str("element-type", elem)
			s.end()
		})
	case kindEnum:
		return s.define(ti, "", func(name string) { s.enum(name, ti.enum) })
	case kindAlternate:
		return s.define(ti, "", func(name string) { s.alternate(name, ti) })
	}
	return s.define(ti, "", func(name string) { s.object(name, ti) })
}

func (s *schema) enum(name string, values []string) {
	members := make([]string, len(values))
	for i, v := range values {
		members[i] = `{"name": ` + string(qjson.AppendString(nil, v)) + "}"
	}
	s.begin(name, "enum")
	s.raw("members", "["+strings.Join(members, ", ")+"]")
	s.raw("values", stringList(values))
	s.end()
}

func (s *schema) alternate(name string, ti *typeInfo) {
	members := make([]string, len(ti.fields))
	for i := range ti.fields {
		members[i] = `{"type": ` + string(qjson.AppendString(nil, s.ref(ti.fields[i].typ))) + "}"
	}
	s.begin(name, "alternate")
	s.raw("members", "["+strings.Join(members, ", ")+"]")
	s.end()
}

func (s *schema) object(name string, ti *typeInfo) {
	members := make([]string, 0, len(ti.fields))
	for i := range ti.fields {
		f := &ti.fields[i]
		if f.legacy {
			continue
		}
		ref := s.ref(f.typ)
		if ti.union != nil && i == ti.disc && f.typ.kind == kindString {
			ref = s.discriminator(ti.union)
		}
		m := `{"name": ` + string(qjson.AppendString(nil, f.name)) + `, "type": ` + string(qjson.AppendString(nil, ref))
		if f.optional {
			m += `, "default": null`
		}
		if len(f.features) > 0 {
			m += `, "features": ` + stringList(f.features)
		}
		members = append(members, m+"}")
	}
	s.begin(name, "object")
	s.raw("members", "["+strings.Join(members, ", ")+"]")
	if ti.union != nil {
		s.raw("tag", string(qjson.AppendString(nil, ti.union.discriminator)))
		s.raw("variants", s.variants(ti))
	}
	s.end()
}

// discriminator returns the enumeration of a union's branches.
func (s *schema) discriminator(u *Union) string {
	if name, known := s.names[u]; known {
		return name
	}
	return s.define(u, "", func(name string) { s.enum(name, u.Values()) })
}

func (s *schema) variants(ti *typeInfo) string {
	values := ti.union.Values()
	if e := ti.fields[ti.disc].typ; e.kind == kindEnum {
		values = slices.Clone(e.enum)
	}
	list := make([]string, len(values))
	for i, v := range values {
		t, ok := ti.union.branch([]byte(v))
		if !ok {
			t = reflect.TypeFor[None]()
		}
		list[i] = `{"case": ` + string(qjson.AppendString(nil, v)) + `, "type": ` + string(qjson.AppendString(nil, s.ref(typeOf(t)))) + "}"
	}
	return "[" + strings.Join(list, ", ") + "]"
}
