package qmp

import (
	"fmt"
	"reflect"
	"slices"
	"sync"
)

// Union is a set of branches: what further members an object has, by the value
// of one of its members, the discriminator. The struct has a method QMPUnion
// that returns it, a string member of the discriminator's name, and a field
//
//	Branch any `qmp:",branch"`
//
// which is set to a pointer to the branch's struct:
//
//	var Drivers = qmp.NewUnion("BlockdevOptions", "driver")
//
//	func init() { qmp.AddBranch[QcowOptions](Drivers, "qcow2") }
//
// Branches are registered when the program starts, by whoever implements them.
type Union struct {
	name, discriminator string

	mu       sync.RWMutex
	branches map[string]reflect.Type
	values   []string
	refused  map[string]string // why there is no branch, by value
	implied  string            // value of option text that leaves the discriminator out, or ""
}

// Unioner is implemented by structs that have a union.
type Unioner interface{ QMPUnion() *Union }

// NewUnion returns a union without branches. name is the type's in the schema.
func NewUnion(name, discriminator string) *Union {
	return &Union{name: name, discriminator: discriminator, branches: make(map[string]reflect.Type)}
}

// AddBranch registers the struct T as the branch for a value of the
// discriminator. It panics when there is one already.
func AddBranch[T any](u *Union, value string) { u.AddType(value, reflect.TypeFor[T]()) }

// AddType is AddBranch for a struct type that is made while the program runs.
func (u *Union) AddType(value string, t reflect.Type) {
	if t.Kind() != reflect.Struct {
		panic(fmt.Sprintf("qmp: branch %q of %s is no struct", value, u.name))
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	if _, dup := u.branches[value]; dup {
		panic(fmt.Sprintf("qmp: branch %q of %s is registered twice", value, u.name))
	}
	u.branches[value] = t
	i, _ := slices.BinarySearch(u.values, value)
	u.values = slices.Insert(u.values, i, value)
}

// Refuse has the error for a value without a branch say why there is none: the
// value is one that clients of others of this kind may try.
func (u *Union) Refuse(value, why string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.refused == nil {
		u.refused = make(map[string]string)
	}
	u.refused[value] = why
}

// Imply has option text that leaves the discriminator out read as if it said value;
// the member stays empty, which says so. JSON has to name it. It is called when the
// program starts.
func (u *Union) Imply(value string) { u.implied = value }

// noBranch is the error for a value of the discriminator that has no branch.
func (u *Union) noBranch(value string) error {
	u.mu.RLock()
	why, ok := u.refused[value]
	u.mu.RUnlock()
	if ok {
		return Errorf("Parameter '%s' does not accept value '%s': %s", u.discriminator, value, why)
	}
	return notAccepted(u.discriminator, value)
}

// Values returns the values of the discriminator that have a branch, sorted.
func (u *Union) Values() []string {
	u.mu.RLock()
	defer u.mu.RUnlock()
	return slices.Clone(u.values)
}

func (u *Union) branch(value []byte) (reflect.Type, bool) {
	u.mu.RLock()
	defer u.mu.RUnlock()
	t, ok := u.branches[string(value)]
	return t, ok
}

// Data is a branch whose members are within one member "data", as in unions of
// the old kind: {"type": "file", "data": {"out": "/tmp/x"}}.
type Data[T any] struct {
	Data T `qmp:"data"`
}

// Alternate is embedded in a struct of pointers, of which exactly one is set,
// according to the kind of the value:
//
//	type BlockdevRef struct {
//		qmp.Alternate
//		Definition *BlockdevOptions `qmp:"definition"`
//		Reference  *string          `qmp:"reference"`
//	}
type Alternate struct{}

// StrOrNull is a string or null.
type StrOrNull struct {
	Alternate
	S *string `qmp:"s"`
	N *Null   `qmp:"n"`
}

// Enum is implemented by string types that have a fixed set of values.
type Enum interface{ EnumValues() []string }
