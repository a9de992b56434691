// Package copy copies between nodes: the one engine under image conversion and the
// jobs that copy disks.
package copy

import (
	"context"
	"sync"
	"sync/atomic"

	"govmd/internal/block"
)

// Copy is a copy of a range from one node to another. What the source's chain
// does not have above Base is left alone; what reads as zeroes is written as
// zeroes, unless the target is known to have them; the rest is copied in pieces,
// several at once, within the host's storage where it can do that.
type Copy struct {
	Source *block.Child
	Base   *block.Node // of the source's backing chain; nil for all of it
	Target *block.Child

	TargetZero bool        // the target reads as zeroes so far
	Flags      block.Flags // of writes: Compressed, FUA
	ZeroFlags  block.Flags // of zeroes: MayUnmap
	// Sparse is how many bytes of zeroes within data are worth not being written, a
	// power of two; 0 for never.
	Sparse  int
	Chunk   int64 // bytes of a piece, 0 for DefaultChunk
	Workers int   // pieces at once, 0 for DefaultWorkers

	// Between is called before each piece, on the goroutine of Run: it may wait (a
	// paused job), and ends the copy by an error. It may be nil.
	Between func(n int64) error
	// Done is told of how many bytes have been dealt with, from any goroutine. It may
	// be nil.
	Done func(n int64)

	ranged atomic.Bool // the host may be able to copy; once it was not, it is not asked again
}

// What a copy does unless it is told otherwise.
const (
	DefaultChunk   = 1 << 20
	DefaultWorkers = 8
)

// piece is a part of the range that is dealt with at once.
type piece struct {
	off, n int64
	zero   bool
}

// Run copies n bytes from off on.
func (c *Copy) Run(ctx context.Context, off, n int64) error {
	chunk, workers := c.Chunk, c.Workers
	if chunk <= 0 {
		chunk = DefaultChunk
	}
	if workers <= 0 {
		workers = DefaultWorkers
	}
	c.begin()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	pieces := make(chan piece)
	var work sync.WaitGroup
	for range workers {
		work.Go(func() { c.worker(pieces, int(chunk), cancel) })
	}
	err := c.plan(ctx, pieces, off, off+n, chunk)
	close(pieces)
	work.Wait()
	if err == nil {
		err = context.Cause(ctx)
	}
	return err
}

// begin decides whether the host may be asked to copy: what is compressed, looked
// through for zeroes or has to be alone in its range passes by here.
func (c *Copy) begin() {
	c.ranged.Store(c.Flags&(block.Compressed|block.Serialising) == 0 && c.Sparse == 0)
}

// plan finds out what is to be done and hands it to the workers.
func (c *Copy) plan(ctx context.Context, pieces chan<- piece, off, end, chunk int64) error {
	for off < end {
		st, _, err := c.Source.Node().BlockStatusAbove(c.Base, off, end-off, block.StatusZero)
		if err != nil {
			return err
		}
		n := min(st.N, end-off)
		if n <= 0 {
			n = end - off // the source ends here: what is beyond reads as zeroes
			st.Flags = block.StatusZero | block.StatusAllocated
		}
		switch {
		case st.Flags&block.StatusAllocated == 0 && c.Base != nil: // the base has it
			c.done(n)
			off += n
			continue
		case st.Flags&block.StatusAllocated == 0:
			st.Flags |= block.StatusZero // nothing of the chain has it
		}
		p := piece{off: off, n: n, zero: st.Flags&block.StatusZero != 0}
		if p.zero && c.TargetZero {
			c.done(n)
			off += n
			continue
		}
		// Pieces end where those of another run would, so that clusters are written once.
		p.n = min(n, chunk-off%chunk)
		if p.zero {
			p.n = min(n, 64*chunk)
		}
		if c.Between != nil {
			if err := c.Between(p.n); err != nil {
				return err
			}
		}
		select {
		case pieces <- p:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		off += p.n
	}
	return nil
}

func (c *Copy) done(n int64) {
	if c.Done != nil {
		c.Done(n)
	}
}

func (c *Copy) worker(pieces <-chan piece, chunk int, fail context.CancelCauseFunc) {
	buf := block.GetBuffer(chunk)
	defer buf.Release()
	for p := range pieces {
		if err := c.piece(p, buf); err != nil {
			fail(err)
			continue // the planner stops soon; until then nobody must wait for us
		}
		c.done(p.n)
	}
}

func (c *Copy) piece(p piece, buf *block.Buffer) error {
	if p.zero {
		return c.Target.PwriteZeroes(p.off, p.n, c.ZeroFlags)
	}
	_, err := c.data(p.off, p.n, buf)
	return err
}

// data copies n bytes that fit into buf. read says of an error that it is the
// source's.
func (c *Copy) data(off, n int64, buf *block.Buffer) (read bool, err error) {
	if c.ranged.Load() {
		if c.Source.CopyRange(off, c.Target, off, n, 0) == nil {
			return false, nil
		}
		c.ranged.Store(false)
	}
	v := block.VecOf(buf.B[:n])
	if err := c.Source.Preadv(off, v, 0); err != nil {
		return true, err
	}
	if c.Sparse > 0 {
		return false, c.sparse(off, buf.B[:n])
	}
	return false, c.Target.Pwritev(off, v, c.Flags)
}

// sparse writes what is not zero.
func (c *Copy) sparse(off int64, p []byte) error {
	for len(p) > 0 {
		zero, n := run(p, c.Sparse)
		var err error
		switch {
		case !zero:
			err = c.Target.Pwritev(off, block.VecOf(p[:n]), c.Flags)
		case !c.TargetZero:
			err = c.Target.PwriteZeroes(off, int64(n), c.ZeroFlags)
		}
		if err != nil {
			return err
		}
		off, p = off+int64(n), p[n:]
	}
	return nil
}

// run returns how many of the first bytes, in blocks of unit, are alike in whether
// they are zero.
func run(p []byte, unit int) (zero bool, n int) {
	zero = block.IsZeroBytes(p[:min(unit, len(p))])
	for n = min(unit, len(p)); n < len(p); n += min(unit, len(p)-n) {
		if block.IsZeroBytes(p[n:n+min(unit, len(p)-n)]) != zero {
			break
		}
	}
	return zero, n
}
