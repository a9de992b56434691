package object

import (
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"sync"

	"govmd/internal/option"
	"govmd/internal/qmp"
	"govmd/internal/qmp/qjson"
)

// Options says what object to create: the arguments of object-add, -object and
// object_add. Its branch is made from the type's properties.
type Options struct {
	Type   string `qmp:"qom-type"`
	ID     string `qmp:"id"`
	Branch any    `qmp:",branch"`
}

// QMPUnion implements qmp.Unioner.
func (Options) QMPUnion() *qmp.Union { return optionsUnion() }

// Refuse has creating an object of the named type fail with a reason: a type
// that others have and this program has not. It is called from init functions.
func Refuse(name, why string) { refused[name] = why }

var refused = map[string]string{}

// optionsUnion has a branch for each type that users can create objects of.
var optionsUnion = sync.OnceValue(func() *qmp.Union {
	u := qmp.NewUnion("ObjectOptions", "qom-type")
	for _, t := range Creatable() {
		u.AddType(t.Name, optionsType(t))
	}
	for name, why := range refused {
		u.Refuse(name, why)
	}
	return u
})

// Creatable lists the types that users can create objects of, devices aside.
func Creatable() []*Type {
	return Types(func(t *Type) bool { return t.creatable() && !t.Abstract })
}

// configurable returns the properties that an object is created with.
func configurable(t *Type) []Property {
	var list []Property
	for _, p := range t.Unique() {
		if p.Set != nil && p.When != Never && p.Go != nil {
			list = append(list, p)
		}
	}
	return list
}

// optionsType makes the struct that holds the options of a type: field i is that
// of property i, a pointer unless the property is mandatory.
func optionsType(t *Type) reflect.Type {
	var fields []reflect.StructField
	for i, p := range configurable(t) {
		f := reflect.StructField{Name: "F" + strconv.Itoa(i), Type: p.Go, Tag: memberTag(p.Name)}
		if !p.Mandatory {
			f.Type = reflect.PointerTo(p.Go)
		}
		fields = append(fields, f)
	}
	return reflect.StructOf(fields)
}

func memberTag(name string) reflect.StructTag {
	return reflect.StructTag(`qmp:` + strconv.Quote(name))
}

// setOptions gives o the properties that its options have.
func setOptions(o Object, branch any) error {
	v := reflect.Indirect(reflect.ValueOf(branch))
	for i, p := range configurable(o.Obj().Type()) {
		f := v.Field(i)
		if f.Kind() == reflect.Pointer {
			if f.IsNil() {
				continue
			}
			f = f.Elem()
		}
		if err := p.Set(o, settableValue(f)); err != nil {
			return err
		}
	}
	return nil
}

// settableValue is a decoded value as Property.Set takes it.
func settableValue(v reflect.Value) any {
	switch {
	case v.Kind() == reflect.Bool:
		return v.Bool()
	case v.CanInt():
		return v.Int()
	case v.CanUint():
		return v.Uint()
	case v.Kind() == reflect.String:
		return v.String()
	}
	return v.Interface()
}

// decodeMember decodes v, a value as qmp.ToAny makes it, as the member name of
// an object, so that errors speak of it by that name.
func decodeMember(name string, t reflect.Type, v any) (reflect.Value, error) {
	var holder qmp.Object
	holder.Add(name, v)
	doc, err := qjson.Parse(qmp.Append(nil, &holder))
	if err != nil {
		return reflect.Value{}, fmt.Errorf("Parameter '%s' cannot be understood: %w", name, err)
	}
	dst := reflect.New(reflect.StructOf([]reflect.StructField{{Name: "V", Type: t, Tag: memberTag(name)}})).Elem()
	if err := qmp.DecodeInto(doc.Root(), qmp.JSON, dst); err != nil {
		return reflect.Value{}, err
	}
	return dst.Field(0), nil
}

// maxRange bounds the elements of a range of integers in option text.
const maxRange = 65536

// ParseOption reads the text of an -object option: JSON or key=value. Lists of
// integers can be given as ranges and by repeating the key (host-nodes=0-1,host-nodes=3),
// beside the form that all lists have (host-nodes.0=0).
func ParseOption(text string) (option.Keyval, error) {
	if !strings.HasPrefix(text, "{") {
		expanded, err := expandLists(text)
		if err != nil {
			return option.Keyval{}, err
		}
		text = expanded
	}
	return option.ParseValue(text, "qom-type")
}

func expandLists(text string) (string, error) {
	list := option.Parse(text, "qom-type")
	name, _ := list.Get("qom-type")
	t := Lookup(name)
	if t == nil || t.IsA("device") {
		return text, nil
	}
	isList := map[string]bool{}
	for _, p := range configurable(t) {
		if p.Go.Kind() == reflect.Slice && reflect.Zero(p.Go.Elem()).CanUint() {
			isList[p.Name] = true
		}
	}
	next := map[string]int{}
	var out option.List
	for _, it := range list {
		if !isList[it.Key] {
			out = append(out, it)
			continue
		}
		first, last, err := intRange(it.Value)
		if err != nil {
			return "", fmt.Errorf("Parameter '%s' expects an integer or a range of integers: %w", it.Key, err)
		}
		for n := first; n <= last; n++ {
			out = append(out, option.Item{Key: it.Key + "." + strconv.Itoa(next[it.Key]), Value: strconv.FormatUint(n, 10)})
			next[it.Key]++
		}
	}
	if len(next) == 0 {
		return text, nil
	}
	return out.String(), nil
}

func intRange(text string) (first, last uint64, err error) {
	from, to, isRange := strings.Cut(text, "-")
	if first, err = option.ParseUint(from); err != nil {
		return 0, 0, err
	}
	if last = first; isRange {
		if last, err = option.ParseUint(to); err != nil {
			return 0, 0, err
		}
	}
	if last < first || last-first >= maxRange {
		return 0, 0, errors.New("the range is empty or too long")
	}
	return first, last, nil
}
