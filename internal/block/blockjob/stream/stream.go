// Package stream has the job of block-stream: an image is given all that it has of
// its backing chain, or of a part of it, so that it needs that no more.
package stream

import (
	"context"
	"io"

	"govmd/internal/block"
	"govmd/internal/block/blockjob"
	"govmd/internal/block/control"
	"govmd/internal/block/copy"
	"govmd/internal/block/filter"
	"govmd/internal/job"
	"govmd/internal/qmp"
)

type args struct {
	JobID        *string           `qmp:"job-id"`
	Device       string            `qmp:"device"`
	Base         *string           `qmp:"base"`
	BaseNode     *string           `qmp:"base-node"`
	BackingFile  *string           `qmp:"backing-file"`
	Bottom       *string           `qmp:"bottom"`
	Speed        *int64            `qmp:"speed"`
	OnError      *blockjob.OnError `qmp:"on-error"`
	FilterName   *string           `qmp:"filter-node-name"`
	AutoFinalize *bool             `qmp:"auto-finalize"`
	AutoDismiss  *bool             `qmp:"auto-dismiss"`
}

// stream is the job. The nodes of the chain, from the top:
//
//	filter   copies what the guest reads
//	top      is given the data
//	…        goes, down to
//	last     goes, too
//	below    becomes top's backing file: base, or a filter on it; nil for none
type stream struct {
	blockjob.Base
	filter, top, image, last *block.Node
	policy                   blockjob.OnError
	backingFile              *string // what the image is to call its backing file
	readOnly                 bool    // the image is to be so again
	frozen                   bool    // the chain from top to last is
}

// bottomOf returns the lowest node that a stream makes superfluous.
func bottomOf(top, base *block.Node) *block.Node {
	n := top
	for next := n.BackingChainNext(); next != nil && next != base; next = n.BackingChainNext() {
		n = next
	}
	return n
}

// Type implements job.Driver.
func (*stream) Type() job.Type { return job.TypeStream }

// Run implements job.Driver.
func (s *stream) Run(_ context.Context, j *job.Job) error {
	if s.image == s.last {
		return nil // there is nothing to be copied
	}
	end := s.image.Length()
	j.SetRemaining(uint64(end))
	// Whatever goes wrong, it is the chain that could not be read.
	w := s.NewWork(s.policy, s.policy, func(p copy.Piece, _ []byte) (bool, error) {
		return true, s.image.Prefetch(p.Off, p.N)
	})
	defer w.Close()
	for off := int64(0); off < end; {
		wanted, n, err := s.wanted(off, min(end-off, w.Chunk()))
		switch {
		case err != nil:
			again, err := w.Failed(true, n, err)
			if err != nil {
				return err
			}
			if again {
				continue
			}
		case wanted:
			err = w.Go(copy.Piece{Off: off, N: n})
		default:
			err = w.Skip(n)
		}
		if err != nil {
			return err
		}
		off += n
	}
	if err := w.Settle(); err != nil {
		return err
	}
	if err := s.image.Flush(); err != nil { // here, where nobody waits for it
		return err
	}
	return s.Outcome()
}

// wanted reports whether the bytes from off on, of which it returns how many are
// alike, are to be copied to the image: those that it has from a node that is to go.
func (s *stream) wanted(off, size int64) (wanted bool, n int64, err error) {
	next := s.image.BackingChainNext()
	here, n, err := s.image.IsAllocatedAbove(next, off, size)
	if err != nil {
		return false, size, err
	}
	if here {
		return false, n, nil
	}
	below, m, err := next.IsAllocatedAbove(s.last.BackingChainNext(), off, n)
	switch {
	case err != nil:
		return false, n, err
	case m == 0: // the chain is shorter
		return false, s.image.Length() - off, nil
	}
	return below, m, nil
}

// Prepare implements job.Preparer: the top goes on without what it has a copy of.
func (s *stream) Prepare(*job.Job) error {
	ctx := context.Background()
	below := s.last.BackingChainNext()
	if below != nil {
		below.Ref()
		defer below.Unref()
	}
	s.thaw()
	if err := s.removeFilter(); err != nil {
		return err
	}
	if s.image.Backing() == nil {
		return nil
	}
	name, format := "", ""
	if below != nil {
		base := below.SkipFilters()
		name, format = base.FileName(), base.DriverName()
		if s.backingFile != nil {
			name = *s.backingFile
		}
	}
	return control.Drained(ctx, s.image, func() error {
		if err := s.Manager().Graph().SetBacking(s.image, below); err != nil {
			return err
		}
		return s.image.RecordBacking(ctx, name, format)
	})
}

func (s *stream) thaw() {
	if s.frozen {
		s.frozen = false
		block.ThawChain(s.top, s.last)
	}
}

func (s *stream) removeFilter() error {
	if s.filter == nil {
		return nil
	}
	s.Release()
	f := s.filter
	s.filter = nil
	return s.Manager().Graph().RemoveFilter(context.Background(), f)
}

// Clean implements job.Cleaner.
func (s *stream) Clean(j *job.Job) {
	s.thaw()
	s.Base.Clean(j)
	_ = s.removeFilter() // what is filtered can do what the filter could
	if s.readOnly {
		// A backing file that stays writable is no harm.
		_ = s.Manager().Graph().SetReadOnly(context.Background(), s.image, true)
	}
	s.top.Unref()
}

// start is block-stream.
func start(ctx context.Context, c *control.Control, a *args) error {
	top, err := c.Medium(a.Device)
	if err != nil {
		return err
	}
	base, err := findBase(c, top, a)
	if err != nil {
		return err
	}
	s := &stream{top: top, image: top.SkipFilters(), policy: blockjob.Report, backingFile: a.BackingFile}
	if a.OnError != nil {
		s.policy = *a.OnError
	}
	s.last = bottomOf(top, base)
	for n := top; n != nil && n != base; n = n.BackingChainNext() {
		if err := n.Blocked(block.OperationStream); err != nil {
			return err
		}
	}
	if base == nil && a.BackingFile != nil {
		return qmp.Errorf("backing file specified, but streaming the entire chain")
	}
	return s.begin(ctx, c, a)
}

// begin puts the filter in its place and starts the job.
func (s *stream) begin(ctx context.Context, c *control.Control, a *args) (err error) {
	g := c.Graph()
	s.Bind(c.Jobs())
	s.top.Ref()
	defer func() {
		if err != nil {
			s.Discard()
			s.Clean(nil)
		}
	}()
	if err := block.FreezeChain(s.top, s.last); err != nil {
		return err
	}
	s.frozen = true
	if s.image.ReadOnly() {
		if err := g.SetReadOnly(ctx, s.image, false); err != nil {
			return err
		}
		s.readOnly = true
	}
	bottom := s.last.SkipFilters().Name()
	s.filter, err = g.InsertFilter(ctx, block.TypeOf("copy-on-read"), a.FilterName, &filter.CopyOnReadOptions{
		GenericFormat: block.GenericFormat{File: block.NodeRef(s.top.Name())}, Bottom: &bottom,
	}, s.top)
	if err != nil {
		return qmp.Errorf("Could not create node: %w", err)
	}
	o := blockjob.Options{
		ID: a.JobID, AutoFinalize: a.AutoFinalize, AutoDismiss: a.AutoDismiss, Shared: block.PermAll, Perm: block.PermRead,
	}
	if a.Speed != nil {
		o.Speed = *a.Speed
	}
	if err := c.Jobs().New(s, s.filter, o); err != nil {
		return err
	}
	const shared = block.PermRead | block.PermUnchanged
	if _, err := s.Hold("active node", s.top, 0, shared|block.PermWrite); err != nil {
		return err
	}
	for n := s.top; n != s.last; {
		n = n.BackingChainNext()
		if _, err := s.Hold("intermediate node", n, 0, shared); err != nil {
			return err
		}
	}
	s.Job().Start()
	return nil
}

// findBase returns the node that stays below; nil when nothing does.
func findBase(c *control.Control, top *block.Node, a *args) (*block.Node, error) {
	switch {
	case a.Base != nil && a.BaseNode != nil:
		return nil, qmp.Errorf("'base' and 'base-node' cannot be specified at the same time")
	case a.Base != nil && a.Bottom != nil:
		return nil, qmp.Errorf("'base' and 'bottom' cannot be specified at the same time")
	case a.Bottom != nil && a.BaseNode != nil:
		return nil, qmp.Errorf("'bottom' and 'base-node' cannot be specified at the same time")
	case a.Base != nil:
		if base := top.FindBacking(*a.Base); base != nil {
			return base, nil
		}
		return nil, qmp.Errorf("Can't find '%s' in the backing chain", *a.Base)
	case a.BaseNode != nil:
		base, err := c.Graph().Lookup("", *a.BaseNode)
		if err != nil {
			return nil, err
		}
		if base == top || !top.InChain(base) {
			return nil, qmp.Errorf("Node '%s' is not a backing image of '%s'", *a.BaseNode, a.Device)
		}
		return base, nil
	case a.Bottom != nil:
		bottom, err := c.Graph().Lookup("", *a.Bottom)
		if err != nil {
			return nil, err
		}
		if bottom.Type().Filter {
			return nil, qmp.Errorf("Node '%s' is a filter, use a non-filter node as 'bottom'", *a.Bottom)
		}
		if !top.InChain(bottom) {
			return nil, qmp.Errorf("Node '%s' is not in a chain starting from '%s'", *a.Bottom, a.Device)
		}
		return bottom.BackingChainNext(), nil
	}
	return nil, nil
}

// Commands returns the commands that stream.
func Commands(c *control.Control) []qmp.Command {
	return []qmp.Command{
		qmp.New("block-stream", func(ctx *qmp.Context, a *args) (none qmp.None, err error) {
			return none, start(ctx, c, a)
		}),
	}
}

// HumanCommands returns the human monitor's command that streams.
func HumanCommands(c *control.Control) []qmp.HumanCommand {
	return []qmp.HumanCommand{{
		Name: "block_stream", Args: "device:B,speed:o?,base:s?", Params: "device [speed [base]]",
		Help: "copy data from a backing file into a block device",
		Run: func(ctx *qmp.Context, a qmp.HumanArgs, _ io.Writer) error {
			speed := int64(a.Size("speed", 0))
			args := &args{Device: a.Str("device"), Speed: &speed}
			if base := a.Str("base"); base != "" {
				args.Base = &base
			}
			return start(ctx, c, args)
		},
	}}
}
