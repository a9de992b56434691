package object

import (
	"errors"
	"fmt"
	"math"
	"reflect"

	"govmd/internal/option"
	"govmd/internal/qmp"
)

// When says during which part of an object's life a property may be set.
type When int

// The times at which a property can be set.
const (
	BeforeRealize When = iota // the usual: configuration
	Always                    // may be changed while the object is in use
	Never                     // read-only
)

// Property is a named, typed value of an object. The constructors below make
// the common kinds.
type Property struct {
	Name        string
	Type        string // as QEMU names it: "bool", "uint32", "str", "size", "OnOffAuto"
	Description string
	Default     any // applied at creation; nil for none
	When        When
	// Go is the type of values as clients see them (package qmp): Bool has bool,
	// Size has qmp.Size. Nil for what object-add does not take.
	Go reflect.Type
	// Mandatory properties have to be given when an object is created.
	Mandatory bool
	// TooLate is the error for setting the property when that is not possible any
	// more; "" for the usual one.
	TooLate string
	// Parse turns option text ("4k", "on") into a value for Set.
	Parse func(text string) (any, error)
	Get   func(Object) any
	// Set takes a bool, int64, uint64, float64 or string as the property's
	// type wants it, or whatever Parse returns. Nil for read-only properties.
	Set func(Object, any) error
}

// TypeError is a value of the wrong kind for a property or parameter.
type TypeError struct {
	Name     string // of the property
	Expected string // what it takes: "boolean", "string", "uint32"
	Range    bool   // the kind was right, the value out of range
}

func (e *TypeError) Error() string {
	if e.Range {
		return fmt.Sprintf("Parameter '%s' expects %s", e.Name, e.Expected)
	}
	return fmt.Sprintf("Invalid parameter type for '%s', expected: %s", e.Name, e.Expected)
}

// Bool is an on/off property.
func Bool[T Object](name string, field func(T) *bool, def bool, desc string) Property {
	return Property{
		Name: name, Type: "bool", Description: desc, Default: def, Go: reflect.TypeFor[bool](),
		Parse: func(s string) (any, error) {
			v, err := option.ParseBool(s)
			if err != nil {
				return nil, &TypeError{name, "'on' or 'off'", true}
			}
			return v, nil
		},
		Get: func(o Object) any { return *field(o.(T)) },
		Set: func(o Object, v any) error {
			b, ok := v.(bool)
			if !ok {
				return &TypeError{Name: name, Expected: "boolean"}
			}
			*field(o.(T)) = b
			return nil
		},
	}
}

type integer interface {
	~int8 | ~int16 | ~int32 | ~int64 | ~uint8 | ~uint16 | ~uint32 | ~uint64
}

// Int is an integer property; its QEMU type name follows from the Go type.
func Int[T Object, I integer](name string, field func(T) *I, def I, desc string) Property {
	bits, signed := intShape[I]()
	kind := fmt.Sprintf("int%d", bits)
	if !signed {
		kind = "u" + kind
	}
	return Property{
		Name: name, Type: kind, Description: desc, Default: toWide(def), Go: reflect.TypeFor[I](),
		Parse: func(s string) (any, error) {
			var v any
			var err error
			if signed {
				v, err = option.ParseInt(s)
			} else {
				v, err = option.ParseUint(s)
			}
			switch {
			case errors.Is(err, option.ErrRange):
				return nil, &TypeError{name, kind + "_t", true}
			case err != nil:
				return nil, &TypeError{name, "integer", true}
			}
			return v, nil
		},
		Get: func(o Object) any { return toWide(*field(o.(T))) },
		Set: func(o Object, v any) error {
			i, err := fromAny[I](name, kind, v)
			if err != nil {
				return err
			}
			*field(o.(T)) = i
			return nil
		},
	}
}

// Size is a byte count; its text form takes suffixes ("4k", "1.5G").
func Size[T Object](name string, field func(T) *uint64, def uint64, desc string) Property {
	p := Int(name, field, def, desc)
	p.Type, p.Go = "size", reflect.TypeFor[qmp.Size]()
	p.Parse = func(s string) (any, error) {
		v, err := option.ParseSize(s)
		if err != nil {
			return nil, &TypeError{name, "size", true}
		}
		return v, nil
	}
	return p
}

// Str is a string property.
func Str[T Object](name string, field func(T) *string, def string, desc string) Property {
	return Property{
		Name: name, Type: "str", Description: desc, Default: def, Go: reflect.TypeFor[string](),
		Parse: func(s string) (any, error) { return s, nil },
		Get:   func(o Object) any { return *field(o.(T)) },
		Set: func(o Object, v any) error {
			s, ok := v.(string)
			if !ok {
				return &TypeError{Name: name, Expected: "string"}
			}
			*field(o.(T)) = s
			return nil
		},
	}
}

// Link is a string property that names a back end of the given kind: a
// "chardev", "netdev", "drive" or "link<TYPE>". The device resolves it when it
// is realized.
func Link[T Object](name, kind string, field func(T) *string, desc string) Property {
	p := Str(name, field, "", desc)
	p.Type = kind
	return p
}

// Enum is a property that takes one of a fixed set of words; kind is QEMU's
// name of the enumeration.
func Enum[T Object, S ~string](name, kind string, values []S, field func(T) *S, def S, desc string) Property {
	goType := reflect.TypeFor[S]()
	if _, ok := any(def).(qmp.Enum); !ok {
		goType = reflect.TypeFor[string]()
	}
	return Property{
		Name: name, Type: kind, Description: desc, Default: string(def), Go: goType,
		Parse: func(s string) (any, error) { return s, nil },
		Get:   func(o Object) any { return string(*field(o.(T))) },
		Set: func(o Object, v any) error {
			s, ok := v.(string)
			if !ok {
				return &TypeError{Name: name, Expected: "string"}
			}
			for _, w := range values {
				if string(w) == s {
					*field(o.(T)) = w
					return nil
				}
			}
			return fmt.Errorf("Parameter '%s' does not accept value '%s'", name, s)
		},
	}
}

// OnOffAuto is the value of a property that may be left to the program.
type OnOffAuto string

// The values of OnOffAuto.
const (
	Auto OnOffAuto = "auto"
	On   OnOffAuto = "on"
	Off  OnOffAuto = "off"
)

// Tristate is an on/off/auto property.
func Tristate[T Object](name string, field func(T) *OnOffAuto, def OnOffAuto, desc string) Property {
	return Enum(name, "OnOffAuto", []OnOffAuto{Auto, On, Off}, field, def, desc)
}

// Bit is an on/off property that is one bit of a feature word.
func Bit[T Object](name string, field func(T) *uint64, bit uint, def bool, desc string) Property {
	p := Bool[T](name, nil, def, desc)
	p.Get = func(o Object) any { return *field(o.(T))>>bit&1 != 0 }
	p.Set = func(o Object, v any) error {
		b, ok := v.(bool)
		if !ok {
			return &TypeError{Name: name, Expected: "boolean"}
		}
		w := field(o.(T))
		*w &^= 1 << bit
		if b {
			*w |= 1 << bit
		}
		return nil
	}
	return p
}

// Getter is a read-only property computed on demand.
func Getter[T Object](name, kind string, get func(T) any, desc string) Property {
	return Property{
		Name: name, Type: kind, Description: desc, When: Never,
		Get: func(o Object) any { return get(o.(T)) },
	}
}

// Value is a property whose values are of V, any type that can take part in the
// protocol (package qmp): a list, an object. Option text cannot express it.
// set, when not nil, takes the place of assignment.
func Value[T Object, V any](name, kind string, field func(T) *V, set func(T, V) error, desc string) Property {
	goType := reflect.TypeFor[V]()
	if set == nil {
		set = func(o T, v V) error {
			*field(o) = v
			return nil
		}
	}
	return Property{
		Name: name, Type: kind, Description: desc, Go: goType,
		Parse: func(s string) (any, error) { return s, nil },
		Get:   func(o Object) any { return *field(o.(T)) },
		Set: func(o Object, v any) error {
			if v, ok := v.(V); ok {
				return set(o.(T), v)
			}
			decoded, err := decodeMember(name, goType, v)
			if err != nil {
				return err
			}
			return set(o.(T), decoded.Interface().(V))
		},
	}
}

// As returns p with another name for its type, as clients are told it.
func As(kind string, p Property) Property {
	p.Type = kind
	return p
}

// Mandatory returns p as a property without which no object is created.
func Mandatory(p Property) Property {
	p.Mandatory, p.Default = true, nil
	return p
}

// Live returns p as a property that may be changed while the object is in use.
// changed, when not nil, is called after each change.
func Live(p Property, changed func(Object) error) Property {
	p.When = Always
	set := p.Set
	p.Set = func(o Object, v any) error {
		if err := set(o, v); err != nil || changed == nil {
			return err
		}
		return changed(o)
	}
	return p
}

func intShape[I integer]() (bits int, signed bool) {
	var zero I
	signed = zero-1 < 0
	for v := I(1); v != 0; v <<= 1 {
		bits++
	}
	return bits, signed
}

func toWide[I integer](v I) any {
	if _, signed := intShape[I](); signed {
		return int64(v)
	}
	return uint64(v)
}

func fromAny[I integer](name, kind string, v any) (I, error) {
	var i I
	rangeErr := &TypeError{name, kind + "_t", true}
	switch v := v.(type) {
	case int:
		return fromAny[I](name, kind, int64(v))
	case int64:
		i = I(v)
		if int64(i) != v || (v < 0) != (i < 0) {
			return 0, rangeErr
		}
	case uint64:
		i = I(v)
		if uint64(i) != v || i < 0 {
			return 0, rangeErr
		}
	case float64:
		if v != math.Trunc(v) || math.Abs(v) >= 1<<53 {
			return 0, rangeErr
		}
		return fromAny[I](name, kind, int64(v))
	default:
		return 0, &TypeError{Name: name, Expected: "integer"}
	}
	return i, nil
}
