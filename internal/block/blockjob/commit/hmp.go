package commit

import (
	"context"
	"fmt"
	"io"

	"golang.org/x/sys/unix"

	"govmd/internal/block"
	"govmd/internal/block/control"
	"govmd/internal/block/copy"
	"govmd/internal/block/filter"
	"govmd/internal/qmp"
)

// HumanCommands returns the human monitor's command that commits: at once, with the
// disk standing still, and the image is empty then.
func HumanCommands(c *control.Control) []qmp.HumanCommand {
	return []qmp.HumanCommand{{
		Name: "commit", Args: "device:B", Params: "device|all",
		Help: "commit changes to the disk images (if -snapshot is used) or backing files",
		Run: func(ctx *qmp.Context, a qmp.HumanArgs, out io.Writer) error {
			if err := commitDrives(ctx, c.Graph(), a.Str("device")); err != nil {
				fmt.Fprintln(out, err) // without the word Error, as QEMU has it
			}
			return nil
		},
	}}
}

// commitDrives commits the medium of the drive of that name, or with "all" those of
// all drives that have a backing file.
func commitDrives(ctx context.Context, g *block.Graph, name string) error {
	for _, b := range g.Backends() {
		n := b.Node()
		switch {
		case name == "all" && (n == nil || n.SkipFilters().Backing() == nil) || name != "all" && b.Name() != name:
			continue
		case n == nil:
			return qmp.Errorf("Device '%s' has no medium", name)
		}
		if err := down(ctx, g, n); err != nil {
			return qmp.Errorf("'commit' error for '%s': %s", name, block.ErrorText(err))
		}
		if name != "all" {
			return nil
		}
	}
	if name == "all" {
		return nil
	}
	return qmp.Errorf("Device '%s' not found", name)
}

// down writes what an image has of its own to its backing file, and empties it. The
// lane waits for it: nothing else is to go on meanwhile.
func down(ctx context.Context, g *block.Graph, n *block.Node) (err error) {
	n = n.SkipFilters()
	base := n.Backing()
	switch {
	case base == nil:
		return block.ErrUnsupp
	case n.Blocked(block.OperationCommitSource) != nil || base.Blocked(block.OperationCommitTarget) != nil:
		return unix.EBUSY
	}
	if base.ReadOnly() {
		if err := g.SetReadOnly(ctx, base, false); err != nil {
			return unix.EACCES
		}
		defer func() {
			if e := g.SetReadOnly(ctx, base, true); err == nil {
				err = e
			}
		}()
	}
	f, err := g.InsertFilter(ctx, topType, nil, &filter.JobOptions{
		GenericFormat: block.GenericFormat{File: block.NodeRef(n.Name())},
	}, n)
	if err != nil {
		return err
	}
	defer func() { _ = g.RemoveFilter(ctx, f) }() // n can do what the filter could
	return control.Drained(ctx, n, func() error { return empty(ctx, g, n, base) })
}

// empty writes what n has of its own to base, and empties n.
func empty(ctx context.Context, g *block.Graph, n, base *block.Node) error {
	from, err := use(g, n, block.PermRead)
	if err != nil {
		return err
	}
	defer from.Close()
	to, err := use(g, base, block.PermRead|block.PermWrite|block.PermResize)
	if err != nil {
		return err
	}
	defer to.Close()
	if base.Length() < n.Length() {
		if err := base.Truncate(ctx, n.Length(), false, block.PreallocOff, 0); err != nil {
			return err
		}
	}
	w := &copy.Copy{Source: from.Root(), Base: base, Target: to.Root(), ZeroFlags: block.MayUnmap}
	if err := w.Run(ctx, 0, n.Length()); err != nil {
		return err
	}
	if err := base.Flush(); err != nil {
		return err
	}
	if e, ok := n.Driver().(block.Emptier); ok {
		return e.MakeEmpty(ctx)
	}
	return nil
}

// use returns a back end of our own with n in it.
func use(g *block.Graph, n *block.Node, perm block.Perm) (*block.Backend, error) {
	b, err := g.NewBackend("")
	if err == nil {
		if err = b.SetPerms(perm, block.PermAll); err == nil {
			err = b.InsertMedium(n)
		}
		if err != nil {
			b.Close()
		}
	}
	return b, err
}
