package qmp

import (
	"fmt"
	"reflect"
	"slices"

	"govmd/internal/event"
	"govmd/internal/qmp/qjson"
)

// Registry holds the commands and events of one machine. It is filled before
// monitors use it and does not change afterwards.
type Registry struct {
	commands map[string]*Command
	events   map[string]*typeInfo
}

// NewRegistry returns an empty registry.
func NewRegistry() *Registry {
	return &Registry{commands: make(map[string]*Command), events: make(map[string]*typeInfo)}
}

// Add adds commands. It panics when a name is taken.
func (r *Registry) Add(commands ...Command) {
	for i := range commands {
		c := commands[i]
		if _, dup := r.commands[c.name]; dup {
			panic(fmt.Sprintf("qmp: command %q is registered twice", c.name))
		}
		r.commands[c.name] = &c
	}
}

// AddEvents makes events known to query-events and the schema; the values do not
// matter, only their types. It panics when a name is taken by another type.
func (r *Registry) AddEvents(events ...event.Event) {
	for _, e := range events {
		ti := typeOf(reflect.Indirect(reflect.ValueOf(e)).Type())
		if old, dup := r.events[e.EventName()]; dup && old != ti || ti.kind != kindStruct {
			panic(fmt.Sprintf("qmp: event %q is registered twice, or no struct", e.EventName()))
		}
		r.events[e.EventName()] = ti
	}
}

// Lookup returns the command of the given name, or nil.
func (r *Registry) Lookup(name string) *Command { return r.commands[name] }

// LookupBytes is Lookup without a copy of the name.
func (r *Registry) LookupBytes(name []byte) *Command { return r.commands[string(name)] }

// Names returns the names of all commands, sorted.
func (r *Registry) Names() []string { return sortedKeys(r.commands) }

// EventNames returns the names of all events, sorted.
func (r *Registry) EventNames() []string { return sortedKeys(r.events) }

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// emptyObject stands for arguments that were not given.
var emptyObject = func() Value {
	var b qjson.Builder
	b.Begin(qjson.Object)
	b.End()
	return b.Finish().Root()
}()

// HasData reports whether the event has a data object at all.
func HasData(e event.Event) bool {
	ti := typeOf(reflect.Indirect(reflect.ValueOf(e)).Type())
	return len(ti.fields) > 0 || ti.branch != nil || ti.rest != nil
}

// MemberText returns the string member of the given name of a struct that can be
// sent; "" when there is none.
func MemberText(v any, name string) string {
	rv := reflect.Indirect(reflect.ValueOf(v))
	ti := typeOf(rv.Type())
	i, ok := ti.byName[name]
	if !ok {
		return ""
	}
	f := rv.FieldByIndex(ti.fields[i].index)
	if ti.fields[i].pointer {
		if f.IsNil() {
			return ""
		}
		f = f.Elem()
	}
	if f.Kind() != reflect.String {
		return ""
	}
	return f.String()
}
