package object

import (
	"errors"
	"fmt"

	"govmd/internal/option"
)

// Property returns the object's property of that name.
func (n *Node) Property(name string) (Property, bool) {
	// The nearest type wins, so that a type can redefine what it inherits.
	list := n.Properties()
	for i := len(list) - 1; i >= 0; i-- {
		if list[i].Name == name {
			return list[i], true
		}
	}
	return Property{}, false
}

// NotFoundError says that an object has no property of that name.
type NotFoundError struct{ Type, Name string }

func (e *NotFoundError) Error() string {
	return fmt.Sprintf("Property '%s.%s' not found", e.Type, e.Name)
}

// Hint is the end of err's message for a person: if err is that o has no such
// property, the nearest that it has.
func Hint(o Object, err error) string {
	var e *NotFoundError
	if !errors.As(err, &e) {
		return ""
	}
	var names []string
	for _, p := range o.Obj().Properties() {
		names = append(names, p.Name)
	}
	return option.DidYouMean(e.Name, names)
}

func settable(o Object, name string) (Property, error) {
	n := o.Obj()
	p, ok := n.Property(name)
	switch {
	case !ok:
		return p, &NotFoundError{Type: n.TypeName(), Name: name}
	case p.Set == nil || p.When == Never:
		return p, fmt.Errorf("Property '%s.%s' is not writable", n.TypeName(), name)
	case n.frozen && p.When == BeforeRealize:
		return p, n.tooLate(p)
	}
	return p, nil
}

// tooLate is the error for a property that may not change any more.
func (n *Node) tooLate(p Property) error {
	switch {
	case p.TooLate != "":
		return errors.New(p.TooLate)
	case n.typ == nil || !n.typ.IsA("device"):
		return fmt.Errorf("Property '%s' can no longer be set", p.Name)
	}
	who := "anonymous device"
	if up := n.parent; up != nil && up.name == "peripheral" {
		who = "device '" + n.name + "'"
	}
	return fmt.Errorf("Attempt to set property '%s' on %s (type '%s') after it was realized", p.Name, who, n.TypeName())
}

// Set gives a property a typed value, as JSON has it.
func Set(o Object, name string, value any) error {
	p, err := settable(o, name)
	if err != nil {
		return err
	}
	return p.Set(o, value)
}

// SetText gives a property the value that option text means.
func SetText(o Object, name, text string) error {
	p, err := settable(o, name)
	if err != nil {
		return err
	}
	v, err := p.Parse(text)
	if err != nil {
		return err
	}
	return p.Set(o, v)
}

// Get returns the value of a property.
func Get(o Object, name string) (any, error) {
	p, ok := o.Obj().Property(name)
	if !ok {
		return nil, &NotFoundError{Type: o.Obj().TypeName(), Name: name}
	}
	if p.Get == nil {
		return nil, fmt.Errorf("Property '%s.%s' is not readable", o.Obj().TypeName(), name)
	}
	return p.Get(o), nil
}
