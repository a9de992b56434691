package hostmem

import (
	"fmt"
	"reflect"

	"govmd/internal/memory"
	"govmd/internal/object"
	"govmd/internal/option"
	"govmd/internal/qmp"
)

const fixed = "cannot change property value"

// once is p as a property that may not change once there is memory.
func once(p object.Property) object.Property {
	p.TooLate = fixed
	return p
}

// layered is a switch whose default is one of Defaults; apply acts on memory
// that is there.
func layered(name string, field func(*Backend) **bool, def func(Defaults) bool, apply func(*Backend, bool) error, desc string) object.Property {
	return object.Property{
		Name: name, Type: "bool", Description: desc, When: object.Always, Go: reflect.TypeFor[bool](),
		Parse: func(s string) (any, error) {
			v, err := option.ParseBool(s)
			if err != nil {
				return nil, qmp.InvalidValue(name, "'on' or 'off'")
			}
			return v, nil
		},
		Get: func(o object.Object) any {
			b := o.(*Backend)
			return either(*field(b), def(b.defaults))
		},
		Set: func(o object.Object, v any) error {
			on, ok := v.(bool)
			if !ok {
				return &object.TypeError{Name: name, Expected: "boolean"}
			}
			b := o.(*Backend)
			if b.block != nil {
				if err := apply(b, on); err != nil {
					return err
				}
			}
			if b.block == nil || on || name != "prealloc" { // what is allocated stays so
				*field(b) = &on
			}
			return nil
		},
	}
}

func setPrealloc(b *Backend, on bool) error {
	switch {
	case !on || b.preallocated():
		return nil // what is there stays
	case !b.reserve:
		return qmp.Errorf("'prealloc=on' and 'reserve=off' are incompatible")
	}
	return b.block.Populate(int(b.threads))
}

// positive is p without 0.
func positive(p object.Property) object.Property {
	set := p.Set
	p.Set = func(o object.Object, v any) error {
		if v == uint64(0) && p.Default != uint64(0) || v == int64(0) {
			return fmt.Errorf("property '%s' of %s doesn't take value '0'", p.Name, o.Obj().TypeName())
		}
		return set(o, v)
	}
	return p
}

func sizeProperty() object.Property {
	p := object.Mandatory(object.As("int", object.Size("size", func(b *Backend) *uint64 { return &b.size }, 0, "Size of the memory region (ex: 500M)")))
	return positive(p)
}

func nodesProperty() object.Property {
	p := object.Value("host-nodes", "int", func(b *Backend) *[]uint16 { return &b.nodes }, func(b *Backend, list []uint16) error {
		for _, n := range list {
			if n >= memory.MaxNode {
				return fmt.Errorf("Invalid host-nodes value: %d", n)
			}
		}
		b.nodes = list
		return nil
	}, "Binds memory to the list of NUMA host nodes")
	return once(p)
}

func common() []object.Property {
	return []object.Property{
		layered("merge", func(b *Backend) **bool { return &b.merge }, func(d Defaults) bool { return d.Merge }, func(b *Backend, on bool) error {
			b.block.SetMerge(on)
			return nil
		}, "Mark memory as mergeable"),
		layered("dump", func(b *Backend) **bool { return &b.dump }, func(d Defaults) bool { return d.Dump }, func(b *Backend, on bool) error {
			b.block.SetDump(on)
			return nil
		}, "Set to 'off' to exclude from core dump"),
		layered("prealloc", func(b *Backend) **bool { return &b.prealloc }, func(d Defaults) bool { return d.Prealloc }, setPrealloc, "Preallocate memory"),
		once(positive(object.As("int", object.Int("prealloc-threads", func(b *Backend) *uint32 { return &b.threads }, 1, "Number of CPU threads to use for prealloc")))),
		nodesProperty(),
		once(object.Enum("policy", "HostMemPolicy", []Policy{Default, Preferred, Bind, Interleave},
			func(b *Backend) *Policy { return &b.policy }, Default, "Set the NUMA policy")),
		once(object.Bool("share", func(b *Backend) *bool { return &b.share }, false, "Mark the memory as private or shared")),
		once(object.Bool("reserve", func(b *Backend) *bool { return &b.reserve }, true, "Reserve swap space (or huge pages) if applicable")),
	}
}

func register(name string, k kind, share bool, desc string, props ...object.Property) {
	size := sizeProperty()
	size.TooLate = "cannot change property size of " + name + " "
	props = append([]object.Property{size}, props...)
	if share {
		props = append(props, once(object.Bool("share", func(b *Backend) *bool { return &b.share }, true, "Mark the memory as private or shared")))
	}
	object.Register(object.Type{
		Name: name, Parent: "memory-backend", UserCreatable: true, Description: desc, Props: props,
		New: func() object.Object { return &Backend{kind: k} },
	})
}

func init() {
	object.Register(object.Type{Name: "memory-backend", Abstract: true, Props: append(common(), sizeProperty())})
	register("memory-backend-ram", ram, false, "anonymous memory")
	register("memory-backend-file", file, false, "memory of a file, or in a directory of hugepages",
		object.Mandatory(once(object.As("string", object.Str("mem-path", func(b *Backend) *string { return &b.path }, "", "")))),
		once(object.As("int", object.Size("align", func(b *Backend) *uint64 { return &b.align }, 0, ""))),
		object.Live(object.Bool("discard-data", func(b *Backend) *bool { return &b.discard }, false, ""), nil),
		once(object.Bool("readonly", func(b *Backend) *bool { return &b.readOnly }, false, "")),
		once(object.Bool("pmem", func(b *Backend) *bool { return &b.pm }, false, "")))
	register("memory-backend-memfd", memFD, true, "anonymous memory that other processes can be given",
		once(object.Bool("hugetlb", func(b *Backend) *bool { return &b.hugeTLB }, false, "Use huge pages")),
		once(object.As("int", object.Size("hugetlbsize", func(b *Backend) *uint64 { return &b.hugeSize }, 0, "Huge pages size (ex: 2M, 1G)"))),
		once(object.Bool("seal", func(b *Backend) *bool { return &b.seal }, true, "Seal growing & shrinking")))
}
