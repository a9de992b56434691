package object

import (
	"fmt"
	"reflect"
	"slices"

	"govmd/internal/option"
	"govmd/internal/qmp"
)

// Completer is an object that does something once all its properties are set:
// it checks them together, opens a file, starts a thread. After an error nothing
// of that may be left. others are the objects that it can refer to.
type Completer interface {
	Complete(others *Collection) error
}

// Closer is an object that has something to give back when it goes.
type Closer interface{ Close() }

// Collection is a machine's user-created objects, /objects in its tree. It is used on
// the control lane.
type Collection struct {
	Node
	services map[reflect.Type]any
}

// Provide makes a part of the program known to objects, which find it by its
// type: the guest's memory, for example.
func Provide[T any](s *Collection, service T) {
	if s.services == nil {
		s.services = map[reflect.Type]any{}
	}
	s.services[reflect.TypeFor[T]()] = service
}

// Service returns what was provided; ok is false when nothing was.
func Service[T any](s *Collection) (service T, ok bool) {
	service, ok = s.services[reflect.TypeFor[T]()].(T)
	return service, ok
}

// Find returns the object with that ID, or nil.
func (s *Collection) Find(id string) Object {
	if s == nil {
		return nil
	}
	return s.Child(id)
}

// Add creates an object.
func (s *Collection) Add(o *Options) error {
	if !option.ValidID(o.ID) {
		return qmp.InvalidValue("id", "an identifier")
	}
	x, err := New(o.Type)
	if err != nil {
		return err
	}
	if err := setOptions(x, o.Branch); err != nil {
		return err
	}
	return s.Insert(x, o.ID)
}

// Insert completes an object whose properties are set and adds it.
func (s *Collection) Insert(o Object, id string) error {
	if err := Add(s, o, id); err != nil {
		return err
	}
	if c, ok := o.(Completer); ok {
		if err := c.Complete(s); err != nil {
			Remove(o)
			return err
		}
	}
	o.Obj().Freeze()
	return nil
}

// Parse creates an object from option text, JSON or key=value.
func (s *Collection) Parse(text string) error {
	kv, err := ParseOption(text)
	if err != nil {
		return err
	}
	return s.AddKeyval(kv)
}

// AddKeyval creates an object from an option that has been read.
func (s *Collection) AddKeyval(kv option.Keyval) error {
	mode := qmp.Keyval
	if kv.JSON {
		mode = qmp.JSON
	}
	var o Options
	if err := qmp.Decode(kv.Doc.Root(), mode, &o); err != nil {
		return err
	}
	return s.Add(&o)
}

// Delete takes an object away. One that is in use stays.
func (s *Collection) Delete(id string) error {
	o := s.Child(id)
	if o == nil {
		return fmt.Errorf("object '%s' not found", id)
	}
	if by := o.Obj().Users(); by != "" {
		return fmt.Errorf("object '%s' is in use, can not be deleted: it is used by %s", id, by)
	}
	s.Drop(o)
	return nil
}

// Drop takes an object away, whoever uses it.
func (s *Collection) Drop(o Object) {
	if c, ok := o.(Closer); ok {
		c.Close()
	}
	Remove(o)
}

// Close takes all objects away, the last first: those that depend on others
// are younger.
func (s *Collection) Close() {
	for _, o := range slices.Backward(s.Children()) {
		s.Drop(o)
	}
}

// Find returns the object of type T with that ID. what says in errors what it
// should be: "secret".
func Find[T any](s *Collection, id, what string) (T, error) {
	var none T
	o := s.Find(id)
	if o == nil {
		return none, fmt.Errorf("No %s with id '%s'", what, id)
	}
	x, ok := o.(T)
	if !ok {
		return none, fmt.Errorf("Object with id '%s' is not a %s", id, what)
	}
	return x, nil
}
