package block

import (
	"context"
	"fmt"
	"slices"

	"govmd/internal/qmp"
)

// Type is a kind of driver. Packages register theirs in init.
type Type struct {
	Name string

	// Open opens an image. a.Opts is a pointer to the branch that was registered.
	// It opens its children through a.
	Open func(a *OpenArgs) (Driver, error)

	// Protocol is set when the driver reaches storage itself and has no child "file".
	Protocol bool
	// Filter is set when it shows the data of its child unchanged.
	Filter bool
	// Backing is set when it supports a backing file, the child "backing".
	Backing bool

	// Probe says how likely the head of an image is of this format, 0 to 100;
	// head may be short. Nil for what is never probed.
	Probe func(head []byte, filename string) int
	// Prefixes are those of file names that the protocol serves ("nbd" for
	// "nbd:…"). ParseName turns such a name into options (without "driver"); nil
	// when it is the value of "filename" as it stands, without the prefix if StripPrefix.
	Prefixes    []string
	StripPrefix bool
	ParseName   func(name string) (*qmp.Object, error)
	// HostDevice reports whether the protocol, rather than "file", serves a name
	// without a prefix (host_device for a block device); a score as of Probe.
	HostDevice func(name string) int

	// Create makes an image; opts is a pointer to the branch that was registered
	// with CreateOptions. Nil when images cannot be made.
	Create func(ctx context.Context, g *Graph, opts any) error
	// AmendKeys are what an existing image can be given: its driver
	// is an Amender, and takes options of creation, or what DecodeAmend returns.
	AmendKeys []string
	// DecodeAmend decodes options that are not creation's; it returns nil when keys are.
	// Nil for formats that have none.
	DecodeAmend func(keys *qmp.Object, mode qmp.Mode) (opts any, err error)
	// Measure returns how large an image with these options of creation, of which the
	// file and the size do not count, would be: one of size bytes, with what src shows
	// if that is not nil. Nil when that cannot be said.
	Measure func(opts any, size int64, src *Node) (Measured, error)
	// PlainFile is set when an image is made by making a file of its size.
	PlainFile bool
	// CreateKeys describes what -o takes for the format. With dashes in place of
	// underscores they are the members of the creation's options; CreateFixup, if
	// not nil, changes what is called something else there.
	CreateKeys  []CreateKey
	CreateFixup func(opts *qmp.Object) error
}

// CreateKey is an option that an image can be created with, as -o takes it.
type CreateKey struct{ Name, Type, Help, Default string }

var (
	types = map[string]*Type{}
	names []string
)

// optionsUnion is the union of what a node can be opened with; drivers add
// their branches with Register.
var optionsUnion = qmp.NewUnion("BlockdevOptions", "driver")

// createUnion is what blockdev-create takes.
var createUnion = qmp.NewUnion("BlockdevCreateOptions", "driver")

// Register makes a type of driver known, with the options T as its branch of
// BlockdevOptions. It is called from init.
func Register[T any](t *Type) {
	if types[t.Name] != nil {
		panic(fmt.Sprintf("block: driver %q is registered twice", t.Name))
	}
	types[t.Name] = t
	names = append(names, t.Name)
	slices.Sort(names)
	qmp.AddBranch[T](optionsUnion, t.Name)
}

// RegisterCreate adds a branch to what blockdev-create takes.
func RegisterCreate[T any](driver string) { qmp.AddBranch[T](createUnion, driver) }

// TypeOf returns the type of driver of that name, or nil.
func TypeOf(name string) *Type { return types[name] }

// TypeNames returns the names of all drivers, sorted.
func TypeNames() []string { return slices.Clone(names) }
