package object

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"

	"govmd/internal/lane"
	"govmd/internal/option"
	"govmd/internal/qmp"
)

// Completer is an object that does something once all its properties are set:
// it checks them together, opens a file, starts a thread. After an error nothing
// of that may be left. others are the objects that it can refer to.
type Completer interface {
	Complete(others *Collection) error
}

// Finisher is an object whose completion ends in something that takes long, and
// needs no lane: it follows Complete. After an error the object goes.
type Finisher interface {
	// Finish returns nil at once where there is nothing to do.
	Finish() error
	// Finishing reports whether there is something to do.
	Finishing() bool
}

// Closer is an object that has something to give back when it goes.
type Closer interface{ Close() }

// Collection is a machine's user-created objects, /objects in its tree. It is used on
// the control lane.
type Collection struct {
	Node
	// Lane is where the collection is used. With it object-add keeps nobody but its
	// issuer waiting for an object that is long in the making.
	Lane *lane.Lane

	services map[reflect.Type]any
	making   sync.WaitGroup // objects that finish off the lane
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
	x, err := s.create(o)
	if err != nil {
		return err
	}
	return s.Insert(x, o.ID)
}

// AddLater is Add for a command: done is called, on the lane, when the object is
// complete.
func (s *Collection) AddLater(o *Options, done func(error)) {
	x, err := s.create(o)
	if err == nil {
		err = s.begin(x, o.ID)
	}
	f, ok := x.(Finisher)
	if err != nil || !ok || !f.Finishing() || s.Lane == nil {
		if err == nil {
			err = s.finish(x)
		}
		done(err)
		return
	}
	x.Obj().Freeze()
	release := Use(x, "object-add, which is making it")
	s.making.Go(func() {
		err := f.Finish()
		s.Lane.Post(func() {
			release()
			if err != nil && x.Obj().parent != nil { // else the collection has been closed
				s.Drop(x)
			}
			done(err)
		})
	})
}

// create makes an object that is in no tree yet.
func (s *Collection) create(o *Options) (Object, error) {
	if !option.ValidID(o.ID) {
		return nil, qmp.InvalidValue("id", "an identifier")
	}
	x, err := New(o.Type)
	if err != nil {
		return nil, err
	}
	return x, setOptions(x, o.Branch)
}

// Insert completes an object whose properties are set and adds it.
func (s *Collection) Insert(o Object, id string) error {
	if err := s.begin(o, id); err != nil {
		return err
	}
	return s.finish(o)
}

// begin adds an object and completes it but for what takes long.
func (s *Collection) begin(o Object, id string) error {
	if err := Add(s, o, id); err != nil {
		return err
	}
	if c, ok := o.(Completer); ok {
		if err := c.Complete(s); err != nil {
			Remove(o)
			return err
		}
	}
	return nil
}

func (s *Collection) finish(o Object) error {
	if f, ok := o.(Finisher); ok {
		if err := f.Finish(); err != nil {
			s.Drop(o)
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
	s.making.Wait()
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
		return none, fmt.Errorf("Object with id '%s' is not %s", id, article(what))
	}
	return x, nil
}

// article returns what with its article; there is none before a plural.
func article(what string) string {
	switch {
	case strings.HasSuffix(what, "s"):
		return what
	case strings.ContainsRune("aeiou", rune(what[0])):
		return "an " + what
	}
	return "a " + what
}
