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
	Base             *block.Node
	OnSource, OnData blockjob.OnError // errors of reading the source and writing the target
	FilterName       *string          // nil for one that users do not know of
}

// Mirror is the job.
type Mirror struct {
	blockjob.Base
	c      Config
	filter *block.Node
	target *block.Child
	dirty  *block.Bitmap
	what   *copy.Copy

	complete atomic.Bool // the target is to take the source's place
	frozen   bool        // the chain down to the target is
	readOnly bool        // the target was, and is to be so again unless it takes over
}

// idle is how long a job that is ready waits before it looks for what is new.
const idle = 100 * time.Millisecond

// Type implements job.Driver.
func (m *Mirror) Type() job.Type { return m.c.Type }

// Run implements job.Driver.
func (m *Mirror) Run(_ context.Context, j *job.Job) error {
	w := m.NewWork(m.c.OnSource, m.c.OnData, m.what.Do)
	w.Retry = idle
	defer w.Close()
	if err := m.findDirty(w); err != nil {
		return err
	}
	for {
		left := m.dirty.Count()
		j.SetRemaining(uint64(left))
		switch {
		case left > 0:
			if err := m.pass(w); err != nil {
				return err
			}
		case !j.IsReady():
			if err := m.flush(w); err != nil {
				return err
			}
			j.Ready()
		case m.complete.Load() || j.CancelRequested():
			return nil // what is written from here on is Prepare's
		default:
			if err := j.Sleep(idle); err != nil {
				return err
			}
		}
	}
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

// pass copies what is marked, once from the beginning to the end: no range is copied
// twice at once.
func (m *Mirror) pass(w *blockjob.Work) error {
	for off := int64(0); ; {
		from, n, ok := m.dirty.TakeDirty(off, m.dirty.Size(), 64*w.Chunk())
		if !ok {
			return w.Settle()
		}
		if err := w.CopyOn(m.what, from, from+n); err != nil {
			return err
		}
		off = from + n
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
	if err := m.rest(ctx); err != nil {
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

// rest copies what has been written since the worker has ended.
func (m *Mirror) rest(ctx context.Context) error {
	for off := int64(0); ; {
		from, n, ok := m.dirty.TakeDirty(off, m.dirty.Size(), 0)
		if !ok {
			return m.target.Flush()
		}
		if err := m.what.Run(ctx, from, n); err != nil {
			return err
		}
		off = from + n
	}
}

// takeOver makes all users of the source use the target, and the filter go.
func (m *Mirror) takeOver(ctx context.Context) error {
	g := m.Manager().Graph()
	if err := m.c.Target.Drain(ctx); err != nil {
		return err
	}
	defer m.c.Target.Undrain()
	if err := g.ReplaceNode(m.c.Source, m.c.Target, nil); err != nil {
		return err
	}
	f := m.filter
	m.filter = nil
	return g.RemoveFilter(ctx, f)
}

// letGo gives up what the job has of its nodes.
func (m *Mirror) letGo() {
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
	m.letGo()
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

// Start begins a mirror to a target in the source's own chain, whose place it takes
// with all in between.
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
	if c.Target.ReadOnly() {
		if err := g.SetReadOnly(ctx, c.Target, false); err != nil {
			return err
		}
		m.readOnly = true
	}
	if m.filter, err = g.InsertFilter(ctx, commitTop, c.FilterName, &filter.JobOptions{
		GenericFormat: block.GenericFormat{File: block.NodeRef(c.Source.Name())},
	}, c.Source); err != nil {
		return err
	}
	c.Perm, c.Shared = block.PermRead, block.PermRead|block.PermUnchanged|block.PermWrite
	if err := jobs.New(m, m.filter, c.Options); err != nil {
		return err
	}
	if m.dirty, err = c.Source.CreateBitmap("", c.Target.DefaultGranularity()); err != nil {
		return err
	}
	if err := m.hold(ctx); err != nil {
		return err
	}
	m.what = &copy.Copy{Source: m.Main(), Base: c.Base, Target: m.target, ZeroFlags: block.MayUnmap}
	m.Job().Start()
	return nil
}

// hold takes the nodes of the chain down to the target.
func (m *Mirror) hold(ctx context.Context) (err error) {
	const between = block.PermUnchanged | block.PermWrite
	if _, err := m.Hold("source", m.c.Source, 0, between|block.PermRead); err != nil {
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
