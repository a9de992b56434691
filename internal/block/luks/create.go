package luks

import (
	"context"

	"govmd/internal/block"
	"govmd/internal/block/encrypt"
	"govmd/internal/qmp"
)

// CreateOptions say what image to make (BlockdevCreateOptionsLUKS).
type CreateOptions struct {
	encrypt.CreateOptions
	File          block.Ref `qmp:"file"`
	Size          qmp.Size  `qmp:"size"`
	Preallocation *Prealloc `qmp:"preallocation"`
}

// Prealloc is how much is allocated.
type Prealloc string

// EnumValues implements qmp.Enum.
func (Prealloc) EnumValues() []string { return []string{"off", "metadata", "falloc", "full"} }

// create makes an image in a file that exists.
func create(ctx context.Context, g *block.Graph, opts any) error {
	o := opts.(*CreateOptions)
	pre := block.PreallocOff
	if o.Preallocation != nil {
		pre, _ = block.ParsePrealloc(string(*o.Preallocation)) // its values have been checked
	}
	if o.Size > 1<<62 {
		return block.Errorf(block.KindInvalid, "The requested file size is too large")
	}
	f, err := encrypt.New(ctx, g, &o.CreateOptions, "")
	if err != nil {
		return err
	}
	t, err := g.OpenTarget(ctx, o.File)
	if err != nil {
		return err
	}
	defer t.Close()
	c := t.Root()
	if err := c.Truncate(ctx, f.PayloadOffset+int64(o.Size), false, pre, 0); err != nil {
		return err
	}
	return f.Write(ctx, c)
}

// measure says how large a new image would be.
func measure(opts any, size int64, _ *block.Node) (block.Measured, error) {
	n, err := opts.(*CreateOptions).HeaderSize()
	return block.Measured{Required: n + size, FullyAllocated: n + size, Bitmaps: -1}, err
}
