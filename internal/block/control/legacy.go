package control

import (
	"context"

	"govmd/internal/block"
	"govmd/internal/qmp"
)

// Add opens a node that belongs to the monitor until blockdev-del, as -blockdev
// does. It waits for the image to be open.
func (c *Control) Add(ctx context.Context, o *block.Options) error {
	if o.NodeName == nil {
		return qmp.Errorf("'node-name' must be specified for the root node")
	}
	n, err := c.graph.Open(ctx, o, defaults)
	if err != nil {
		return err
	}
	n.SetMonitorOwned(true)
	return nil
}
