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
}

// Unioner is implemented by structs that have a union.
type Unioner interface{ QMPUnion() *Union }

// NewUnion returns a union without branches. name is the type's in the schema.
func NewUnion(name, discriminator string) *Union {
	return &Union{name: name, discriminator: discriminator, branches: make(map[string]reflect.Type)}
}

// AddBranch registers the struct T as the branch for a value of the
// discriminator. It panics when there is one already.
func AddBranch[T any](u *Union, value string) {
	t := reflect.TypeFor[T]()
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
