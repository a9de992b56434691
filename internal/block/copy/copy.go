// Package copy copies between nodes: the one engine under image conversion and the
// jobs that copy disks.
package copy

import (
	"context"
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

	// Done is told of how many bytes have been dealt with, from any goroutine. It may
	// be nil.
	Done func(n int64)

	passBy atomic.Bool // the host was not able to copy, and is not asked again
}

// What a copy does unless it is told otherwise.
const (
	DefaultChunk   = 1 << 20
	DefaultWorkers = 8
)

// Run copies n bytes from off on.
func (c *Copy) Run(ctx context.Context, off, n int64) error {
	chunk, workers := c.Chunk, c.Workers
	if chunk <= 0 {
		chunk = DefaultChunk
	}
	if workers <= 0 {
		workers = DefaultWorkers
	}
	pool := NewPool(workers, int(chunk), c.Do)
	err := c.plan(ctx, pool, off, off+n, chunk)
	pool.Close()
	if err == nil {
		err = pool.firstError()
	}
	return err
}

func (p *Pool) firstError() error {
	if list := p.Failures(); len(list) > 0 {
		return list[0].Err
	}
	return nil
}

// plan finds out what is to be done and hands it to the pool.
func (c *Copy) plan(ctx context.Context, pool *Pool, off, end, chunk int64) error {
	for off < end {
		p, wanted, err := c.Next(off, end, chunk)
		if err != nil {
			return err
		}
		switch {
		case !wanted:
			c.done(p.N)
		case pool.Failed():
			return pool.firstError()
		case ctx.Err() != nil:
			return context.Cause(ctx)
		default:
			pool.Go(p)
		}
		off += p.N
	}
	return nil
}

// Next returns the piece at off, of at most chunk bytes (of zeroes, more) and within
// end, and whether there is something to be done about it.
func (c *Copy) Next(off, end, chunk int64) (p Piece, wanted bool, err error) {
	st, _, err := c.Source.Node().BlockStatusAbove(c.Base, off, end-off, block.StatusZero)
	if err != nil {
		return p, false, err
	}
	n := min(st.N, end-off)
	if n <= 0 {
		n = end - off // the source ends here: what is beyond reads as zeroes
		st.Flags = block.StatusZero | block.StatusAllocated
	}
	switch {
	case st.Flags&block.StatusAllocated == 0 && c.Base != nil: // the base has it
		return Piece{Off: off, N: n}, false, nil
	case st.Flags&block.StatusAllocated == 0:
		st.Flags |= block.StatusZero // nothing of the chain has it
	}
	p = Piece{Off: off, N: n, Zero: st.Flags&block.StatusZero != 0}
	if p.Zero && c.TargetZero {
		return p, false, nil
	}
	// Pieces end where those of another run would, so that clusters are written once.
	p.N = min(n, chunk-off%chunk)
	if p.Zero {
		p.N = min(n, 64*chunk)
	}
	return p, true, nil
}

func (c *Copy) done(n int64) {
	if c.Done != nil {
		c.Done(n)
	}
}

// Do copies a piece, by means of a buffer of its size. Of an error it says whether it
// was the source's. Any goroutine.
func (c *Copy) Do(p Piece, buf []byte) (read bool, err error) {
	if read, err = c.piece(p, buf); err == nil {
		c.done(p.N)
	}
	return read, err
}

func (c *Copy) piece(p Piece, buf []byte) (read bool, err error) {
	if p.Zero {
		return false, c.Target.PwriteZeroes(p.Off, p.N, c.ZeroFlags)
	}
	// What is compressed, looked through for zeroes or has to be alone in its range
	// passes by here.
	if c.Flags&(block.Compressed|block.Serialising) == 0 && c.Sparse == 0 && !c.passBy.Load() {
		if c.Source.CopyRange(p.Off, c.Target, p.Off, p.N, 0) == nil {
			return false, nil
		}
		c.passBy.Store(true)
	}
	buf = buf[:p.N]
	if err := c.Source.Pread(p.Off, buf); err != nil {
		return true, err
	}
	if c.Sparse > 0 {
		return false, c.sparse(p.Off, buf)
	}
	return false, c.Target.Pwritev(p.Off, block.VecOf(buf), c.Flags)
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
