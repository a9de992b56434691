// Package backup has the jobs of drive-backup and blockdev-backup: a target is given
// what a disk, or a part of it, held when the job began, while the guest writes on.
package backup

import (
	"context"
	"math"
	"time"

	"govmd/internal/block"
	"govmd/internal/block/blockjob"
	"govmd/internal/block/copy"
	"govmd/internal/block/filter"
	"govmd/internal/job"
	"govmd/internal/qmp"
)

// BitmapMode says what becomes of the bitmap of a backup: the type BitmapSyncMode.
type BitmapMode string

// What becomes of the bitmap.
const (
	OnSuccess BitmapMode = "on-success" // what a backup that has succeeded copied is unmarked
	Never     BitmapMode = "never"      // nothing
	Always    BitmapMode = "always"     // what was copied is unmarked, and only that
)

// EnumValues implements qmp.Enum.
func (BitmapMode) EnumValues() []string {
	return []string{string(OnSuccess), string(Never), string(Always)}
}

// Perf tunes a backup.
type Perf struct {
	CopyRange *bool  `qmp:"use-copy-range"`
	Workers   *int64 `qmp:"max-workers"`
	Chunk     *int64 `qmp:"max-chunk"` // bytes at once, 0 for what is best
}

// options are what both commands take.
type options struct {
	JobID         *string           `qmp:"job-id"`
	Device        string            `qmp:"device"`
	Sync          blockjob.SyncMode `qmp:"sync"`
	Speed         *int64            `qmp:"speed"`
	Bitmap        *string           `qmp:"bitmap"`
	BitmapMode    *BitmapMode       `qmp:"bitmap-mode"`
	Compress      *bool             `qmp:"compress"`
	OnSourceError *blockjob.OnError `qmp:"on-source-error"`
	OnTargetError *blockjob.OnError `qmp:"on-target-error"`
	AutoFinalize  *bool             `qmp:"auto-finalize"`
	AutoDismiss   *bool             `qmp:"auto-dismiss"`
	FilterName    *string           `qmp:"filter-node-name"`
	Perf          *Perf             `qmp:"x-perf,unstable"`
}

// backup is the job. The guest is over the filter, which copies what is about to
// change; the job copies the rest, of which it has the filter keep account.
type backup struct {
	blockjob.Base
	filter  *filter.CopyBeforeWrite
	once    *copy.Once
	length  int64
	mode    blockjob.SyncMode
	bitmap  *block.Bitmap // whose successor marks meanwhile; nil for none
	outcome BitmapMode    // for the bitmap

	source, target blockjob.OnError
	workers        int
	chunk          int64 // bytes at once
}

// Type implements job.Driver.
func (*backup) Type() job.Type { return job.TypeBackup }

// Run implements job.Driver.
func (b *backup) Run(_ context.Context, j *job.Job) error {
	b.once.Watch(func(copied, left int64) {
		j.Advance(uint64(copied))
		j.SetRemaining(uint64(left))
	})
	switch b.mode {
	case blockjob.SyncNone:
		return j.WaitFor(func() bool { return false }) // the filter does it all, until somebody ends it
	case blockjob.SyncTop:
		if err := b.trim(); err != nil {
			return err
		}
	}
	return b.copy()
}

// trim leaves out what is not the topmost image's own.
func (b *backup) trim() error {
	const step = 64 << 20
	for off := int64(0); off < b.length; {
		if err := b.Yield(0); err != nil {
			return err
		}
		if err := b.once.Trim(off, step); err != nil {
			again, err := b.OnError(b.source, true, err)
			if err != nil {
				return err
			}
			if again {
				continue
			}
		}
		off += step
	}
	return nil
}

// pace is how long after an error that is to be ignored a piece is tried again.
const pace = 100 * time.Millisecond

// copy copies what is marked until nothing is.
func (b *backup) copy() error {
	w := b.NewWorkOf(b.source, b.target, b.workers, int(b.chunk), b.once.Do)
	w.Retry = pace
	defer w.Close()
	for pos := int64(0); ; {
		if p, ok := b.once.Next(pos, min(b.chunk, w.Chunk())); ok {
			if err := w.Go(p); err != nil {
				return err
			}
			pos = p.Off + p.N
			continue
		}
		if err := w.Settle(); err != nil {
			return err
		}
		b.once.Settle() // the guest's part in it, of which some may have failed
		if b.once.Left() == 0 {
			return nil
		}
		pos = 0
	}
}

// Commit implements job.Committer.
func (b *backup) Commit(*job.Job) { b.settleBitmap(true) }

// Abort implements job.Aborter.
func (b *backup) Abort(*job.Job) { b.settleBitmap(false) }

// settleBitmap ends what the bitmap's successor was for.
func (b *backup) settleBitmap(ok bool) {
	m := b.bitmap
	switch {
	case m == nil:
		return
	case b.outcome == Always || ok && b.outcome == OnSuccess:
		m.Abdicate()
	default:
		m.Reclaim()
	}
	if !ok && b.outcome == Always {
		// What was not copied is still to be. The sizes are the same: the job keeps the
		// disk from being resized.
		_ = m.Merge(b.filter.Todo())
	}
}

// Clean implements job.Cleaner.
func (b *backup) Clean(j *job.Job) {
	b.Base.Clean(j)
	_ = b.filter.Remove(context.Background()) // what is filtered can do what the filter could
}

// check refuses options that do not go together, and finds the bitmap.
func (o *options) check(n *block.Node) (*block.Bitmap, error) {
	if o.Bitmap == nil {
		switch {
		case o.Sync == blockjob.SyncBitmap || o.Sync == blockjob.SyncIncremental:
			return nil, qmp.Errorf("must provide a valid bitmap name for '%s' sync mode", o.Sync)
		case o.BitmapMode != nil:
			return nil, qmp.Errorf("Cannot specify bitmap sync mode without a bitmap")
		}
		return nil, nil
	}
	if o.Sync == blockjob.SyncIncremental {
		if o.BitmapMode != nil && *o.BitmapMode != OnSuccess {
			return nil, qmp.Errorf("Bitmap sync mode must be '%s' when using sync mode '%s'", OnSuccess, o.Sync)
		}
		mode := OnSuccess
		o.Sync, o.BitmapMode = blockjob.SyncBitmap, &mode
	}
	m := n.Bitmap(*o.Bitmap)
	switch {
	case m == nil:
		return nil, qmp.Errorf("Bitmap '%s' could not be found", *o.Bitmap)
	case o.BitmapMode == nil:
		return nil, qmp.Errorf("Bitmap sync mode must be given when providing a bitmap")
	}
	if err := m.Check(block.BitmapAllowRO); err != nil {
		return nil, err
	}
	switch {
	case o.Sync == blockjob.SyncNone:
		return nil, qmp.Errorf("sync mode '%s' does not produce meaningful bitmap outputs", o.Sync)
	case *o.BitmapMode == Never && o.Sync != blockjob.SyncBitmap:
		return nil, qmp.Errorf("Bitmap sync mode '%s' has no meaningful effect when combined with sync mode '%s'", Never, o.Sync)
	}
	if *o.BitmapMode != Never {
		if err := m.Check(block.BitmapDefault); err != nil {
			return nil, err
		}
	}
	return m, nil
}

// checkNodes refuses nodes that cannot be copied from, or to.
func (o *options) checkNodes(source, target *block.Node) error {
	if source == target {
		return qmp.Errorf("Source and target cannot be the same")
	}
	if o.compress() && target.Limits().WriteFlags&block.Compressed == 0 {
		return qmp.Errorf("Compression is not supported for this drive %s", target.DeviceName())
	}
	if p := o.Perf; p != nil {
		if p.Workers != nil && (*p.Workers < 1 || *p.Workers > math.MaxInt32) {
			return qmp.Errorf("max-workers must be between 1 and %d", math.MaxInt32)
		}
		if p.Chunk != nil && *p.Chunk < 0 {
			return qmp.Errorf("max-chunk must be zero (which means no limit) or positive")
		}
	}
	if err := source.Blocked(block.OperationBackupSource); err != nil {
		return err
	}
	if err := target.Blocked(block.OperationBackupTarget); err != nil {
		return err
	}
	if source.Length() != target.Length() {
		return qmp.Errorf("Source and target image have different sizes")
	}
	return nil
}

func (o *options) compress() bool { return o.Compress != nil && *o.Compress }

// maxWorkers bounds how many pieces are under way at once, whatever max-workers says.
const maxWorkers = 64

// tune sets how much is copied at once.
func (b *backup) tune(o *options) error {
	unit := b.once.Unit()
	b.workers, b.chunk = copy.DefaultWorkers, max(copy.DefaultChunk, unit)
	ranged := true
	if p := o.Perf; p != nil {
		if p.Chunk != nil && *p.Chunk > 0 {
			if *p.Chunk < unit {
				return qmp.Errorf("Required max-chunk (%d) is less than backup cluster size (%d)", *p.Chunk, unit)
			}
			b.chunk = min(b.chunk, *p.Chunk/unit*unit)
		}
		if p.Workers != nil {
			b.workers = int(min(*p.Workers, maxWorkers))
		}
		ranged = p.CopyRange == nil || *p.CopyRange
	}
	flags := b.filter.Flags() | block.MayUnmap
	if o.compress() {
		flags |= block.Compressed
		b.chunk = unit // what is compressed keeps a processor busy
	}
	b.once.SetFlags(flags, ranged)
	return nil
}
