package control

import (
	"context"

	"govmd/internal/block"
	"govmd/internal/qmp"
)

// TargetImage is an image that a job is to fill.
type TargetImage struct {
	Source   *block.Node // what is copied
	Behind   *block.Node // what the image has as its backing file, nil for nothing
	File     string
	Format   *string // nil: the source's or, of an image that exists, a guess
	Mode     *NewImageMode
	NodeName *string // nil for any
	Settings block.Settings
}

// OpenTarget opens an image, and makes it unless it exists. The caller owns the
// reference that is returned.
func (c *Control) OpenTarget(ctx context.Context, t *TargetImage) (*block.Node, error) {
	opts := &qmp.Object{}
	if t.Format != nil {
		opts.Add("driver", *t.Format)
	}
	if t.Mode == nil || *t.Mode != "existing" {
		format := t.Source.SkipFilters().DriverName()
		if t.Format != nil {
			format = *t.Format
		}
		if err := c.makeImage(ctx, format, t.File, t.Source.Length(), t.Behind); err != nil {
			return nil, err
		}
		opts.Set("driver", format)
	}
	if t.NodeName != nil {
		opts.Add("node-name", *t.NodeName)
	}
	return c.graph.OpenImage(ctx, t.File, opts, qmp.JSON, t.Settings)
}

// makeImage makes an image of a size with a backing file, if that is not nil.
func (c *Control) makeImage(ctx context.Context, format, file string, size int64, behind *block.Node) error {
	t := block.TypeOf(format)
	if t == nil {
		return block.UnknownFormat(format)
	}
	keys := &qmp.Object{}
	keys.Add("size", size)
	if behind != nil {
		if !t.Backing {
			return qmp.Errorf("Backing file not supported for file format '%s'", format)
		}
		keys.Add("backing_file", behind.FileName())
		keys.Add("backing_fmt", behind.SkipFilters().DriverName())
	}
	return c.graph.CreateImage(ctx, format, file, keys, qmp.JSON)
}
