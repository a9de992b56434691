package export

import (
	"context"
	"slices"
	"sync"

	"govmd/internal/block"
	"govmd/internal/event"
	"govmd/internal/lane"
	"govmd/internal/option"
)

// DeletedEvent is the event BLOCK_EXPORT_DELETED: the export has let its node go.
type DeletedEvent struct {
	ID string `qmp:"id"`
}

// EventName implements event.Event.
func (DeletedEvent) EventName() string { return "BLOCK_EXPORT_DELETED" }

// Events are the events that this package publishes.
func Events() []event.Event { return []event.Event{DeletedEvent{}} }

// Set holds the exports of a machine. Its methods run on the lane.
type Set struct {
	graph *block.Graph
	lane  *lane.Lane
	kinds map[string]func(e *Export, branch any) (Kind, error)
	list  []*Export // those added last come first
	ended sync.WaitGroup
}

// NewSet returns a Set without exports, of nodes of a graph.
func NewSet(g *block.Graph, l *lane.Lane) *Set {
	return &Set{graph: g, lane: l, kinds: map[string]func(*Export, any) (Kind, error){}}
}

// Graph is the graph of the nodes.
func (s *Set) Graph() *block.Graph { return s.graph }

// Handle says how an export of a registered type (AddType) is made: make is given
// it with its node attached and its branch of the options.
func (s *Set) Handle(kind string, make func(e *Export, branch any) (Kind, error)) {
	s.kinds[kind] = make
}

// Find returns the export of that ID, or nil.
func (s *Set) Find(id string) *Export {
	for _, e := range s.list {
		if e.ID == id {
			return e
		}
	}
	return nil
}

// Add makes an export.
func (s *Set) Add(o *Options) (*Export, error) {
	if !option.ValidID(o.ID) {
		return nil, block.Errorf(block.KindInvalid, "Invalid block export id")
	}
	if s.Find(o.ID) != nil {
		return nil, block.Errorf(block.KindInUse, "Block export id '%s' is already in use", o.ID)
	}
	if o.IOThread != nil {
		return nil, block.Errorf(block.KindUnsupported, "Parameter 'iothread' is not supported: exports run on threads of their own")
	}
	n, err := s.graph.Lookup("", o.NodeName)
	if err != nil {
		return nil, err
	}
	writable := o.Writable != nil && *o.Writable
	if writable && n.ReadOnly() {
		return nil, block.Errorf(block.KindInvalid, "Cannot export read-only node as writable")
	}
	make := s.kinds[o.Type]
	if make == nil {
		return nil, block.Errorf(block.KindUnsupported, "Exports of type '%s' are not supported", o.Type)
	}
	e := &Export{
		ID: o.ID, Type: o.Type, Writable: writable, Writethrough: o.Writethrough != nil && *o.Writethrough, set: s,
	}
	perm := block.PermRead
	if writable {
		perm |= block.PermWrite
	}
	c, err := s.graph.Attach(e, "root", block.RoleFiltered|block.RolePrimary, n, perm, block.PermAll)
	if err != nil {
		return nil, err
	}
	e.open(c)
	if e.kind, err = make(e, o.Branch); err != nil {
		e.release()
		return nil, err
	}
	s.list = slices.Insert(s.list, 0, e)
	return e, nil
}

// Mode says whether clients keep an export from being removed.
type Mode string

// The modes.
const (
	Safe Mode = "safe" // they do
	Hard Mode = "hard" // they are sent away
)

// EnumValues implements qmp.Enum.
func (Mode) EnumValues() []string { return []string{string(Safe), string(Hard)} }

// Remove begins the end of an export. Events tells of its end.
func (s *Set) Remove(e *Export, mode Mode) error {
	if mode == Safe && e.kind.InUse() {
		return block.Errorf(block.KindInUse, "export '%s' still in use", e.ID)
	}
	s.stop(e)
	return nil
}

// stop ends an export, at once when nobody uses it.
func (s *Set) stop(e *Export) {
	if e.stopping {
		return
	}
	e.stopping = true
	gone := e.kind.Stop()
	select {
	case <-gone:
		s.end(e)
		return
	default:
	}
	s.ended.Go(func() {
		<-gone
		s.lane.Post(func() { s.end(e) })
	})
}

// end takes an export that nobody uses any more from its node.
func (s *Set) end(e *Export) {
	e.kind.Close()
	e.release()
	s.list = slices.DeleteFunc(s.list, func(x *Export) bool { return x == e })
	s.graph.Publish(DeletedEvent{e.ID})
}

// StopAll begins the end of all exports of a type.
func (s *Set) StopAll(kind string) {
	s.stopIf(func(e *Export) bool { return e.Type == kind })
}

// stopIf begins the end of some exports, those added first before others.
func (s *Set) stopIf(is func(*Export) bool) {
	for _, e := range slices.Backward(slices.Clone(s.list)) {
		if is(e) {
			s.stop(e)
		}
	}
}

// Close ends all exports and waits for that. It must not be called on the lane.
func (s *Set) Close() {
	all := func() { s.stopIf(func(*Export) bool { return true }) }
	ctx := context.Background()
	if s.lane.Do(ctx, all) != nil {
		return // the machine has never been up
	}
	s.ended.Wait()
	_ = s.lane.Do(ctx, func() {}) // what was posted before has run
}
