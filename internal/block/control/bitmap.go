package control

import (
	"context"

	"govmd/internal/block"
	"govmd/internal/qmp"
)

type bitmapArgs struct {
	Node string `qmp:"node"`
	Name string `qmp:"name"`
}

type addBitmapArgs struct {
	Node        string  `qmp:"node"`
	Name        string  `qmp:"name"`
	Granularity *uint32 `qmp:"granularity"`
	Persistent  *bool   `qmp:"persistent"`
	Disabled    *bool   `qmp:"disabled"`
}

// bitmapRef is a bitmap of the same node, by name, or of another.
type bitmapRef struct {
	qmp.Alternate
	Local    *string     `qmp:"local"`
	External *bitmapArgs `qmp:"external"`
}

type mergeArgs struct {
	Node    string      `qmp:"node"`
	Target  string      `qmp:"target"`
	Bitmaps []bitmapRef `qmp:"bitmaps"`
}

// usable returns a node's bitmap, unless it is in a state that check refuses.
func (c *Control) usable(node, name string, check block.BitmapCheck) (*block.Bitmap, error) {
	b, err := c.graph.Bitmap(node, name)
	if err == nil {
		err = b.Check(check)
	}
	if err != nil {
		return nil, err
	}
	return b, nil
}

// addBitmap is block-dirty-bitmap-add.
func (c *Control) addBitmap(a *addBitmapArgs) Action {
	var b *block.Bitmap
	return Action{
		Prepare: func(context.Context) error {
			n, err := c.Medium(a.Node)
			if err != nil {
				return err
			}
			if a.Name == "" {
				return qmp.Errorf("Bitmap name cannot be empty")
			}
			granularity := n.DefaultGranularity()
			if a.Granularity != nil {
				granularity = int64(*a.Granularity)
				if granularity < block.MinGranularity || granularity&(granularity-1) != 0 {
					return qmp.Errorf("Granularity must be power of 2 and at least %d", block.MinGranularity)
				}
			}
			persistent := a.Persistent != nil && *a.Persistent
			if persistent {
				if err := canStore(n, a.Name, granularity); err != nil {
					return err
				}
			}
			if b, err = n.CreateBitmap(a.Name, granularity); err != nil {
				return err
			}
			b.SetPersistent(persistent)
			b.SetEnabled(a.Disabled == nil || !*a.Disabled)
			return nil
		},
		Abort: func() { b.Remove() },
	}
}

func canStore(n *block.Node, name string, granularity int64) error {
	s, ok := n.SkipFilters().Driver().(block.BitmapStore)
	err := error(block.ErrUnsupp)
	if ok {
		err = s.CanStoreBitmap(name, granularity)
	}
	if err != nil {
		return qmp.Errorf("Can't store persistent bitmaps to %s: %s", n.Name(), block.ErrorText(err))
	}
	return nil
}

// removeBitmap is block-dirty-bitmap-remove. What is stored goes first, since that
// can fail; a bitmap that stays after all is stored again when its image closes.
func (c *Control) removeBitmap(a *bitmapArgs) Action {
	var b *block.Bitmap
	return Action{
		Prepare: func(ctx context.Context) (err error) {
			if b, err = c.usable(a.Node, a.Name, block.BitmapBusy|block.BitmapReadonly); err != nil {
				return err
			}
			if s, ok := b.Node().Driver().(block.BitmapStore); ok && b.Persistent() {
				return s.RemoveBitmap(ctx, b.Name())
			}
			return nil
		},
		Commit: func() { b.Remove() },
	}
}

// clearBitmap is block-dirty-bitmap-clear.
func (c *Control) clearBitmap(a *bitmapArgs) Action {
	var b *block.Bitmap
	var was []uint64
	return Action{
		Prepare: func(context.Context) (err error) {
			if b, err = c.usable(a.Node, a.Name, block.BitmapDefault); err == nil {
				was = b.Clear()
			}
			return err
		},
		Abort: func() { b.Restore(was) },
	}
}

// enableBitmap is block-dirty-bitmap-enable and -disable.
func (c *Control) enableBitmap(a *bitmapArgs, on bool) Action {
	var b *block.Bitmap
	var was bool
	return Action{
		Prepare: func(context.Context) (err error) {
			check := block.BitmapAllowRO
			if on {
				check = block.BitmapDefault
			}
			if b, err = c.usable(a.Node, a.Name, check); err == nil {
				was = b.Enabled()
				b.SetEnabled(on)
			}
			return err
		},
		Abort: func() { b.SetEnabled(was) },
	}
}

// mergeBitmaps is block-dirty-bitmap-merge.
func (c *Control) mergeBitmaps(a *mergeArgs) Action {
	var dst *block.Bitmap
	var was []uint64
	return Action{
		Prepare: func(context.Context) (err error) {
			if dst, err = c.usable(a.Node, a.Target, block.BitmapDefault); err != nil {
				return err
			}
			var sources []*block.Bitmap
			for _, r := range a.Bitmaps {
				node, name := a.Node, ""
				if r.Local != nil {
					name = *r.Local
				} else {
					node, name = r.External.Node, r.External.Name
				}
				src, err := c.usable(node, name, block.BitmapAllowRO)
				if err != nil {
					return err
				}
				sources = append(sources, src)
			}
			was = dst.Words()
			for _, src := range sources {
				if src == dst {
					continue
				}
				if err := dst.Merge(src); err != nil {
					dst.Restore(was)
					return err
				}
			}
			return nil
		},
		Abort: func() { dst.Restore(was) },
	}
}

func (c *Control) bitmapCommands() []qmp.Command {
	return []qmp.Command{
		command("block-dirty-bitmap-add", c.addBitmap),
		command("block-dirty-bitmap-remove", c.removeBitmap),
		command("block-dirty-bitmap-clear", c.clearBitmap),
		command("block-dirty-bitmap-enable", func(a *bitmapArgs) Action { return c.enableBitmap(a, true) }),
		command("block-dirty-bitmap-disable", func(a *bitmapArgs) Action { return c.enableBitmap(a, false) }),
		command("block-dirty-bitmap-merge", c.mergeBitmaps),
	}
}

func init() {
	RegisterAction("block-dirty-bitmap-add", (*Control).addBitmap)
	RegisterAction("block-dirty-bitmap-remove", (*Control).removeBitmap)
	RegisterAction("block-dirty-bitmap-clear", (*Control).clearBitmap)
	RegisterAction("block-dirty-bitmap-enable", func(c *Control, a *bitmapArgs) Action { return c.enableBitmap(a, true) })
	RegisterAction("block-dirty-bitmap-disable", func(c *Control, a *bitmapArgs) Action { return c.enableBitmap(a, false) })
	RegisterAction("block-dirty-bitmap-merge", (*Control).mergeBitmaps)
}
