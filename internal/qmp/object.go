package qmp

import (
	"strings"

	"govmd/internal/qmp/qjson"
)

// Value is a value that has been read and not yet decoded.
type Value = qjson.Value

// None is the type of the arguments of a command without arguments, and of the
// result of a command without a result.
type None struct{}

// Null is the value null.
type Null struct{}

// Size is a number of bytes. Option text can give it with a suffix ("4k").
type Size uint64

// Raw is JSON text that has been made already. Only results can hold it.
type Raw []byte

// Object is an object with any members, in order. Values are nil, bool, int64,
// uint64 (when above the range of int64), float64, string, []any or *Object;
// in option text they are string, []any or *Object. What is encoded can hold
// any other type that the package encodes, too.
type Object struct {
	members []Member
}

// Member is one member of an Object.
type Member struct {
	Name  string
	Value any
}

// Members returns the members in order. The slice must not be changed.
func (o *Object) Members() []Member {
	if o == nil {
		return nil
	}
	return o.members
}

// Len returns the number of members.
func (o *Object) Len() int { return len(o.Members()) }

// Get returns the value of a member.
func (o *Object) Get(name string) (value any, ok bool) {
	for _, m := range o.Members() {
		if m.Name == name {
			return m.Value, true
		}
	}
	return nil, false
}

// Set adds a member or replaces its value.
func (o *Object) Set(name string, value any) {
	for i := range o.members {
		if o.members[i].Name == name {
			o.members[i].Value = value
			return
		}
	}
	o.Add(name, value)
}

// SetNested is Set for a member of an object within o where the name has dots: of "a.b"
// the member "b" of what "a" is, which is made an object if it is none.
func (o *Object) SetNested(name string, value any) {
	head, rest, dotted := strings.Cut(name, ".")
	if !dotted {
		o.Set(name, value)
		return
	}
	inner, _ := o.Get(head)
	sub, ok := inner.(*Object)
	if !ok {
		sub = &Object{}
		o.Set(head, sub)
	}
	sub.SetNested(rest, value)
}

// Add adds a member that is known to be new.
func (o *Object) Add(name string, value any) {
	o.members = append(o.members, Member{name, value})
}

// Delete removes a member; it reports whether there was one.
func (o *Object) Delete(name string) bool {
	for i, m := range o.Members() {
		if m.Name == name {
			o.members = append(o.members[:i], o.members[i+1:]...)
			return true
		}
	}
	return false
}

// ToAny returns a copy of v as an Object holds it; nil for a value that does not
// exist.
func ToAny(v Value) any {
	switch v.Kind() {
	case qjson.Bool:
		return v.Bool()
	case qjson.Int:
		n, _ := v.Int()
		return n
	case qjson.Uint:
		n, _ := v.Uint()
		return n
	case qjson.Float:
		f, _ := v.Float()
		return f
	case qjson.String:
		return v.Text()
	case qjson.Array:
		list := make([]any, 0, v.Len())
		for e := v.First(); e.Exists(); e = e.Next() {
			list = append(list, ToAny(e))
		}
		return list
	case qjson.Object:
		o := &Object{members: make([]Member, 0, v.Len())}
		for m := v.First(); m.Exists(); m = m.Next() {
			o.Add(string(m.Key()), ToAny(m))
		}
		return o
	}
	return nil
}
