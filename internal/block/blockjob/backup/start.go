package backup

import (
	"context"
	"io"

	"govmd/internal/block"
	"govmd/internal/block/blockjob"
	"govmd/internal/block/control"
	"govmd/internal/block/filter"
	"govmd/internal/job"
	"govmd/internal/qmp"
)

// blockdevArgs are the arguments of blockdev-backup.
type blockdevArgs struct {
	options
	Target string `qmp:"target"`
}

// driveArgs are the arguments of drive-backup.
type driveArgs struct {
	options
	Target string                `qmp:"target"`
	Format *string               `qmp:"format"`
	Mode   *control.NewImageMode `qmp:"mode"`
}

// start is one of the commands.
type start struct {
	c   *control.Control
	txn *job.Txn
	o   *options
}

// action returns the action that makes a job. open returns source and target, the
// latter with a reference; from then on the source does not change.
func (s start) action(open func(ctx context.Context) (source, target *block.Node, err error)) control.Action {
	var drained *block.Node
	var made *job.Job
	a := control.JobAction(func(ctx context.Context) (_ *job.Job, err error) {
		source, target, err := open(ctx)
		if err != nil {
			return nil, err
		}
		defer target.Unref()
		if err := source.Drain(ctx); err != nil {
			return nil, err
		}
		source.Ref()
		drained = source
		if made, err = s.job(ctx, source, target); err != nil {
			drained.Undrain()
			drained.Unref()
		}
		return made, err
	})
	a.Clean = func() {
		if made.Started() {
			// The job shows that it is paused before it goes on.
			_ = made.WaitIdle(context.Background())
		}
		drained.Undrain()
		drained.Unref()
	}
	return a
}

// job makes the job.
func (s start) job(ctx context.Context, source, target *block.Node) (_ *job.Job, err error) {
	o := s.o
	m, err := o.check(source)
	if err != nil {
		return nil, err
	}
	if err := o.checkNodes(source, target); err != nil {
		return nil, err
	}
	b := &backup{mode: o.Sync, length: source.Length(), source: blockjob.Report, target: blockjob.Report}
	if o.OnSourceError != nil {
		b.source = *o.OnSourceError
	}
	if o.OnTargetError != nil {
		b.target = *o.OnTargetError
	}
	if m != nil {
		if err := m.CreateSuccessor(); err != nil {
			return nil, err
		}
		b.bitmap, b.outcome = m, *o.BitmapMode
	}
	made := false
	defer func() {
		if err == nil {
			return
		}
		if made {
			b.Discard()
		}
		if b.filter != nil {
			_ = b.filter.Remove(ctx) // it has only just been put in
		}
		if b.bitmap != nil {
			b.bitmap.Reclaim()
		}
	}()
	if b.filter, err = filter.Insert(ctx, s.c.Graph(), source, target, o.FilterName); err != nil {
		return nil, err
	}
	b.once = b.filter.Once()
	if err := b.tune(o); err != nil {
		return nil, err
	}
	switch b.mode {
	case blockjob.SyncBitmap:
		b.filter.Todo().Clear()
		if err := b.filter.Todo().Merge(m); err != nil {
			return nil, err
		}
	case blockjob.SyncTop:
		b.once.SetBase(source.SkipFilters().Backing())
	}
	jo := blockjob.Options{
		ID: o.JobID, AutoFinalize: o.AutoFinalize, AutoDismiss: o.AutoDismiss, Txn: s.txn, Shared: block.PermAll,
	}
	if o.Speed != nil {
		jo.Speed = *o.Speed
	}
	if err := s.c.Jobs().New(b, b.filter.Node(), jo); err != nil {
		return nil, err
	}
	made = true
	if _, err := b.Hold("target", target, 0, block.PermAll); err != nil {
		return nil, err
	}
	return b.Job(), nil
}

// blockdev is blockdev-backup.
func blockdev(c *control.Control, t *job.Txn, a *blockdevArgs) control.Action {
	return start{c, t, &a.options}.action(func(context.Context) (source, target *block.Node, err error) {
		if source, err = c.Medium(a.Device); err != nil {
			return nil, nil, err
		}
		if target, err = c.Medium(a.Target); err != nil {
			return nil, nil, err
		}
		target.Ref()
		return source, target, nil
	})
}

// drive is drive-backup: it opens, and mostly makes, the target.
func drive(c *control.Control, t *job.Txn, a *driveArgs) control.Action {
	return start{c, t, &a.options}.action(func(ctx context.Context) (source, target *block.Node, err error) {
		if source, err = c.Root(a.Device); err != nil {
			return nil, nil, err
		}
		if err := source.Blocked(block.OperationBackupSource); err != nil {
			return nil, nil, err
		}
		var behind *block.Node // the target; nil for nothing
		switch a.Sync {
		case blockjob.SyncTop:
			if behind = source.SkipFilters().BackingChainNext(); behind == nil {
				a.Sync = blockjob.SyncFull
			}
		case blockjob.SyncNone:
			behind = source
		}
		set := source.Settings()
		set.ReadOnly, set.Unmap, set.DetectZeroes, set.NoBacking = false, true, block.DetectZeroesUnmap, behind == source
		target, err = c.OpenTarget(ctx, &control.TargetImage{
			Source: source, Behind: behind, File: a.Target, Format: a.Format, Mode: a.Mode, Settings: set,
		})
		if err == nil && behind == source {
			if err = c.Graph().SetBacking(target, source); err != nil {
				target.Unref()
			}
		}
		return source, target, err
	})
}

func init() {
	control.RegisterJobAction("blockdev-backup", blockdev)
	control.RegisterJobAction("drive-backup", drive)
}

// HumanCommands returns the human monitor's command that makes backups.
func HumanCommands(c *control.Control) []qmp.HumanCommand {
	return []qmp.HumanCommand{{
		Name: "drive_backup", Args: "reuse:-n,full:-f,compress:-c,device:B,target:s,format:s?",
		Params: "[-n] [-f] [-c] device target [format]", Help: "start a copy of a drive as it is now (-n: into an image that exists;" +
			" -f: all of the disk, not the topmost image; -c: compressed)",
		Complete: c.CompleteDrive,
		Run: func(ctx *qmp.Context, h qmp.HumanArgs, _ io.Writer) error {
			a := &driveArgs{Target: h.Str("target")}
			a.Device, a.Sync = h.Str("device"), blockjob.SyncTop
			if h.Bool("full") {
				a.Sync = blockjob.SyncFull
			}
			if h.Bool("reuse") {
				mode := control.NewImageMode("existing")
				a.Mode = &mode
			}
			if f := h.Str("format"); f != "" {
				a.Format = &f
			}
			compress := h.Bool("compress")
			a.Compress = &compress
			return control.RunOne(ctx, drive(c, nil, a))
		},
	}}
}

// Commands returns the commands that make backups.
func Commands(c *control.Control) []qmp.Command {
	return []qmp.Command{
		control.JobCommand(c, "blockdev-backup", blockdev),
		control.JobCommand(c, "drive-backup", drive, qmp.Deprecated),
	}
}
