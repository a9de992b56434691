// Package commit has the jobs of block-commit: what images have of their own goes
// to one below them, which then takes their place.
package commit

import (
	"context"

	"govmd/internal/block"
	"govmd/internal/block/blockjob"
	"govmd/internal/block/control"
	"govmd/internal/qmp"
)

type args struct {
	JobID        *string           `qmp:"job-id"`
	Device       string            `qmp:"device"`
	BaseNode     *string           `qmp:"base-node"`
	Base         *string           `qmp:"base,deprecated"`
	TopNode      *string           `qmp:"top-node"`
	Top          *string           `qmp:"top,deprecated"`
	BackingFile  *string           `qmp:"backing-file"`
	Speed        *int64            `qmp:"speed"`
	OnError      *blockjob.OnError `qmp:"on-error"`
	FilterName   *string           `qmp:"filter-node-name"`
	AutoFinalize *bool             `qmp:"auto-finalize"`
	AutoDismiss  *bool             `qmp:"auto-dismiss"`

	jobs *blockjob.Manager
}

func (a *args) policy() blockjob.OnError {
	if a.OnError == nil {
		return blockjob.Report
	}
	return *a.OnError
}

func (a *args) options(shared block.Perm) blockjob.Options {
	o := blockjob.Options{ID: a.JobID, AutoFinalize: a.AutoFinalize, AutoDismiss: a.AutoDismiss, Shared: shared}
	if a.Speed != nil {
		o.Speed = *a.Speed
	}
	return o
}

// Start is block-commit.
func Start(ctx context.Context, c *control.Control, a *args) error {
	a.jobs = c.Jobs()
	if _, err := c.Medium(a.Device); err != nil {
		return qmp.DeviceNotFound(a.Device)
	}
	device, err := c.Root(a.Device)
	if err != nil {
		return err
	}
	if err := device.Blocked(block.OperationCommitSource); err != nil {
		return err
	}
	top, err := a.findTop(c, device)
	if err != nil {
		return err
	}
	base, err := a.findBase(c, top)
	if err != nil {
		return err
	}
	for n := top; ; n = n.BackingChainNext() {
		if err := n.Blocked(block.OperationCommitTarget); err != nil {
			return err
		}
		if n == base {
			break
		}
	}
	if top == base {
		return qmp.Errorf("cannot commit an image into itself")
	}
	if top.SkipFilters() == base.SkipFilters() {
		return qmp.Errorf("Invalid files for merge: top and base are the same")
	}
	overlay := overlayOf(device, top)
	if overlay == nil || top.Wanted()&block.PermWrite != 0 {
		return startActive(ctx, device, top, base, a)
	}
	if err := overlay.Blocked(block.OperationCommitTarget); err != nil {
		return err
	}
	return start(ctx, device, top, base, a)
}

// overlayOf returns the image of device's chain that top is the backing file of, nil
// if top is the active layer.
func overlayOf(device, top *block.Node) *block.Node {
	want := top.SkipFilters()
	for n := device.SkipFilters(); n != nil && n != want; {
		back := n.Backing()
		if back == nil {
			return nil
		}
		if back.SkipFilters() == want {
			return n
		}
		n = back.SkipFilters()
	}
	return nil
}

func (a *args) findTop(c *control.Control, device *block.Node) (*block.Node, error) {
	switch {
	case a.TopNode != nil && a.Top != nil:
		return nil, qmp.Errorf("'top-node' and 'top' are mutually exclusive")
	case a.TopNode != nil:
		n, err := c.Graph().Lookup("", *a.TopNode)
		if err != nil {
			return nil, err
		}
		if !device.InChain(n) {
			return nil, qmp.Errorf("'%s' is not in this backing file chain", *a.TopNode)
		}
		return n, nil
	case a.Top != nil && *a.Top != device.FileName():
		if n := device.FindBacking(*a.Top); n != nil {
			return n, nil
		}
		return nil, qmp.Errorf("Top image file %s not found", *a.Top)
	}
	return device, nil
}

func (a *args) findBase(c *control.Control, top *block.Node) (*block.Node, error) {
	switch {
	case a.BaseNode != nil && a.Base != nil:
		return nil, qmp.Errorf("'base-node' and 'base' are mutually exclusive")
	case a.BaseNode != nil:
		n, err := c.Graph().Lookup("", *a.BaseNode)
		if err != nil {
			return nil, err
		}
		if !top.InChain(n) {
			return nil, qmp.Errorf("'%s' is not in this backing file chain", *a.BaseNode)
		}
		return n, nil
	case a.Base != nil:
		if n := top.FindBacking(*a.Base); n != nil {
			return n, nil
		}
		return nil, qmp.Errorf("Can't find '%s' in the backing chain", *a.Base)
	}
	n := top.SkipFilters()
	for n.Backing() != nil {
		n = n.Backing().SkipFilters()
	}
	return n, nil
}

// Commands returns the commands that commit.
func Commands(c *control.Control) []qmp.Command {
	return []qmp.Command{
		qmp.New("block-commit", func(ctx *qmp.Context, a *args) (none qmp.None, err error) {
			return none, Start(ctx, c, a)
		}),
	}
}
