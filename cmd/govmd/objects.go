package main

import (
	"fmt"
	"maps"
	"slices"

	"govmd/internal/object"
	"govmd/internal/option"
	"govmd/internal/qmp/qjson"
)

// makeObjects creates what -object names.
func (v *vm) makeObjects() error {
	for _, o := range v.setup.objects {
		if err := v.makeObject(o.Keyval); err != nil {
			return &usageError{o.given, err}
		}
	}
	return nil
}

func (v *vm) makeObject(kv option.Keyval) error {
	root := kv.Doc.Root()
	var words [2]string
	for i, name := range []string{"qom-type", "id"} {
		m := root.Get(name)
		if !m.Exists() {
			return fmt.Errorf("Parameter '%s' is missing", name)
		}
		if m.Kind() != qjson.String {
			return fmt.Errorf("Invalid parameter type for '%s', expected: string", name)
		}
		words[i] = m.Text()
	}
	t, err := objectType(words[0])
	if err != nil {
		return err
	}
	id := words[1]
	if err := option.CheckID("id", id); err != nil {
		return err
	}
	if v.objects.Child(id) != nil {
		return fmt.Errorf("Duplicate ID '%s' for object", id)
	}
	o, err := object.New(t.Name)
	if err != nil {
		return err
	}
	if err := setProperties(o, kv); err != nil {
		return err
	}
	if c, ok := o.(interface{ Complete() error }); ok {
		if err := c.Complete(); err != nil {
			return err
		}
	}
	if err := object.Add(&v.objects, o, id); err != nil {
		return err
	}
	o.Obj().Freeze()
	return nil
}

func setProperties(o object.Object, kv option.Keyval) error {
	for m := kv.Doc.Root().First(); m.Exists(); m = m.Next() {
		name := string(m.Key())
		if name == "qom-type" || name == "id" {
			continue
		}
		var err error
		if m.Kind() == qjson.String && !kv.JSON {
			err = object.SetText(o, name, m.Text())
		} else {
			err = object.Set(o, name, scalar(m))
		}
		if err != nil {
			return fmt.Errorf("%w%s", err, propertyHint(o, name))
		}
	}
	return nil
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
