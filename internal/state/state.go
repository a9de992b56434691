// Package state keeps what a machine saves: who has state, in which order it is
// saved and loaded, and how it is encoded.
//
// Saved state belongs to whoever registers it: devices, vCPUs, clocks, RAM. The
// Go types of saved state are kept apart from run-time types: they are plain
// structs whose exported fields (renamed by `cbor:"name"`) are the format.
//
// Compatibility: an entry is encoded as a CBOR map keyed by field name. Fields
// may be added at any time; New must return the value that an old state, which
// lacks the field, means. A field is never given another meaning. Removing or
// changing one needs a new Version, and Load gets the version that was saved.
// A field that the loader does not know is refused, unless the saved type
// marks it as ignorable.
package state

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"sort"
	"sync"

	"github.com/fxamacker/cbor/v2"
)

// Priorities of entries: what is loaded earlier has the higher number.
const (
	PriorityDefault = 0
	PriorityBus     = 100 // buses and bridges, before the devices behind them
	PriorityIRQ     = 200 // interrupt controllers, before the devices that drive them
	PriorityClock   = 300 // clocks, before the timers on them
	PriorityRAM     = 400
	PriorityLast    = -100 // vCPUs: they depend on all else
)

// Entry is one saved thing. Save and Load run on the control lane while the
// machine is stopped, with no device's lock held.
type Entry struct {
	ID         string // unique and stable: the canonical path of its owner, and a part of it
	Version    int    // of the format that Save writes, from 1
	MinVersion int    // oldest that Load takes; 0 means Version
	Priority   int
	// Save returns the saved form: a struct or a pointer to one. It must not
	// share memory that changes later.
	Save func() (any, error)
	// New returns a pointer to a saved form that holds the defaults of fields
	// which an older state may lack.
	New func() any
	// Load applies what was decoded into New's value. It treats it as hostile.
	Load func(v any, version int) error
	// PostLoad, when not nil, runs after all entries are loaded, in load order.
	PostLoad func() error
	// Subsections are parts that are saved only when needed, so that a state
	// which does not need them stays loadable by those who do not know them. What
	// an absent one holds is as a reset, or Load, leaves it.
	Subsections []Subsection
}

// Subsection is an optional part of an entry.
type Subsection struct {
	Name   string
	Needed func() bool
	Save   func() (any, error)
	New    func() any
	Load   func(v any) error
}

// Of makes an entry of a saved type S; New returns a zero S.
func Of[S any](id string, version int, save func() S, load func(*S) error) Entry {
	return Entry{
		ID: id, Version: version,
		Save: func() (any, error) { return save(), nil },
		New:  func() any { return new(S) },
		Load: func(v any, _ int) error { return load(v.(*S)) },
	}
}

// Ignorable is implemented by the saved types of entries and subsections, not
// by those of their fields, that have had fields which a loader may drop without
// harm.
type Ignorable interface {
	IgnorableFields() []string
}

// Iterative is an entry whose bulk is sent while the machine still runs, as RAM
// is. Its methods run on the migration's goroutine, except Complete, which runs
// on the lane with the machine stopped.
type Iterative interface {
	ID() string
	Begin(w Writer) error
	// Pending returns how many bytes are still to be sent.
	Pending() (uint64, error)
	// Round sends at most about limit bytes, and reports whether all is sent for now.
	Round(w Writer, limit uint64) (done bool, err error)
	Complete(w Writer) error
	// Cancel ends an attempt; it may be called at any time after Begin.
	Cancel()
	// LoadChunk applies one chunk that Round or Complete wrote.
	LoadChunk(chunk []byte) error
}

// Writer takes the chunks of an iterative entry.
type Writer interface {
	WriteChunk(chunk []byte) error
}

// Registry holds the entries of one machine. Its zero value is ready to use.
type Registry struct {
	mu        sync.Mutex
	entries   map[string]*Entry
	iterative map[string]Iterative
	order     []string // of registration, which breaks ties of priority
	blockers  []*blocker
}

type blocker struct{ reason error }

// Register adds an entry. The returned function removes it.
func (r *Registry) Register(e Entry) (remove func(), err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, dup := r.entries[e.ID]; dup {
		return nil, fmt.Errorf("saved state %q is registered twice", e.ID)
	}
	if r.entries == nil {
		r.entries = map[string]*Entry{}
	}
	r.entries[e.ID] = &e
	r.order = append(r.order, e.ID)
	return func() { r.remove(&e) }, nil
}

func (r *Registry) remove(e *Entry) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.entries[e.ID] != e {
		return // gone before, and the ID may be another's
	}
	delete(r.entries, e.ID)
	r.order = slices.DeleteFunc(r.order, func(id string) bool { return id == e.ID })
}

// RegisterIterative adds an iterative entry. The returned function removes it.
func (r *Registry) RegisterIterative(it Iterative) (remove func(), err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	id := it.ID()
	if _, dup := r.iterative[id]; dup {
		return nil, fmt.Errorf("iterative state %q is registered twice", id)
	}
	if r.iterative == nil {
		r.iterative = map[string]Iterative{}
	}
	r.iterative[id] = it
	return func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		if r.iterative[id] == it {
			delete(r.iterative, id)
		}
	}, nil
}

// Iteratives returns the iterative entries, sorted by ID.
func (r *Registry) Iteratives() []Iterative {
	r.mu.Lock()
	defer r.mu.Unlock()
	var list []Iterative
	for _, it := range r.iterative {
		list = append(list, it)
	}
	sort.Slice(list, func(i, j int) bool { return list[i].ID() < list[j].ID() })
	return list
}

// Block makes saving impossible until the returned function is called; reason
// says why and what to do about it.
func (r *Registry) Block(reason error) (unblock func()) {
	b := &blocker{reason}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.blockers = append(r.blockers, b)
	return func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.blockers = slices.DeleteFunc(r.blockers, func(x *blocker) bool { return x == b })
	}
}

// Blocked returns the reasons for which the machine cannot be saved, or nil.
func (r *Registry) Blocked() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	var errs []error
	for _, b := range r.blockers {
		errs = append(errs, b.reason)
	}
	return errors.Join(errs...)
}

// Saved is the encoded form of one entry.
type Saved struct {
	ID       string                     `cbor:"id"`
	Version  int                        `cbor:"version"`
	Data     cbor.RawMessage            `cbor:"data"`
	Sections map[string]cbor.RawMessage `cbor:"sections,omitempty"`
}

var (
	encoder = must(cbor.EncOptions{Sort: cbor.SortCoreDeterministic}.EncMode())
	// Sizes are bounded so that a hostile state cannot make the loader allocate
	// more than the state itself is long.
	strict = must(cbor.DecOptions{
		DupMapKey:         cbor.DupMapKeyEnforcedAPF,
		ExtraReturnErrors: cbor.ExtraDecErrorUnknownField,
		FieldNameMatching: cbor.FieldNameMatchingCaseSensitive,
		MaxNestedLevels:   32,
	}.DecMode())
)

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func (r *Registry) sorted() []*Entry {
	r.mu.Lock()
	defer r.mu.Unlock()
	list := make([]*Entry, 0, len(r.order))
	for _, id := range r.order {
		list = append(list, r.entries[id])
	}
	sort.SliceStable(list, func(i, j int) bool { return list[i].Priority > list[j].Priority })
	return list
}

// SaveAll encodes every one-shot entry, in load order. It runs on the lane with
// the machine stopped.
func (r *Registry) SaveAll() ([]Saved, error) {
	if err := r.Blocked(); err != nil {
		return nil, err
	}
	var out []Saved
	for _, e := range r.sorted() {
		s, err := e.save()
		if err != nil {
			return nil, fmt.Errorf("saving %s: %w", e.ID, err)
		}
		out = append(out, s)
	}
	return out, nil
}

func (e *Entry) save() (s Saved, err error) {
	s = Saved{ID: e.ID, Version: e.Version}
	if s.Data, err = encode(e.Save); err != nil {
		return s, err
	}
	traceSave.Emit(e.ID, len(s.Data))
	for _, sub := range e.Subsections {
		if sub.Needed != nil && !sub.Needed() {
			continue
		}
		data, err := encode(sub.Save)
		if err != nil {
			return s, fmt.Errorf("%s: %w", sub.Name, err)
		}
		if s.Sections == nil {
			s.Sections = map[string]cbor.RawMessage{}
		}
		s.Sections[sub.Name] = data
	}
	return s, nil
}

func encode(save func() (any, error)) ([]byte, error) {
	v, err := save()
	if err != nil {
		return nil, err
	}
	return encoder.Marshal(v)
}

// LoadAll applies a saved machine: every registered entry must be there and
// nothing else may be. It runs on the lane with the machine stopped and just
// reset; after an error the machine is in no usable state.
func (r *Registry) LoadAll(saved []Saved) error {
	byID := make(map[string]*Saved, len(saved))
	for i := range saved {
		if byID[saved[i].ID] != nil {
			return fmt.Errorf("saved state has %q twice", saved[i].ID)
		}
		byID[saved[i].ID] = &saved[i]
	}
	list := r.sorted()
	for _, e := range list {
		s := byID[e.ID]
		if s == nil {
			return fmt.Errorf("saved state lacks %q: was it made with the same options?", e.ID)
		}
		delete(byID, e.ID)
		if err := e.load(s); err != nil {
			return fmt.Errorf("loading %s: %w", e.ID, err)
		}
	}
	for i := range saved {
		if id := saved[i].ID; byID[id] != nil {
			return fmt.Errorf("saved state has %q, which this machine lacks: was it made with the same options?", id)
		}
	}
	for _, e := range list {
		if e.PostLoad == nil {
			continue
		}
		if err := e.PostLoad(); err != nil {
			return fmt.Errorf("after loading %s: %w", e.ID, err)
		}
	}
	return nil
}

func (e *Entry) load(s *Saved) error {
	oldest := e.MinVersion
	if oldest == 0 {
		oldest = e.Version
	}
	if s.Version > e.Version || s.Version < oldest {
		return fmt.Errorf("version %d is not supported (%d to %d are)", s.Version, oldest, e.Version)
	}
	traceLoad.Emit(e.ID, s.Version, len(s.Data))
	v := e.New()
	if err := Decode(s.Data, v); err != nil {
		return err
	}
	if err := e.Load(v, s.Version); err != nil {
		return err
	}
	left := len(s.Sections)
	for _, sub := range e.Subsections {
		data, ok := s.Sections[sub.Name]
		if !ok {
			continue
		}
		left--
		v := sub.New()
		if err := Decode(data, v); err != nil {
			return fmt.Errorf("%s: %w", sub.Name, err)
		}
		if err := sub.Load(v); err != nil {
			return fmt.Errorf("%s: %w", sub.Name, err)
		}
	}
	if left > 0 {
		return fmt.Errorf("it has subsections that are not known here")
	}
	return nil
}

// Encode returns the CBOR form of a saved value.
func Encode(v any) ([]byte, error) { return encoder.Marshal(v) }

// Decode reads the CBOR form into v, a pointer to a saved type that holds
// its defaults. Unknown fields are refused unless v says that they are ignorable.
func Decode(data []byte, v any) error {
	ig, ok := v.(Ignorable)
	if ok {
		var fields map[string]cbor.RawMessage
		if err := strict.Unmarshal(data, &fields); err != nil {
			return err
		}
		drop := false
		for _, name := range ig.IgnorableFields() {
			if _, has := fields[name]; has {
				delete(fields, name)
				drop = true
			}
		}
		if drop {
			var err error
			if data, err = encoder.Marshal(fields); err != nil {
				return err
			}
		}
	}
	return strict.Unmarshal(data, v)
}

// RoundTrip is a check for tests: it saves from, loads into to (a fresh
// instance with the same entries), saves that again and reports a difference.
func RoundTrip(from, to *Registry) error {
	first, err := from.SaveAll()
	if err != nil {
		return err
	}
	if err := to.LoadAll(first); err != nil {
		return err
	}
	second, err := to.SaveAll()
	if err != nil {
		return err
	}
	a, err := encoder.Marshal(first)
	if err != nil {
		return err
	}
	b, err := encoder.Marshal(second)
	if err != nil {
		return err
	}
	if !bytes.Equal(a, b) {
		x, _ := cbor.Diagnose(a)
		y, _ := cbor.Diagnose(b)
		return fmt.Errorf("state differs after a round trip:\n%s\n%s", x, y)
	}
	return nil
}
