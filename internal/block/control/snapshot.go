package control

import (
	"context"

	"govmd/internal/block"
	"govmd/internal/qmp"
)

// NewImageMode says whether a new image is made or is there already.
type NewImageMode string

// EnumValues implements qmp.Enum.
func (NewImageMode) EnumValues() []string { return []string{"existing", "absolute-paths"} }

type snapshotSyncArgs struct {
	Device           *string       `qmp:"device"`
	NodeName         *string       `qmp:"node-name"`
	SnapshotFile     string        `qmp:"snapshot-file"`
	SnapshotNodeName *string       `qmp:"snapshot-node-name"`
	Format           *string       `qmp:"format"`
	Mode             *NewImageMode `qmp:"mode"`
}

type snapshotArgs struct {
	Node    string `qmp:"node"`
	Overlay string `qmp:"overlay"`
}

// external is an external snapshot in the making: over takes the place of old,
// which becomes its backing file.
type external struct {
	c         *Control
	old, over *block.Node
}

// snapshotSync is blockdev-snapshot-sync: it opens, and mostly makes, the overlay.
func (c *Control) snapshotSync(a *snapshotSyncArgs) Action {
	e := &external{c: c}
	return e.action(func(ctx context.Context) error {
		var err error
		if e.old, err = c.node(a.Device, a.NodeName); err != nil {
			return err
		}
		if a.NodeName != nil && a.SnapshotNodeName == nil {
			return qmp.Errorf("New overlay node-name missing")
		}
		if a.SnapshotNodeName != nil && c.graph.Node(*a.SnapshotNodeName) != nil {
			return qmp.Errorf("New overlay node-name already in use")
		}
		if err := e.old.Blocked(block.OperationExternalSnapshot); err != nil {
			return err
		}
		format := "qcow2"
		if a.Format != nil {
			format = *a.Format
		}
		if err := c.makeOverlay(ctx, e.old, format, a.SnapshotFile, a.Mode); err != nil {
			return err
		}
		opts := &qmp.Object{}
		opts.Add("driver", format)
		if a.SnapshotNodeName != nil {
			opts.Add("node-name", *a.SnapshotNodeName)
		}
		opts.Add("backing", nil)
		e.over, err = c.graph.OpenImage(ctx, a.SnapshotFile, opts, qmp.JSON, e.old.Settings())
		return err
	})
}

// makeOverlay makes an image with n as its backing file, unless it is there.
func (c *Control) makeOverlay(ctx context.Context, n *block.Node, format, file string, mode *NewImageMode) error {
	if block.TypeOf(format) == nil {
		return block.UnknownFormat(format)
	}
	if mode != nil && *mode == "existing" {
		return nil
	}
	return c.makeImage(ctx, format, file, n.Length(), n)
}

// snapshot is blockdev-snapshot: the overlay is a node already.
func (c *Control) snapshot(a *snapshotArgs) Action {
	e := &external{c: c}
	return e.action(func(ctx context.Context) (err error) {
		if e.old, err = c.Medium(a.Node); err != nil {
			return err
		}
		if err := e.old.Blocked(block.OperationExternalSnapshot); err != nil {
			return err
		}
		if e.over, err = c.Medium(a.Overlay); err != nil {
			return err
		}
		e.over.Ref()
		return nil
	})
}

// action makes an Action of an external snapshot whose nodes find finds.
func (e *external) action(find func(ctx context.Context) error) Action {
	drained, placed := false, false
	undrain := func() {
		if drained {
			e.old.Undrain()
			e.over.Undrain()
			e.old.Unref()
		}
		if e.over != nil {
			e.over.Unref()
		}
	}
	undo := func() {
		if !placed {
			return
		}
		g := e.c.graph
		// It was so before, and nobody can have come in between: both are drained.
		_ = g.SetBacking(e.over, nil)
		_ = g.ReplaceNode(e.over, e.old, nil)
	}
	return Action{
		Prepare: func(ctx context.Context) (err error) {
			defer func() {
				if err != nil {
					undo()
					undrain()
				}
			}()
			if err = find(ctx); err != nil {
				return err
			}
			if err = e.suits(); err != nil {
				return err
			}
			if err = e.old.Drain(ctx); err != nil {
				return err
			}
			if err = e.over.Drain(ctx); err != nil {
				e.old.Undrain()
				return err
			}
			drained = true
			e.old.Ref() // between two users it must not go
			if err = e.old.Flush(); err != nil {
				return qmp.Errorf("An IO error has occurred")
			}
			if err = e.c.graph.ReplaceNode(e.old, e.over, nil); err != nil {
				return err
			}
			placed = true
			return e.c.graph.SetBacking(e.over, e.old)
		},
		Commit: func() {
			// What is behind an overlay need not be written. It does no harm if it stays so.
			_ = e.c.graph.SetReadOnly(context.Background(), e.old, true)
			undrain()
		},
		Abort: func() {
			undo()
			undrain()
		},
	}
}

// suits refuses an overlay that cannot be one.
func (e *external) suits() error {
	if inDrive(e.over) {
		return qmp.Errorf("The overlay is already in use")
	}
	if err := e.over.Blocked(block.OperationExternalSnapshot); err != nil {
		return err
	}
	switch {
	case e.over.Backing() != nil:
		return qmp.Errorf("The overlay already has a backing image")
	case !e.over.Type().Backing:
		return qmp.Errorf("The overlay does not support backing images")
	}
	return nil
}

func (c *Control) snapshotCommands() []qmp.Command {
	return []qmp.Command{
		command("blockdev-snapshot-sync", c.snapshotSync),
		command("blockdev-snapshot", c.snapshot),
		command("blockdev-snapshot-internal-sync", c.snapshotInternal),
		qmp.New("blockdev-snapshot-delete-internal-sync", c.deleteInternal),
		qmp.New("change-backing-file", c.changeBacking),
	}
}

func init() {
	RegisterAction("blockdev-snapshot-sync", (*Control).snapshotSync)
	RegisterAction("blockdev-snapshot", (*Control).snapshot)
	RegisterAction("blockdev-snapshot-internal-sync", (*Control).snapshotInternal)
}
