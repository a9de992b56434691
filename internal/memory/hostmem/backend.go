// Package hostmem holds the objects that are guest memory: memory-backend-ram,
// memory-backend-file and memory-backend-memfd.
package hostmem

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"govmd/internal/fd"
	"govmd/internal/memory"
	"govmd/internal/object"
	"govmd/internal/qmp"
)

// Policy is how host-nodes are meant.
type Policy string

// The policies (mbind(2)).
const (
	Default    Policy = "default"
	Preferred  Policy = "preferred"
	Bind       Policy = "bind"
	Interleave Policy = "interleave"
)

// EnumValues lists the policies.
func (Policy) EnumValues() []string {
	return []string{string(Default), string(Preferred), string(Bind), string(Interleave)}
}

var modes = map[Policy]memory.PolicyMode{
	Default: memory.PolicyDefault, Preferred: memory.PolicyPreferred, Bind: memory.PolicyBind, Interleave: memory.PolicyInterleave,
}

// Defaults are what back ends are made with unless told otherwise, as the
// machine's options say. It is provided to a collection.
type Defaults struct{ Merge, Dump, Prealloc bool }

// Backend is a piece of memory that a guest can be given.
type Backend struct {
	object.Node
	kind kind

	size                  uint64
	merge, dump           *bool // nil: as Defaults say
	prealloc              *bool
	share, reserve        bool
	threads               uint32
	nodes                 []uint16
	policy                Policy
	path                  string
	align                 uint64
	discard, readOnly, pm bool
	hugeTLB, seal         bool
	hugeSize              uint64

	defaults Defaults
	block    *memory.Block
	files    *fd.Table // where file came from
	file     *fd.File  // what -add-fd or add-fd handed over, or nil
}

type kind int

const (
	ram kind = iota
	file
	memFD
)

// New returns a back end of the given size: anonymous memory, or, with a path,
// memory of the file or in the directory of that name.
func New(size uint64, path string) (*Backend, error) {
	name := "memory-backend-ram"
	if path != "" {
		name = "memory-backend-file"
	}
	o, err := object.New(name)
	if err != nil {
		return nil, err
	}
	b := o.(*Backend)
	b.size, b.path = size, path
	return b, nil
}

// SetThreads has that many threads allocate pages.
func (b *Backend) SetThreads(n int) { b.threads = uint32(n) }

// Block returns the memory.
func (b *Backend) Block() *memory.Block { return b.block }

// Size returns how many bytes there are, as asked for.
func (b *Backend) Size() uint64 { return b.size }

// Complete allocates the memory.
func (b *Backend) Complete(others *object.Collection) error {
	sys, ok := object.Service[*memory.System](others)
	if !ok {
		return qmp.Errorf("there is no machine for memory to be part of")
	}
	b.defaults, _ = object.Service[Defaults](others)
	b.files, _ = object.Service[*fd.Table](others)
	if err := b.check(); err != nil {
		return err
	}
	cfg, err := b.config()
	if err != nil {
		return err
	}
	if b.block, err = sys.NewBlock(cfg); err != nil {
		b.closeFile()
		return b.explain(err)
	}
	return nil
}

// Finishing reports whether all pages are to be allocated.
func (b *Backend) Finishing() bool { return b.preallocated() && !b.readOnly }

// Finish allocates them.
func (b *Backend) Finish() error {
	if !b.Finishing() {
		return nil
	}
	if err := b.block.Populate(int(b.threads)); err != nil {
		return b.explain(fmt.Errorf("cannot set up guest memory '%s': %w", b.Name(), err))
	}
	return nil
}

// Close gives the memory back.
func (b *Backend) Close() {
	if b.block == nil {
		return
	}
	if b.discard && b.share {
		_ = b.block.Discard(0, b.block.Size()) // what cannot be given back stays in the file
	}
	_ = b.block.Close() // nothing maps it any more
	b.closeFile()
	b.block = nil
}

func (b *Backend) closeFile() {
	if b.file != nil {
		_ = b.file.Close()
		b.file = nil
	}
}

func (b *Backend) check() error {
	switch {
	case b.size == 0:
		return qmp.Errorf("property 'size' of %s doesn't take value '0'", b.TypeName())
	case b.kind == file && b.path == "":
		return qmp.Errorf("mem-path property not set")
	case len(b.nodes) > 0 && b.policy == Default:
		return qmp.Errorf("host-nodes must be empty for policy default, or you should explicitly specify a policy other than default")
	case len(b.nodes) == 0 && b.policy != Default:
		return qmp.Errorf("host-nodes must be set for policy %s", b.policy)
	case !b.reserve && b.preallocated():
		return qmp.Errorf("'prealloc=on' and 'reserve=off' are incompatible")
	case b.pm:
		return qmp.Errorf("pmem=on is not supported: the file is not written through to persistent memory")
	case b.align%memory.PageSize != 0:
		return qmp.Errorf("alignment 0x%x must be multiples of page size 0x%x", b.align, memory.PageSize)
	case b.align&(b.align-1) != 0:
		return qmp.Errorf("alignment 0x%x must be a power of two", b.align)
	case b.hugeSize&(b.hugeSize-1) != 0:
		return qmp.Errorf("Hugepage size must be a power of 2")
	case b.hugeTLB && b.hugeSize > 0 && b.hugeSize <= memory.PageSize:
		return qmp.Errorf("the host has no hugepages of %d bytes", b.hugeSize)
	}
	return nil
}

func (b *Backend) preallocated() bool { return either(b.prealloc, b.defaults.Prealloc) }

func either(p *bool, def bool) bool {
	if p != nil {
		return *p
	}
	return def
}

// config says what the block is made of.
func (b *Backend) config() (memory.BlockConfig, error) {
	cfg := memory.BlockConfig{
		Name: b.Name(), Size: (b.size + memory.PageSize - 1) &^ (memory.PageSize - 1),
		Shared: b.share, NoReserve: !b.reserve,
		Merge: either(b.merge, b.defaults.Merge), Dump: either(b.dump, b.defaults.Dump), Align: b.align,
		Policy: memory.Policy{Mode: modes[b.policy], Nodes: b.nodes},
	}
	switch b.kind {
	case file:
		cfg.ReadOnly = b.readOnly
		if !fd.IsSet(b.path) {
			cfg.Path = b.path
			break
		}
		flags := os.O_RDWR
		if b.readOnly {
			flags = os.O_RDONLY
		}
		f, err := b.files.Open(b.path, flags, 0)
		if err != nil {
			return cfg, b.explain(err)
		}
		b.file, cfg.FD = f, int(rawFD(f))
	case memFD:
		cfg.NoSeal = !b.seal
		if b.hugeTLB {
			cfg.HugeTLB = b.hugeSize
			if cfg.HugeTLB == 0 {
				cfg.HugeTLB = defaultHugePage()
			}
			if b.size%cfg.HugeTLB != 0 {
				return cfg, qmp.Errorf("failed to resize memfd to %d: it is not a multiple of the hugepages' size, %d", b.size, cfg.HugeTLB)
			}
		}
	}
	return cfg, nil
}

// explain words an error as those who read it know it.
func (b *Backend) explain(err error) error {
	var path *fs.PathError
	var size *memory.SizeError
	var policy *memory.PolicyError
	switch {
	case errors.As(err, &path):
		return qmp.Errorf("can't open backing store %s for guest RAM: %s", b.path, qmp.Strerror(path.Err))
	case errors.As(err, &size):
		return qmp.Errorf("backing store size 0x%x does not match 'size' option 0x%x", size.Size, b.size)
	case errors.As(err, &policy):
		return qmp.Errorf("cannot bind memory to host NUMA nodes: %s", qmp.Strerror(policy.Err))
	}
	return err
}
