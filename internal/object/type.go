// Package object is the object model: types with properties, and the tree of
// objects that make up a machine.
//
// Types are registered once, at init. Objects are created from them, receive
// their properties in layers (type defaults, machine-version compatibility,
// -global, explicit) and are placed in a tree whose paths ("/machine/peripheral/net0")
// name them to clients. The tree changes and is read only on the control lane.
package object

import (
	"fmt"
	"sort"
)

// An Object is anything that has a type and a place in the tree. Implementations
// embed Node.
type Object interface {
	Obj() *Node
}

// Type describes a kind of object.
type Type struct {
	Name        string
	Parent      string // name of the parent type; "" means "object"
	Description string
	Abstract    bool
	// Bus is the kind of bus that a device of this type plugs into ("PCI",
	// "ISA", "virtio-bus"), or "" for what plugs into none.
	Bus string
	// UserCreatable types may be named in -device, device_add, -object and object-add.
	UserCreatable bool
	// Hotpluggable devices may come and go while the machine runs.
	Hotpluggable bool
	// Props are the properties that this type adds to its parent's.
	Props []Property
	// New returns an instance with nothing set; New of this package applies the defaults.
	New func() Object
}

var types = map[string]*Type{}

// Register adds a type. It is called from init functions only; a name that is
// taken is a programming error and panics.
func Register(t Type) {
	if _, dup := types[t.Name]; dup {
		panic("object: type registered twice: " + t.Name)
	}
	types[t.Name] = &t
}

// Lookup returns the type of that name, or nil.
func Lookup(name string) *Type { return types[name] }

// Types returns all registered types for which keep is true, sorted by name.
func Types(keep func(*Type) bool) []*Type {
	var list []*Type
	for _, t := range types {
		if keep == nil || keep(t) {
			list = append(list, t)
		}
	}
	sort.Slice(list, func(i, j int) bool { return list[i].Name < list[j].Name })
	return list
}

// IsA reports whether t is the named type or descends from it.
func (t *Type) IsA(name string) bool {
	for ; t != nil; t = types[t.Parent] {
		if t.Name == name {
			return true
		}
	}
	return name == "object"
}

// Properties returns the properties of t, the most distant ancestor's first.
func (t *Type) Properties() []Property {
	var list []Property
	if p := types[t.Parent]; p != nil {
		list = p.Properties()
	}
	return append(list, t.Props...)
}

// Unique returns the properties of t, each name once: the nearest type's wins.
func (t *Type) Unique() []Property { return unique(t.Properties()) }

func unique(list []Property) []Property {
	at := make(map[string]int, len(list))
	out := list[:0]
	for _, p := range list {
		if i, dup := at[p.Name]; dup {
			out[i] = p
			continue
		}
		at[p.Name] = len(out)
		out = append(out, p)
	}
	return out
}

// New creates an object of the named type with the default of every property set.
func New(name string) (Object, error) {
	t := types[name]
	if t == nil {
		return nil, fmt.Errorf("'%s' is not a valid object type", name)
	}
	if t.Abstract || t.New == nil {
		return nil, fmt.Errorf("'%s' is an abstract type: it cannot be created", name)
	}
	o := t.New()
	n := o.Obj()
	n.typ, n.self = t, o
	for _, p := range t.Properties() {
		if p.Default == nil || p.Set == nil {
			continue
		}
		if err := p.Set(o, p.Default); err != nil {
			return nil, fmt.Errorf("default of %s.%s: %w", name, p.Name, err)
		}
	}
	return o, nil
}

// A Default is one layered default: Value, as option text, for property Prop
// of every object whose type is or descends from Type.
type Default struct {
	Type, Prop, Value string
}

// ApplyDefaults sets on o those of defs that are meant for it, in order, so that
// later layers win. It must come before explicit settings. used, when not nil, is
// told the index of each default that applied.
func ApplyDefaults(o Object, defs []Default, used func(int)) error {
	t := o.Obj().Type()
	for i, d := range defs {
		if !t.IsA(d.Type) {
			continue
		}
		if used != nil {
			used(i)
		}
		if err := SetText(o, d.Prop, d.Value); err != nil {
			return fmt.Errorf("can't apply global %s.%s=%s: %w", d.Type, d.Prop, d.Value, err)
		}
	}
	return nil
}
