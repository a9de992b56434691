package qmp

import (
	"fmt"
	"reflect"
	"strings"
	"sync"

	"govmd/internal/qmp/qjson"
)

type kind uint8

const (
	kindBool kind = iota
	kindInt
	kindUint
	kindSize
	kindFloat
	kindString
	kindEnum
	kindArray
	kindStruct
	kindAlternate
	kindAny
	kindObject // open
	kindNull
	kindRaw
	kindPointer // to elem; never nil in what is received
)

// typeInfo is what is known of a Go type that takes part in the protocol.
type typeInfo struct {
	kind kind
	rt   reflect.Type
	name string    // in errors and, for unions, for whoever reads the schema
	elem *typeInfo // of an array or pointer
	enum []string  // the values of an enumeration

	// Of a struct.
	fields   []field
	byName   map[string]int // index into fields, by name and alias
	branch   []int          // the field that holds the union's branch
	disc     int            // the field that is its discriminator
	union    *Union
	rest     []int // the field that takes the members that no other takes
	restKind reflect.Kind

	alts [kindPointer + 1]int // of an alternate: 1 + index into fields, by kind
}

type field struct {
	name     string
	prefix   []byte // `"name": `
	index    []int
	typ      *typeInfo
	pointer  bool
	optional bool
	legacy   bool // not in the schema
	features []string
	aliases  []string
}

var types struct {
	cache sync.Map // reflect.Type to *typeInfo, complete ones only
	mu    sync.Mutex
}

// typeOf returns what is known of t. It panics when t cannot take part in the
// protocol: that is a mistake in the program, found when it starts.
func typeOf(t reflect.Type) *typeInfo {
	if ti, ok := types.cache.Load(t); ok {
		return ti.(*typeInfo)
	}
	types.mu.Lock()
	defer types.mu.Unlock()
	c := compiler{made: make(map[reflect.Type]*typeInfo)}
	ti := c.typeOf(t)
	for t, ti := range c.made {
		types.cache.Store(t, ti)
	}
	return ti
}

type compiler struct{ made map[reflect.Type]*typeInfo }

var (
	sizeType      = reflect.TypeFor[Size]()
	nullType      = reflect.TypeFor[Null]()
	objectType    = reflect.TypeFor[Object]()
	rawType       = reflect.TypeFor[Raw]()
	anyType       = reflect.TypeFor[any]()
	alternateType = reflect.TypeFor[Alternate]()
	enumType      = reflect.TypeFor[Enum]()
)

func (c *compiler) typeOf(t reflect.Type) *typeInfo {
	if ti, ok := types.cache.Load(t); ok {
		return ti.(*typeInfo)
	}
	if ti, ok := c.made[t]; ok {
		return ti
	}
	ti := &typeInfo{rt: t, name: t.Name()}
	c.made[t] = ti
	switch t {
	case sizeType:
		ti.kind = kindSize
		return ti
	case nullType:
		ti.kind = kindNull
		return ti
	case objectType:
		ti.kind = kindObject
		return ti
	case rawType:
		ti.kind = kindRaw
		return ti
	case anyType:
		ti.kind = kindAny
		return ti
	}
	switch t.Kind() {
	case reflect.Bool:
		ti.kind = kindBool
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		ti.kind = kindInt
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		ti.kind = kindUint
	case reflect.Float64:
		ti.kind = kindFloat
	case reflect.String:
		ti.kind = kindString
		if t.Implements(enumType) {
			ti.kind = kindEnum
			ti.enum = reflect.Zero(t).Interface().(Enum).EnumValues()
		}
	case reflect.Pointer:
		ti.kind = kindPointer
		ti.elem = c.typeOf(t.Elem())
	case reflect.Slice:
		ti.kind = kindArray
		ti.elem = c.typeOf(t.Elem())
	case reflect.Struct:
		ti.kind = kindStruct
		c.structType(ti)
	default:
		panic(fmt.Sprintf("qmp: a %v cannot be sent or received", t))
	}
	return ti
}

func (c *compiler) structType(ti *typeInfo) {
	ti.byName = make(map[string]int)
	c.fields(ti, ti.rt, nil)
	if ti.kind == kindAlternate {
		return
	}
	if u, ok := reflect.Zero(ti.rt).Interface().(Unioner); ok && ti.branch != nil {
		ti.union = u.QMPUnion()
		i, ok := ti.byName[ti.union.discriminator]
		if !ok || ti.fields[i].pointer || ti.fields[i].optional || ti.fields[i].typ.rt.Kind() != reflect.String {
			panic(fmt.Sprintf("qmp: %v has no string member %q", ti.rt, ti.union.discriminator))
		}
		ti.disc = i
	} else if ti.branch != nil {
		panic(fmt.Sprintf("qmp: %v has a branch but no union", ti.rt))
	}
}

// fields collects the members of t, which is ti's own type or embedded in it.
func (c *compiler) fields(ti *typeInfo, t reflect.Type, index []int) {
	for i := range t.NumField() {
		sf := t.Field(i)
		at := append(append([]int(nil), index...), i)
		if sf.Type == alternateType && sf.Anonymous {
			ti.kind = kindAlternate
			continue
		}
		tag, tagged := sf.Tag.Lookup("qmp")
		if sf.Anonymous && !tagged && sf.Type.Kind() == reflect.Struct {
			c.fields(ti, sf.Type, at)
			continue
		}
		if !tagged || tag == "-" {
			continue
		}
		name, opts, _ := strings.Cut(tag, ",")
		if !sf.IsExported() {
			panic(fmt.Sprintf("qmp: %v.%s is not exported", t, sf.Name))
		}
		switch {
		case opts == "branch" && sf.Type == anyType:
			ti.branch = at
			continue
		case opts == "rest" && (sf.Type == objectType || sf.Type == reflect.PointerTo(objectType)):
			ti.rest, ti.restKind = at, sf.Type.Kind()
			continue
		}
		f := field{name: name, index: at}
		ft := sf.Type
		if ft.Kind() == reflect.Pointer {
			ft, f.pointer, f.optional = ft.Elem(), true, true
		}
		f.typ = c.typeOf(ft)
		f.prefix = append(qjson.AppendString(nil, name), ": "...)
		c.tag(ti, t, &f, opts)
		c.member(ti, &f)
	}
}

func (c *compiler) tag(ti *typeInfo, t reflect.Type, f *field, opts string) {
	for opts != "" {
		var opt string
		opt, opts, _ = strings.Cut(opts, ",")
		if alias, ok := strings.CutPrefix(opt, "alias="); ok {
			f.aliases = append(f.aliases, alias)
			continue
		}
		switch opt {
		case "optional":
			f.optional = true
		case "legacy": // what only old clients send
			f.legacy, f.optional = true, true
		case "deprecated", "unstable":
			f.features = append(f.features, opt)
		default:
			panic(fmt.Sprintf("qmp: %v: member %q has unknown option %q", t, f.name, opt))
		}
	}
}

// member adds f to ti.
func (c *compiler) member(ti *typeInfo, f *field) {
	i := len(ti.fields)
	ti.fields = append(ti.fields, *f)
	for _, name := range append([]string{f.name}, f.aliases...) {
		if _, dup := ti.byName[name]; dup || name == "" {
			panic(fmt.Sprintf("qmp: %v has two members %q", ti.rt, name))
		}
		ti.byName[name] = i
	}
	if ti.kind != kindAlternate {
		return
	}
	if !f.pointer {
		panic(fmt.Sprintf("qmp: member %q of alternate %v is no pointer", f.name, ti.rt))
	}
	ti.alts[f.typ.kind] = i + 1
}

// cName is the integer type's name as QEMU's errors have it: "uint8_t".
func (ti *typeInfo) cName() string {
	switch ti.rt.Kind() {
	case reflect.Int:
		return "int64_t"
	case reflect.Uint:
		return "uint64_t"
	}
	return ti.rt.Kind().String() + "_t"
}
