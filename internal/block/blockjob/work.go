package blockjob

import (
	"time"

	"govmd/internal/block/copy"
)

// Work is a job's pieces, of which several are under way at once: it yields when
// none is, tries those again that an error has stopped, and counts what is done. Its
// methods are the worker's.
type Work struct {
	// Retry is set by jobs for which to ignore an error is to try again, after so
	// long. Others leave out the piece, and fail in the end.
	Retry time.Duration

	b     *Base
	pool  *copy.Pool
	read  OnError
	write OnError
}

// NewWork returns a Work with do for the pieces, which copy.Pool's do is. What becomes
// of errors is read's and write's to say.
func (b *Base) NewWork(read, write OnError, do func(p copy.Piece, buf []byte) (bool, error)) *Work {
	return b.NewWorkOf(read, write, copy.DefaultWorkers, copy.DefaultChunk, func(p copy.Piece, buf []byte) (bool, error) {
		read, err := do(p, buf)
		if err == nil {
			b.job.Advance(uint64(p.N))
		}
		return read, err
	})
}

// NewWorkOf is NewWork with so many pieces at once, each with a buffer of so many
// bytes, for a do that itself counts what is done.
func (b *Base) NewWorkOf(read, write OnError, workers, buffer int, do func(p copy.Piece, buf []byte) (bool, error)) *Work {
	return &Work{b: b, read: read, write: write, pool: copy.NewPool(workers, buffer, do)}
}

// Chunk returns how many bytes a piece has at most: fewer when the job is slow, so
// that it does not rush ahead and then stand still.
func (w *Work) Chunk() int64 {
	const least = 64 << 10
	speed := w.b.limit.Speed()
	if speed == 0 || speed/10 >= copy.DefaultChunk {
		return copy.DefaultChunk
	}
	return max(least, int64(speed)/10/least*least)
}

// Close waits for what is under way.
func (w *Work) Close() { w.pool.Close() }

// Yield is Base.Yield, with none of the pieces under way if it waits.
func (w *Work) Yield(n int64) error {
	if w.pool.Failed() {
		if err := w.Settle(); err != nil {
			return err
		}
	}
	return w.b.yield(n, w.pool.Settle)
}

// Go has a piece be dealt with, and yields before that. An error ends the job.
func (w *Work) Go(p copy.Piece) error {
	pace := p.N
	if p.Zero {
		pace = 0
	}
	if err := w.Yield(pace); err != nil {
		return err
	}
	w.pool.Go(p)
	return nil
}

// Skip counts n bytes of which nothing is to be done, and yields before that.
func (w *Work) Skip(n int64) error {
	if err := w.Yield(0); err != nil {
		return err
	}
	w.b.job.Advance(uint64(n))
	return nil
}

// Copy has c copy what is between off and end, and waits for it.
func (w *Work) Copy(c *copy.Copy, off, end int64) error {
	if err := w.CopyOn(c, off, end); err != nil {
		return err
	}
	return w.Settle()
}

// CopyOn is Copy without the waiting: the end of it may be under way still.
func (w *Work) CopyOn(c *copy.Copy, off, end int64) error {
	for off < end {
		p, wanted, err := c.Next(off, end, w.Chunk())
		switch {
		case err != nil:
			p.N = min(end-off, w.Chunk())
			var again bool
			if again, err = w.Failed(true, p.N, err); again {
				p.N = 0
			}
		case wanted:
			err = w.Go(p)
		default:
			err = w.Skip(p.N)
		}
		if err != nil {
			return err
		}
		off += p.N
	}
	return nil
}

// Failed is for an error between the pieces, as of finding out what they are: again
// reports whether to try once more. If not, the n bytes that it is about are left out.
func (w *Work) Failed(read bool, n int64, err error) (again bool, _ error) {
	if err := w.Settle(); err != nil {
		return false, err
	}
	again, err = w.onError(read, err)
	switch {
	case err != nil:
		return false, err
	case again:
		return true, w.b.Yield(0)
	}
	w.b.job.Advance(uint64(n))
	return false, nil
}

// onError is Base.OnError by the policy for reads or writes.
func (w *Work) onError(read bool, err error) (again bool, _ error) {
	policy := w.write
	if read {
		policy = w.read
	}
	again, err = w.b.OnError(policy, read, err)
	if err == nil && !again && w.Retry > 0 {
		return true, w.b.job.Sleep(w.Retry)
	}
	return again, err
}

// Settle returns when all pieces are done, those that have to wait for a user
// included. An error ends the job.
func (w *Work) Settle() error {
	for {
		w.pool.Settle()
		failed := w.pool.Failures()
		if len(failed) == 0 {
			return nil
		}
		var retry []copy.Piece
		for _, f := range failed {
			again, err := w.onError(f.Read, f.Err)
			switch {
			case err != nil:
				return err
			case again:
				retry = append(retry, f.Piece)
			default:
				w.b.job.Advance(uint64(f.N))
			}
		}
		if err := w.b.Yield(0); err != nil {
			return err
		}
		for _, p := range retry {
			w.pool.Go(p)
		}
	}
}
