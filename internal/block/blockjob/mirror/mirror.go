// Package mirror has the jobs that make a target like its source while the guest
// writes, keep it so, and have it take the source's place when they are told to: what
// has been written since is marked in a bitmap and copied in passes.
package mirror

import (
	"context"
	"sync/atomic"
	"time"

	"govmd/internal/block"
	"govmd/internal/block/blockjob"
	"govmd/internal/block/copy"
	"govmd/internal/block/filter"
	"govmd/internal/job"
)

// Config says what a mirror does.
type Config struct {
	blockjob.Options
	Type           job.Type
	Source, Target *block.Node
	// Base is the node of the source's chain whose data the target has; nil for none.
	Base *block.Node
	// None has only what changes from now on copied.
	None bool
	// Zero has the target made zero first: nobody knows what is in it.
	Zero             bool
	OnSource, OnData blockjob.OnError // errors of reading the source and writing the target
	FilterName       *string          // nil for one that users do not know of
	Granularity      int64            // bytes, of what is marked; 0 for what suits the target
	Buffer           int64            // bytes under way at once; 0 for what is best
	KeepZeroes       bool             // zeroes take space in the target
	Blocking         bool             // a guest's write waits until the target has it
	Replaces         *block.Node      // whose place the target takes; nil: the source's
	// Pivot, which may be nil, is called before the target takes over, with all drained.
	Pivot func(ctx context.Context, target *block.Node) error
}

// Mirror is the job.
type Mirror struct {
	blockjob.Base
	c      Config
	filter *block.Node
	source *block.Child // below the filter: what it holds up can be read
	target *block.Child
	dirty  *block.Bitmap
	once   *copy.Once

	blocking atomic.Bool // a guest's write waits until the target has it
	complete atomic.Bool // the target is to take the source's place
	frozen   bool        // the chain down to the target is
	readOnly bool        // the target was, and is to be so again unless it takes over
}

const (
	// idle is how long a job that is ready waits before it looks for what is new.
	idle = 100 * time.Millisecond
	// patience is how many passes over the disk are made before the guest's writes wait:
	// it writes faster than is copied.
	patience = 8
	// rest is how many bytes the control lane may be kept with in the end.
	rest = 1 << 20
)

// Type implements job.Driver.
func (m *Mirror) Type() job.Type { return m.c.Type }

// Run implements job.Driver.
func (m *Mirror) Run(_ context.Context, j *job.Job) error {
	workers, chunk := m.shape()
	w := m.NewWorkOf(m.c.OnSource, m.c.OnData, workers, int(chunk), m.once.Do)
	w.Retry = idle
	defer w.Close()
	if err := m.begin(w); err != nil {
		return err
	}
	m.once.Watch(func(copied, left int64) {
		j.Advance(uint64(copied))
		j.SetRemaining(uint64(left))
	})
	for passes := 1; ; passes++ {
		if err := m.pass(w, chunk); err != nil {
			return err
		}
		left := m.once.Left()
		j.SetRemaining(uint64(left))
		ending := m.complete.Load() || j.CancelRequested()
		switch {
		case left == 0 && !j.IsReady():
			if err := m.flush(w); err != nil {
				return err
			}
			j.Ready()
		case ending && left <= rest:
			return nil // what is written from here on is Prepare's
		case left == 0:
			if !ending {
				m.blocking.Store(m.c.Blocking)
			}
			passes = 0
			if err := j.Sleep(idle); err != nil {
				return err
			}
		case ending || passes > patience:
			m.blocking.Store(true)
		}
	}
}

// shape returns how many pieces are under way at once, of how many bytes.
func (m *Mirror) shape() (workers int, chunk int64) {
	unit := m.dirty.Granularity()
	workers, chunk = 2*copy.DefaultWorkers, max(copy.DefaultChunk, unit)
	if b := m.c.Buffer; b > 0 {
		chunk = max(unit, min(chunk, b/unit*unit))
		workers = int(max(1, min(int64(workers), b/chunk)))
	}
	return workers, chunk
}

// begin makes the target zero, if that is called for, and marks what it does not have.
func (m *Mirror) begin(w *blockjob.Work) error {
	switch {
	case m.c.None:
		return nil
	case m.c.Zero && !m.c.Target.Info().CanWriteZeroes:
		m.dirty.SetAll()
		return nil
	case m.c.Zero:
		if err := m.zero(w); err != nil {
			return err
		}
	}
	return m.findDirty(w)
}

// zero makes the target zero.
func (m *Mirror) zero(w *blockjob.Work) error {
	const step = 256 << 20
	end := m.target.Length()
	for off := int64(0); off < end; {
		if err := w.Yield(0); err != nil {
			return err
		}
		n := min(step, end-off)
		if err := m.target.PwriteZeroes(off, n, block.MayUnmap); err != nil {
			if _, err := w.Failed(false, 0, err); err != nil {
				return err
			}
			continue
		}
		off += n
	}
	return nil
}

// findDirty marks what the target does not have.
func (m *Mirror) findDirty(w *blockjob.Work) error {
	end := m.c.Source.Length()
	for off := int64(0); off < end; {
		if err := w.Yield(0); err != nil {
			return err
		}
		here, n, err := m.c.Source.IsAllocatedAbove(m.c.Base, off, end-off)
		if err != nil {
			again, err := w.Failed(true, 0, err)
			if err != nil {
				return err
			}
			if again {
				continue
			}
		}
		if n == 0 {
			break
		}
		if here {
			m.dirty.Set(off, n)
		}
		off += n
	}
	return nil
}

// pass copies what is marked, once from the beginning to the end.
func (m *Mirror) pass(w *blockjob.Work, chunk int64) error {
	for off := int64(0); ; {
		p, ok := m.once.Next(off, min(chunk, w.Chunk()))
		if !ok {
			err := w.Settle()
			if err == nil {
				m.once.Settle() // the guest's part in it
			}
			return err
		}
		if err := w.Go(p); err != nil {
			return err
		}
		off = p.Off + p.N
	}
}

// written has the target be given what the guest has written, if its write is to wait
// for that. What fails stays marked: it is the job's to deal with.
func (m *Mirror) written(off, n int64) {
	if m.blocking.Load() {
		_, _ = m.once.Range(off, n)
	}
}

// flush makes what the target has stable: nobody relies on it before.
func (m *Mirror) flush(w *blockjob.Work) error {
	for {
		err := m.target.Flush()
		if err == nil {
			return nil
		}
		if _, err := w.Failed(false, 0, err); err != nil {
			return err
		}
	}
}

// Complete implements job.Completer.
func (m *Mirror) Complete(j *job.Job) error {
	m.complete.Store(true)
	j.Wake()
	return nil
}

// Cancel implements job.Canceller: a target that is like its source stays so.
func (m *Mirror) Cancel(j *job.Job, force bool) bool {
	if force || !j.IsReady() {
		return true
	}
	j.Wake()
	return false
}

// Prepare implements job.Preparer: with nothing under way the rest is copied, and the
// target takes over if it is to.
func (m *Mirror) Prepare(*job.Job) error {
	ctx := context.Background()
	if err := m.c.Source.Drain(ctx); err != nil {
		return err
	}
	defer m.c.Source.Undrain()
	if _, err := m.once.Range(0, m.c.Source.Length()); err != nil {
		return err
	}
	if err := m.target.Flush(); err != nil {
		return err
	}
	if !m.complete.Load() {
		return nil
	}
	m.letGo()
	if ro := m.c.Source.ReadOnly(); ro != m.c.Target.ReadOnly() {
		if err := m.Manager().Graph().SetReadOnly(ctx, m.c.Target, ro); err != nil {
			return err
		}
	}
	m.readOnly = false
	return m.takeOver(ctx)
}

// takeOver makes all users of the source use the target, and the filter go.
func (m *Mirror) takeOver(ctx context.Context) error {
	g := m.Manager().Graph()
	if err := m.c.Target.Drain(ctx); err != nil {
		return err
	}
	defer m.c.Target.Undrain()
	if m.c.Pivot != nil {
		if err := m.c.Pivot(ctx, m.c.Target); err != nil {
			return err
		}
	}
	from := m.c.Source
	if m.c.Replaces != nil {
		from = m.c.Replaces
	}
	if err := g.ReplaceNode(from, m.c.Target, nil); err != nil {
		return err
	}
	f := m.filter
	m.filter = nil
	return g.RemoveFilter(ctx, f)
}

// letGo gives up what the job has of its nodes, which are drained.
func (m *Mirror) letGo() {
	m.blocking.Store(false)
	if m.dirty != nil {
		m.dirty.Remove()
		m.dirty = nil
	}
	if m.frozen {
		m.frozen = false
		block.ThawChain(m.filter, m.c.Target)
	}
	m.Release()
}

// Clean implements job.Cleaner.
func (m *Mirror) Clean(*job.Job) {
	ctx := context.Background()
	g := m.Manager().Graph()
	_ = m.c.Source.Drain(ctx) // it cannot end early
	m.letGo()
	m.c.Source.Undrain()
	if m.filter != nil {
		_ = g.RemoveFilter(ctx, m.filter) // the source can do what the filter could
	}
	if m.readOnly {
		_ = g.SetReadOnly(ctx, m.c.Target, true) // a target that stays writable is no harm
	}
	m.c.Target.Unref()
	m.c.Source.Unref()
}

// commitTop is the filter above a source whose chain is written below: it needs no
// consistent data of it, and bears others' writing.
var commitTop = filter.JobType("mirror_top", func(perm, shared block.Perm) (block.Perm, block.Perm) {
	return perm &^ block.PermRead, shared | block.PermWrite | block.PermUnchanged
})

// mirrorTop is the filter above a source that is copied to elsewhere.
var mirrorTop = filter.JobType("mirror_top", func(perm, _ block.Perm) (block.Perm, block.Perm) {
	return perm, block.PermAll
})

// Start begins a mirror: to a target in the source's own chain, whose place it takes
// with all in between, or to any other.
func Start(ctx context.Context, jobs *blockjob.Manager, c Config) (err error) {
	m := &Mirror{c: c}
	g := jobs.Graph()
	c.Source.Ref()
	c.Target.Ref()
	defer func() {
		if err != nil {
			m.Discard()
			m.Clean(nil)
		}
	}()
	m.Bind(jobs)
	inside := c.Source.InChain(c.Target)
	if inside && c.Target.ReadOnly() {
		if err := g.SetReadOnly(ctx, c.Target, false); err != nil {
			return err
		}
		m.readOnly = true
	}
	top := mirrorTop
	if inside {
		top = commitTop
	}
	if m.filter, err = g.InsertFilter(ctx, top, c.FilterName, &filter.JobOptions{
		GenericFormat: block.GenericFormat{File: block.NodeRef(c.Source.Name())}, Written: m.written,
	}, c.Source); err != nil {
		return err
	}
	c.Perm, c.Shared = block.PermRead, block.PermRead|block.PermUnchanged|block.PermWrite
	if err := jobs.New(m, m.filter, c.Options); err != nil {
		return err
	}
	if m.dirty, err = c.Source.CreateBitmap("", c.granularity()); err != nil {
		return err
	}
	if inside {
		err = m.hold(ctx)
	} else {
		err = m.holdBoth()
	}
	if err != nil {
		return err
	}
	m.once = copy.NewLive(m.source, m.target, m.dirty)
	m.once.SetBase(c.Base)
	flags := block.MayUnmap
	if c.KeepZeroes {
		flags = 0
	}
	m.once.SetFlags(flags, true)
	m.blocking.Store(c.Blocking)
	m.Job().Start()
	return nil
}

// granularity returns in what units is marked what has to be copied. A target with
// clusters has them written whole: what it lacks of one it would look for elsewhere.
func (c *Config) granularity() int64 {
	g := c.Granularity
	if g == 0 {
		g = c.Target.DefaultGranularity()
	}
	if c.Target.Type().Backing {
		g = max(g, int64(c.Target.Info().ClusterSize))
	}
	return g
}

// holdBoth takes source and target.
func (m *Mirror) holdBoth() (err error) {
	if m.source, err = m.Hold("source", m.c.Source, 0, block.PermUnchanged|block.PermWrite|block.PermRead); err != nil {
		return err
	}
	m.target, err = m.Hold("target", m.c.Target, block.PermWrite, block.PermUnchanged)
	return err
}

// hold takes the nodes of the chain down to the target.
func (m *Mirror) hold(ctx context.Context) (err error) {
	const between = block.PermUnchanged | block.PermWrite
	if m.source, err = m.Hold("source", m.c.Source, 0, between|block.PermRead); err != nil {
		return err
	}
	shared := between
	last := m.c.Target.SkipFilters()
	for n := m.c.Source.BackingChainNext(); n != m.c.Target; n = n.BackingChainNext() {
		if n.SkipFilters() == last {
			shared |= block.PermRead // what follows shows the target's data
		}
		if _, err := m.Hold("intermediate node", n, 0, shared); err != nil {
			return err
		}
	}
	if err := block.FreezeChain(m.filter, m.c.Target); err != nil {
		return err
	}
	m.frozen = true
	size := m.c.Source.Length()
	perm := block.PermWrite
	if m.c.Target.Length() < size {
		perm |= block.PermResize
	}
	if m.target, err = m.Hold("target", m.c.Target, perm, shared|block.PermRead); err != nil {
		return err
	}
	if m.c.Target.Length() < size {
		return m.c.Target.Truncate(ctx, size, false, block.PreallocOff, 0)
	}
	return nil
}
