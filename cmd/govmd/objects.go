package main

import (
	"context"
	"fmt"
	"slices"

	_ "govmd/internal/authz" // types of objects
	"govmd/internal/chardev"
	_ "govmd/internal/crypto"
	"govmd/internal/iothread"
	"govmd/internal/memory/hostmem"
	"govmd/internal/object"
	"govmd/internal/option"
	"govmd/internal/qmp"
	_ "govmd/internal/throttle"
)

// makeObjects creates what -object names.
func (v *vm) makeObjects() error {
	v.objects.Lane = v.lane
	v.cfg.ProvideMemory()
	object.Provide(&v.objects, &v.fds)
	v.onClose(func() { _ = v.lane.Do(context.Background(), v.objects.Close) })
	for _, o := range v.setup.objects {
		if id := o.Doc.Root().Get("id").Text(); v.objects.Find(id) != nil {
			return &usageError{o.given, fmt.Errorf("Duplicate ID '%s' for object", id)}
		}
		if err := v.objects.AddKeyval(o.Keyval); err != nil {
			return &usageError{o.given, objectHint(o, err)}
		}
	}
	return nil
}

// objectHint names the type or property that may have been meant.
func objectHint(o objectSetup, err error) error {
	name := o.Doc.Root().Get("qom-type").Text()
	t := object.Lookup(name)
	if t == nil {
		return fmt.Errorf("%w%s", err, nearObjectType(name))
	}
	var names []string
	for _, p := range t.Properties() {
		names = append(names, p.Name)
	}
	for m := o.Doc.Root().First(); m.Exists(); m = m.Next() {
		if key := string(m.Key()); !slices.Contains(names, key) && err.Error() == fmt.Sprintf("Parameter '%s' is unexpected", key) {
			return fmt.Errorf("%w%s", err, option.DidYouMean(key, names))
		}
	}
	return err
}

// objectCommands are the commands about objects and their tree.
func (v *vm) objectCommands() []qmp.Command {
	return slices.Concat(v.objects.Commands(v.machine.Root), iothread.Commands(&v.objects), hostmem.Commands(&v.objects))
}

// growTree puts what the machine does not own into its tree of objects.
func (v *vm) growTree(root *object.Node) error {
	root.Container("/backend")
	if err := object.Add(root, &v.objects, "objects"); err != nil {
		return err
	}
	return object.Add(root, &chardevTree{devs: &v.chardevs}, "chardevs")
}

// chardevTree is /chardevs.
type chardevTree struct {
	object.Node
	devs *chardev.Registry
}

// ListChildren implements object.Lister.
func (t *chardevTree) ListChildren() (list []object.Object) {
	for _, c := range t.devs.All() {
		n := object.Made(c.ID(), chardevType(c))
		list = append(list, &n)
	}
	return list
}

// chardevType is the type of a character device, by what it says of itself.
func chardevType(c *chardev.Chardev) *object.Type {
	return &object.Type{Name: "chardev-" + c.Kind(), Parent: "chardev"}
}
