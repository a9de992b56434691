package block

import (
	"reflect"

	"govmd/internal/qmp"
)

// Options says how to open a node: the type BlockdevOptions of the protocol.
type Options struct {
	Driver       string            `qmp:"driver"`
	NodeName     *string           `qmp:"node-name"`
	Discard      *DiscardMode      `qmp:"discard"`
	Cache        *CacheOptions     `qmp:"cache"`
	ReadOnly     *bool             `qmp:"read-only"`
	AutoReadOnly *bool             `qmp:"auto-read-only"`
	ForceShare   *bool             `qmp:"force-share"`
	DetectZeroes *DetectZeroesMode `qmp:"detect-zeroes"`
	Branch       any               `qmp:",branch"`
}

// QMPUnion implements qmp.Unioner.
func (Options) QMPUnion() *qmp.Union { return optionsUnion }

// RefersToNodes reports whether the options name nodes that exist, somewhere in them.
func (o *Options) RefersToNodes() bool { return refers(reflect.ValueOf(o.Branch)) }

func refers(v reflect.Value) bool {
	switch v.Kind() {
	case reflect.Pointer, reflect.Interface:
		return !v.IsNil() && refers(v.Elem())
	case reflect.Slice:
		for i := range v.Len() {
			if refers(v.Index(i)) {
				return true
			}
		}
	case reflect.Struct:
		switch x := v.Interface().(type) {
		case Ref:
			return x.Reference != nil || x.Definition != nil && x.Definition.RefersToNodes()
		case RefOrNull:
			return x.Reference != nil || x.Definition != nil && x.Definition.RefersToNodes()
		}
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() && refers(v.Field(i)) {
				return true
			}
		}
	}
	return false
}

// CreateOptions says what image blockdev-create makes.
type CreateOptions struct {
	Driver string `qmp:"driver"`
	Branch any    `qmp:",branch"`
}

// QMPUnion implements qmp.Unioner.
func (CreateOptions) QMPUnion() *qmp.Union { return createUnion }

// RefersToNodes reports whether the options name nodes that exist, somewhere in them.
func (o *CreateOptions) RefersToNodes() bool { return refers(reflect.ValueOf(o.Branch)) }

// CacheOptions are the cache modes of a node.
type CacheOptions struct {
	Direct  *bool `qmp:"direct"`
	NoFlush *bool `qmp:"no-flush"`
	// Writeback is a drive's, not a node's: only the old form of blockdev-add, which
	// made a drive, takes it.
	Writeback *bool `qmp:"writeback,legacy"`
}

// DiscardMode says what becomes of discards.
type DiscardMode string

// The discard modes.
const (
	DiscardIgnore DiscardMode = "ignore"
	DiscardUnmap  DiscardMode = "unmap"
)

// EnumValues implements qmp.Enum.
func (DiscardMode) EnumValues() []string { return []string{"ignore", "unmap"} }

// DetectZeroesMode says what becomes of writes of zeroes.
type DetectZeroesMode string

// The detect-zeroes modes.
const (
	DetectZeroesOff   DetectZeroesMode = "off"
	DetectZeroesOn    DetectZeroesMode = "on"
	DetectZeroesUnmap DetectZeroesMode = "unmap"
)

// EnumValues implements qmp.Enum.
func (DetectZeroesMode) EnumValues() []string { return []string{"off", "on", "unmap"} }

// Ref is a child: the name of a node, or how to open one.
type Ref struct {
	qmp.Alternate
	Definition *Options `qmp:"definition"`
	Reference  *string  `qmp:"reference"`
}

// RefOrNull is a backing file: null means that there is none, whatever the image says.
type RefOrNull struct {
	qmp.Alternate
	Definition *Options  `qmp:"definition"`
	Reference  *string   `qmp:"reference"`
	Null       *qmp.Null `qmp:"null"`
}

// GenericFormat are the options of a format with one file.
type GenericFormat struct {
	File Ref `qmp:"file"`
}

// GenericCOW are the options of a format with a file and a backing file.
type GenericCOW struct {
	GenericFormat
	Backing *RefOrNull `qmp:"backing"`
}

// NodeRef returns a reference to a node by name.
func NodeRef(name string) Ref { return Ref{Reference: &name} }

// DefRef returns a reference to a node that is to be opened.
func DefRef(o *Options) Ref { return Ref{Definition: o} }

// Settings are a node's generic options once defaults and what is inherited from
// the parent have been filled in.
type Settings struct {
	ReadOnly     bool
	AutoReadOnly bool // read-only if it cannot be written
	Direct       bool // cache.direct: past the host's page cache
	NoFlush      bool // cache.no-flush: flushes do nothing
	ForceShare   bool // take no locks
	Unmap        bool // discard=unmap
	DetectZeroes DetectZeroesMode
	NoIO         bool // only metadata will be asked for: open no data
	NoBacking    bool // open no backing file, whatever the image says
	CheckOnly    bool // for check and repair: open what is dirty or corrupt as it is
	LateKey      bool // encrypted images are opened without their key; Unlocking follows
}

// SetCacheMode sets what a cache mode of the command line ("none", "writeback", ...)
// stands for, and returns the rest of it: whether a drive's writes go through its
// cache. ok is false, and nothing is set, when there is no such mode.
func (s *Settings) SetCacheMode(mode string) (writethrough, ok bool) {
	switch mode {
	case "none", "off":
		s.Direct, s.NoFlush = true, false
	case "directsync":
		s.Direct, s.NoFlush, writethrough = true, false, true
	case "writeback":
		s.Direct, s.NoFlush = false, false
	case "writethrough":
		s.Direct, s.NoFlush, writethrough = false, false, true
	case "unsafe":
		s.Direct, s.NoFlush = false, true
	default:
		return false, false
	}
	return writethrough, true
}

// settings merges options over what is inherited.
func (o *Options) settings(s Settings) Settings {
	set := func(dst *bool, p *bool) {
		if p != nil {
			*dst = *p
		}
	}
	if o.Cache != nil {
		set(&s.Direct, o.Cache.Direct)
		set(&s.NoFlush, o.Cache.NoFlush)
	}
	set(&s.ReadOnly, o.ReadOnly)
	set(&s.AutoReadOnly, o.AutoReadOnly)
	set(&s.ForceShare, o.ForceShare)
	if o.Discard != nil {
		s.Unmap = *o.Discard == DiscardUnmap
	}
	if o.DetectZeroes != nil {
		s.DetectZeroes = *o.DetectZeroes
	}
	return s
}

// check refuses settings that contradict each other.
func (s Settings) check() error {
	if s.DetectZeroes == DetectZeroesUnmap && !s.Unmap {
		return Errorf(KindInvalid, "setting detect-zeroes to unmap is not allowed without setting discard operation to unmap")
	}
	return nil
}

// inherit returns what a child that is defined within its parent starts from.
func (s Settings) inherit(role Role) Settings {
	s.DetectZeroes, s.NoBacking = DetectZeroesOff, false
	if role&RoleCOW != 0 {
		// A backing file is read only, until something says that it must be written.
		s.ReadOnly, s.AutoReadOnly = true, false
		s.Unmap = false
		return s
	}
	if role&RoleFiltered == 0 || role&RoleMetadata != 0 {
		// The format decides what to give back; its file does as it is told.
		s.Unmap = true
	}
	return s
}
