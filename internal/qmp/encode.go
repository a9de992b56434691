package qmp

import (
	"fmt"
	"reflect"
	"strconv"

	"govmd/internal/qmp/qjson"
)

// Append appends v, any value that the package knows, as JSON on one line.
func Append(dst []byte, v any) []byte { return appendAny(dst, v) }

func appendAny(dst []byte, v any) []byte {
	switch v := v.(type) {
	case nil:
		return append(dst, "null"...)
	case bool:
		return qjson.AppendBool(dst, v)
	case int64:
		return strconv.AppendInt(dst, v, 10)
	case string:
		return qjson.AppendString(dst, v)
	case *Object:
		return appendObject(dst, v)
	case []any:
		dst = append(dst, '[')
		for i, e := range v {
			if i > 0 {
				dst = append(dst, ", "...)
			}
			dst = appendAny(dst, e)
		}
		return append(dst, ']')
	case Value:
		return v.Append(dst)
	}
	rv := reflect.ValueOf(v)
	for rv.Kind() == reflect.Pointer {
		if rv.IsNil() {
			return append(dst, "null"...)
		}
		rv = rv.Elem()
	}
	return appendValue(dst, typeOf(rv.Type()), rv)
}

func appendObject(dst []byte, o *Object) []byte {
	dst = append(dst, '{')
	for i, m := range o.Members() {
		if i > 0 {
			dst = append(dst, ", "...)
		}
		dst = qjson.AppendString(dst, m.Name)
		dst = appendAny(append(dst, ": "...), m.Value)
	}
	return append(dst, '}')
}

func appendValue(dst []byte, ti *typeInfo, v reflect.Value) []byte {
	switch ti.kind {
	case kindBool:
		return qjson.AppendBool(dst, v.Bool())
	case kindInt:
		return strconv.AppendInt(dst, v.Int(), 10)
	case kindUint, kindSize:
		return strconv.AppendUint(dst, v.Uint(), 10)
	case kindFloat:
		return qjson.AppendFloat(dst, v.Float())
	case kindString, kindEnum:
		return qjson.AppendString(dst, v.String())
	case kindArray:
		dst = append(dst, '[')
		for i := range v.Len() {
			if i > 0 {
				dst = append(dst, ", "...)
			}
			dst = appendValue(dst, ti.elem, v.Index(i))
		}
		return append(dst, ']')
	case kindStruct:
		dst = append(dst, '{')
		start := len(dst)
		dst = appendMembers(dst, start, ti, v)
		return append(dst, '}')
	case kindAlternate:
		for i := range ti.fields {
			if f := v.FieldByIndex(ti.fields[i].index); !f.IsNil() {
				return appendValue(dst, ti.fields[i].typ, f.Elem())
			}
		}
	case kindPointer:
		if !v.IsNil() {
			return appendValue(dst, ti.elem, v.Elem())
		}
	case kindAny:
		return appendAny(dst, v.Interface())
	case kindObject:
		o := v.Interface().(Object)
		return appendObject(dst, &o)
	case kindRaw:
		if v.Len() > 0 {
			return append(dst, v.Bytes()...)
		}
	}
	return append(dst, "null"...)
}

// appendMembers appends the members of a struct to the object that begins at start.
func appendMembers(dst []byte, start int, ti *typeInfo, v reflect.Value) []byte {
	comma := func() {
		if len(dst) > start {
			dst = append(dst, ", "...)
		}
	}
	for i := range ti.fields {
		f := &ti.fields[i]
		fv := v.FieldByIndex(f.index)
		if f.pointer {
			if fv.IsNil() {
				continue
			}
			fv = fv.Elem()
		} else if f.optional && fv.IsZero() {
			continue
		}
		comma()
		dst = append(dst, f.prefix...)
		dst = appendValue(dst, f.typ, fv)
	}
	if ti.branch != nil {
		if b := v.FieldByIndex(ti.branch); !b.IsNil() {
			bv := reflect.Indirect(b.Elem())
			if bv.Kind() != reflect.Struct {
				panic(fmt.Sprintf("qmp: branch of %v holds a %v", ti.rt, b.Elem().Type()))
			}
			dst = appendMembers(dst, start, typeOf(bv.Type()), bv)
		}
	}
	if ti.rest != nil {
		rest := v.FieldByIndex(ti.rest)
		if ti.restKind != reflect.Pointer {
			o := rest.Interface().(Object)
			rest = reflect.ValueOf(&o)
		}
		for _, m := range rest.Interface().(*Object).Members() {
			comma()
			dst = qjson.AppendString(dst, m.Name)
			dst = appendAny(append(dst, ": "...), m.Value)
		}
	}
	return dst
}
