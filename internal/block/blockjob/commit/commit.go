package commit

import (
	"context"
	"time"

	"govmd/internal/block"
	"govmd/internal/block/blockjob"
	"govmd/internal/block/control"
	"govmd/internal/block/copy"
	"govmd/internal/block/filter"
	"govmd/internal/job"
)

// topType is the filter above the images that go. It needs nothing of them, and so
// lets base be written: what is written there they hide.
var topType = filter.JobType("commit_top", func(_, _ block.Perm) (block.Perm, block.Perm) {
	return 0, block.PermAll
})

// commit is the job for images that nobody writes to. The nodes of the chain, from
// the top:
//
//	overlay  is given base as its backing file; there may be several
//	filter
//	top      goes, down to
//	…
//	base     is given the data
type commit struct {
	blockjob.Base
	filter, top, base *block.Node
	from, to          *block.Child // top and base
	policy            blockjob.OnError
	backingFile       *string // what the overlay is to call its backing file
	readOnly          bool    // base is to be so again
	frozen            bool    // the chain is
}

// Type implements job.Driver.
func (*commit) Type() job.Type { return job.TypeCommit }

// retryDelay is how long a job waits before it tries again what has failed: that an
// error is to be ignored means that.
const retryDelay = 100 * time.Millisecond

// Run implements job.Driver.
func (c *commit) Run(_ context.Context, j *job.Job) error {
	end := c.top.Length()
	j.SetRemaining(uint64(end))
	what := &copy.Copy{Source: c.from, Base: c.base, Target: c.to, ZeroFlags: block.MayUnmap}
	w := c.NewWork(c.policy, c.policy, what.Do)
	w.Retry = retryDelay
	defer w.Close()
	if err := w.Copy(what, 0, end); err != nil {
		return err
	}
	return c.base.Flush() // before anything relies on it
}

// Prepare implements job.Preparer: the overlays go on with base below them.
func (c *commit) Prepare(*job.Job) error {
	ctx := context.Background()
	c.thaw()
	c.Release()
	g := c.Manager().Graph()
	return control.Drained(ctx, c.base, func() error {
		name := c.base.SkipFilters().FileName()
		if c.backingFile != nil {
			name = *c.backingFile
		}
		for _, p := range c.filter.Parents() {
			if o := p.ParentNode(); o != nil && p.Role()&block.RoleCOW != 0 {
				if err := rename(ctx, g, o, name, c.base.SkipFilters().DriverName()); err != nil {
					return err
				}
			}
		}
		if err := g.ReplaceNode(c.filter, c.base, nil); err != nil {
			return err
		}
		c.filter.Unref()
		c.filter = nil
		return nil
	})
}

// rename has an image call its backing file by another name.
func rename(ctx context.Context, g *block.Graph, n *block.Node, name, format string) (err error) {
	if n.ReadOnly() {
		if err := g.SetReadOnly(ctx, n, false); err != nil {
			return err
		}
		defer func() {
			if e := g.SetReadOnly(ctx, n, true); err == nil {
				err = e
			}
		}()
	}
	return n.RecordBacking(ctx, name, format)
}

// Clean implements job.Cleaner.
func (c *commit) Clean(j *job.Job) {
	ctx := context.Background()
	c.thaw()
	c.Base.Clean(j)
	if c.filter != nil {
		_ = c.Manager().Graph().RemoveFilter(ctx, c.filter) // top can do what the filter could
	}
	if c.readOnly {
		_ = c.Manager().Graph().SetReadOnly(ctx, c.base, true) // a base that stays writable is no harm
	}
	c.base.Unref()
}

func (c *commit) thaw() {
	if c.frozen {
		c.frozen = false
		block.ThawChain(c.filter, c.base)
	}
}

// start begins a job for top, which is below device.
func start(ctx context.Context, device, top, base *block.Node, a *args) (err error) {
	g := a.jobs.Graph()
	c := &commit{top: top, base: base, policy: a.policy(), backingFile: a.BackingFile}
	c.Bind(a.jobs)
	base.Ref()
	defer func() {
		if err != nil {
			c.Discard()
			c.Clean(nil)
		}
	}()
	if err := a.jobs.New(c, device, a.options(block.PermAll)); err != nil {
		return err
	}
	if base.ReadOnly() {
		if err := g.SetReadOnly(ctx, base, false); err != nil {
			return err
		}
		c.readOnly = true
	}
	if c.filter, err = g.InsertFilter(ctx, topType, a.FilterName, &filter.JobOptions{
		GenericFormat: block.GenericFormat{File: block.NodeRef(top.Name())},
	}, top); err != nil {
		return err
	}
	for n := top; n != base; n = n.BackingChainNext() {
		e, err := c.Hold("intermediate node", n, 0, block.PermUnchanged|block.PermWrite)
		if err != nil {
			return err
		}
		if n == top {
			c.from = e
		}
	}
	if err := block.FreezeChain(c.filter, base); err != nil {
		return err
	}
	c.frozen = true
	perm := block.PermRead | block.PermWrite
	if base.Length() < top.Length() {
		perm |= block.PermResize
	}
	if c.to, err = c.Hold("base", base, perm, block.PermRead|block.PermUnchanged); err != nil {
		return err
	}
	if base.Length() < top.Length() {
		if err := base.Truncate(ctx, top.Length(), false, block.PreallocOff, 0); err != nil {
			return err
		}
	}
	c.Job().Start()
	return nil
}
