package control

import (
	"context"
	"time"

	"govmd/internal/block"
	"govmd/internal/qmp"
)

type internalArgs struct {
	Device string `qmp:"device"`
	Name   string `qmp:"name"`
}

// snapshotter returns the medium of a drive, which can have internal snapshots.
func (c *Control) snapshotter(device string) (*block.Node, block.Snapshotter, error) {
	n, err := c.Medium(device)
	if err != nil {
		return nil, nil, err
	}
	s, ok := n.Driver().(block.Snapshotter)
	if !ok {
		return nil, nil, qmp.Errorf("Block format '%s' used by device '%s' does not support internal snapshots", n.DriverName(), device)
	}
	return n, s, nil
}

// snapshotInternal is blockdev-snapshot-internal-sync.
func (c *Control) snapshotInternal(a *internalArgs) Action {
	var n *block.Node
	var s block.Snapshotter
	var taken block.Snapshot
	return Action{
		Prepare: func(ctx context.Context) (err error) {
			if n, s, err = c.snapshotter(a.Device); err != nil {
				return err
			}
			if err := n.Blocked(block.OperationInternalSnapshot); err != nil {
				return err
			}
			if n.ReadOnly() {
				return qmp.Errorf("Device '%s' is read only", a.Device)
			}
			if a.Name == "" {
				return qmp.Errorf("Name is empty")
			}
			for _, x := range s.Snapshots() {
				if x.Name == a.Name {
					return qmp.Errorf("Snapshot with name '%s' already exists on device '%s'", a.Name, a.Device)
				}
			}
			now := time.Now()
			taken = block.Snapshot{
				Name: a.Name, DateSec: now.Unix(), DateNsec: int32(now.Nanosecond()), VMClockNsec: c.virtual(), ICount: -1,
			}
			if err := n.Drain(ctx); err != nil {
				return err
			}
			if err := s.CreateSnapshot(ctx, &taken); err != nil {
				n.Undrain()
				return qmp.Errorf("Failed to create snapshot '%s' on device '%s': %s", a.Name, a.Device, block.ErrorText(err))
			}
			return nil
		},
		Commit: func() { n.Undrain() },
		Abort: func() {
			// A snapshot too many is no harm to the disk.
			_ = s.DeleteSnapshot(context.Background(), taken.ID)
			n.Undrain()
		},
	}
}

type deleteInternalArgs struct {
	Device string  `qmp:"device"`
	ID     *string `qmp:"id"`
	Name   *string `qmp:"name"`
}

// deleteInternal is blockdev-snapshot-delete-internal-sync.
func (c *Control) deleteInternal(ctx *qmp.Context, a *deleteInternalArgs) (*SnapshotInfo, error) {
	if text(a.ID) == "" && text(a.Name) == "" {
		if _, err := c.Medium(a.Device); err != nil {
			return nil, err
		}
		return nil, qmp.Errorf("Name or id must be provided")
	}
	n, s, err := c.snapshotter(a.Device)
	if err != nil {
		return nil, err
	}
	if err := n.Blocked(block.OperationInternalDelete); err != nil {
		return nil, err
	}
	for _, x := range s.Snapshots() {
		if (a.ID == nil || *a.ID == x.ID) && (a.Name == nil || *a.Name == x.Name) {
			info := SnapshotOf(&x)
			err := Drained(ctx, n, func() error { return s.DeleteSnapshot(ctx, x.ID) })
			return &info, err
		}
	}
	shown := func(p *string) string {
		if p == nil {
			return "null"
		}
		return *p
	}
	return nil, qmp.Errorf("Snapshot with id '%s' and name '%s' does not exist on device '%s'", shown(a.ID), shown(a.Name), a.Device)
}

type changeBackingArgs struct {
	Device    string `qmp:"device"`
	ImageNode string `qmp:"image-node-name"`
	Backing   string `qmp:"backing-file"`
}

// changeBacking is change-backing-file: it changes the name that an image has its
// backing file by, not what it is open on.
func (c *Control) changeBacking(ctx *qmp.Context, a *changeBackingArgs) (none qmp.None, err error) {
	top, err := c.Root(a.Device)
	if err != nil {
		return none, err
	}
	n, err := c.graph.Lookup("", a.ImageNode)
	if err != nil {
		return none, err
	}
	back := n.Backing()
	if back == nil {
		return none, qmp.Errorf("not allowing backing file change on an image without a backing file")
	}
	if err := top.Blocked(block.OperationChange); err != nil {
		return none, err
	}
	if !top.InChain(n) {
		return none, qmp.Errorf("'%s' and image file are not in the same chain", a.Device)
	}
	ch, ok := n.Driver().(block.BackingChanger)
	if !ok {
		return none, qmp.Errorf("Could not change backing file to '%s': Operation not supported", a.Backing)
	}
	if n.ReadOnly() {
		if err := c.graph.SetReadOnly(ctx, n, false); err != nil {
			return none, err
		}
		defer func() {
			if e := c.graph.SetReadOnly(ctx, n, true); e != nil && err == nil {
				err = e
			}
		}()
	}
	if err := ch.ChangeBacking(ctx, a.Backing, back.SkipFilters().DriverName()); err != nil {
		return none, qmp.Errorf("Could not change backing file to '%s': %s", a.Backing, block.ErrorText(err))
	}
	return none, nil
}
