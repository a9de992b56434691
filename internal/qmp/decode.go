package qmp

import (
	"reflect"
	"strconv"
	"sync"

	"govmd/internal/qmp/qjson"
)

// Mode says where a value comes from.
type Mode uint8

// The modes of decoding.
const (
	JSON   Mode = iota // values have the types that they should have
	Keyval             // scalars are text, as option.ParseKeyval makes them
)

// Decode stores v in *dst, a type that can take part in the protocol, and
// checks it: everything that must be there is, nothing else, of the right kind
// and in range. An error names the member as QEMU does. *dst may be changed in
// part when there is one.
func Decode[T any](v Value, mode Mode, dst *T) error {
	return decode(typeOf(reflect.TypeFor[T]()), v, mode, reflect.ValueOf(dst).Elem())
}

// DecodeInto is Decode for a type that is made while the program runs; dst can
// be set.
func DecodeInto(v Value, mode Mode, dst reflect.Value) error {
	return decode(typeOf(dst.Type()), v, mode, dst)
}

func decode(ti *typeInfo, v Value, mode Mode, dst reflect.Value) error {
	d := decoders.Get().(*decoder)
	d.mode = mode
	err := d.value(ti, v, dst)
	d.release()
	return err
}

// decoder holds where in the value it is. Its slices are stacks: each level
// works on the end of them.
type decoder struct {
	mode  Mode
	path  []step
	left  []Value // members of the objects being decoded
	slots []Value // the member that each field takes
}

// step is a member's name, or the index of an element when name is nil.
type step struct {
	name  []byte
	index int
}

var decoders = sync.Pool{New: func() any { return new(decoder) }}

func (d *decoder) release() {
	if cap(d.left) > 1<<10 {
		d.left = nil
	}
	clear(d.left[:cap(d.left)]) // Values hold on to their Doc
	clear(d.slots[:cap(d.slots)])
	d.path, d.left, d.slots = d.path[:0], d.left[:0], d.slots[:0]
	decoders.Put(d)
}

func (d *decoder) value(ti *typeInfo, v Value, dst reflect.Value) error {
	switch ti.kind {
	case kindArray:
		return d.array(ti, v, dst)
	case kindStruct:
		return d.object(ti, v, dst)
	case kindAlternate:
		return d.alternate(ti, v, dst)
	case kindPointer:
		p := reflect.New(ti.elem.rt)
		dst.Set(p)
		return d.value(ti.elem, v, p.Elem())
	case kindAny:
		if x := ToAny(v); x != nil {
			dst.Set(reflect.ValueOf(x))
		}
		return nil
	case kindObject:
		if v.Kind() != qjson.Object {
			return d.typeError("object")
		}
		dst.Set(reflect.ValueOf(ToAny(v)).Elem())
		return nil
	case kindNull:
		if v.Kind() != qjson.Null && !(d.mode == Keyval && v.Kind() == qjson.String && len(v.Bytes()) == 0) {
			return d.typeError("null")
		}
		return nil
	case kindRaw:
		return Errorf("Parameter '%s' cannot be decoded", d.fullName(""))
	}
	return d.scalar(ti, v, dst)
}

func (d *decoder) array(ti *typeInfo, v Value, dst reflect.Value) error {
	if v.Kind() != qjson.Array {
		return d.typeError("array")
	}
	list := reflect.MakeSlice(ti.rt, v.Len(), v.Len())
	d.path = append(d.path, step{})
	top := len(d.path) - 1
	i := 0
	for e := v.First(); e.Exists(); e = e.Next() {
		d.path[top].index = i
		if err := d.value(ti.elem, e, list.Index(i)); err != nil {
			return err
		}
		i++
	}
	d.path = d.path[:top]
	dst.Set(list)
	return nil
}

func (d *decoder) object(ti *typeInfo, v Value, dst reflect.Value) error {
	if v.Kind() != qjson.Object {
		return d.typeError("object")
	}
	base := len(d.left)
	for m := v.First(); m.Exists(); m = m.Next() {
		d.left = append(d.left, m)
	}
	err := d.members(ti, base, dst)
	if err == nil && len(d.left) > base {
		err = Errorf("Parameter '%s' is unexpected", d.fullName(string(d.left[base].Key())))
	}
	d.left = d.left[:base]
	return err
}

// members stores those of d.left[base:] that belong to the struct ti and leaves
// the others there.
func (d *decoder) members(ti *typeInfo, base int, dst reflect.Value) error {
	slot := len(d.slots)
	for range ti.fields {
		d.slots = append(d.slots, Value{})
	}
	keep := base
	for _, m := range d.left[base:] {
		i, ok := ti.byName[string(m.Key())]
		if !ok || d.slots[slot+i].Exists() {
			d.left[keep] = m
			keep++
			continue
		}
		d.slots[slot+i] = m
	}
	d.left = d.left[:keep]
	for i := range ti.fields {
		f := &ti.fields[i]
		m := d.slots[slot+i]
		if !m.Exists() {
			if f.optional || d.mode == Keyval && ti.union != nil && i == ti.disc && ti.union.implied != "" {
				continue
			}
			return Errorf("Parameter '%s' is missing", d.fullName(f.name))
		}
		if err := d.field(f, m, dst.FieldByIndex(f.index)); err != nil {
			return err
		}
	}
	var disc Value
	if ti.union != nil {
		disc = d.slots[slot+ti.disc]
	}
	d.slots = d.slots[:slot]
	if ti.union != nil {
		if err := d.branch(ti, disc, base, dst); err != nil {
			return err
		}
	}
	if ti.rest != nil {
		rest := &Object{}
		for _, m := range d.left[base:] {
			rest.Add(string(m.Key()), ToAny(m))
		}
		d.left = d.left[:base]
		if f := dst.FieldByIndex(ti.rest); ti.restKind == reflect.Pointer {
			f.Set(reflect.ValueOf(rest))
		} else {
			f.Set(reflect.ValueOf(rest).Elem())
		}
	}
	return nil
}

func (d *decoder) field(f *field, m Value, dst reflect.Value) error {
	if f.pointer {
		p := reflect.New(f.typ.rt)
		dst.Set(p)
		dst = p.Elem()
	}
	d.path = append(d.path, step{name: m.Key()})
	if err := d.value(f.typ, m, dst); err != nil {
		return err
	}
	d.path = d.path[:len(d.path)-1]
	return nil
}

// branch stores the members that the discriminator asks for.
func (d *decoder) branch(ti *typeInfo, disc Value, base int, dst reflect.Value) error {
	value := disc.Bytes()
	if !disc.Exists() {
		value = []byte(ti.union.implied)
	}
	t, ok := ti.union.branch(value)
	if !ok {
		if ti.fields[ti.disc].typ.kind == kindEnum {
			return nil // a value of the enumeration that adds no members
		}
		return ti.union.noBranch(disc.Text())
	}
	p := reflect.New(t)
	dst.FieldByIndex(ti.branch).Set(p)
	return d.members(typeOf(t), base, p.Elem())
}

func (d *decoder) alternate(ti *typeInfo, v Value, dst reflect.Value) error {
	i := ti.alternative(v, d.mode)
	if i < 0 {
		// Errors for alternates, enumerations and ranges name the member, not the path.
		return Errorf("Invalid parameter type for '%s', expected: %s", d.lastName(), ti.name)
	}
	f := &ti.fields[i]
	p := reflect.New(f.typ.rt)
	if err := d.value(f.typ, v, p.Elem()); err != nil {
		return err
	}
	dst.FieldByIndex(f.index).Set(p)
	return nil
}

// alternative returns which field of an alternate takes v, -1 for none.
func (ti *typeInfo) alternative(v Value, mode Mode) int {
	first := func(kinds ...kind) int {
		for _, k := range kinds {
			if i := ti.alts[k]; i > 0 {
				return i - 1
			}
		}
		return -1
	}
	switch v.Kind() {
	case qjson.Null:
		return first(kindNull)
	case qjson.Bool:
		return first(kindBool)
	case qjson.Int, qjson.Uint:
		return first(kindInt, kindUint, kindSize, kindFloat)
	case qjson.Float:
		return first(kindFloat)
	case qjson.String:
		if i := first(kindString, kindEnum); i >= 0 || mode == JSON {
			return i
		}
		return first(kindBool, kindInt, kindUint, kindSize, kindFloat, kindNull)
	case qjson.Array:
		return first(kindArray)
	}
	return first(kindStruct, kindObject)
}

// fullName is the path of the member being decoded, with name added when it is
// not empty: "a.b[2].c", in option text "a.b.2.c".
func (d *decoder) fullName(name string) string {
	var b []byte
	for _, s := range d.path {
		switch {
		case s.name != nil && len(b) > 0:
			b = append(append(b, '.'), s.name...)
		case s.name != nil:
			b = append(b, s.name...)
		case d.mode == Keyval:
			b = strconv.AppendInt(append(b, '.'), int64(s.index), 10)
		default:
			b = append(strconv.AppendInt(append(b, '['), int64(s.index), 10), ']')
		}
	}
	if name != "" {
		if len(b) > 0 {
			b = append(b, '.')
		}
		b = append(b, name...)
	}
	return string(b)
}

// lastName is the name of the member being decoded; an element has none.
func (d *decoder) lastName() string {
	if len(d.path) == 0 || d.path[len(d.path)-1].name == nil {
		return "null"
	}
	return string(d.path[len(d.path)-1].name)
}

func (d *decoder) typeError(expected string) error {
	return Errorf("Invalid parameter type for '%s', expected: %s", d.fullName(""), expected)
}

func (d *decoder) expects(what string) error {
	return Errorf("Parameter '%s' expects %s", d.fullName(""), what)
}

func notAccepted(name, value string) error {
	return Errorf("Parameter '%s' does not accept value '%s'", name, value)
}
