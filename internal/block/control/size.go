package control

import (
	"govmd/internal/block"
	"govmd/internal/qmp"
)

type resizeArgs struct {
	Device   *string `qmp:"device"`
	NodeName *string `qmp:"node-name"`
	Size     int64   `qmp:"size"`
}

// resize is block_resize.
func (c *Control) resize(ctx *qmp.Context, a *resizeArgs) (none qmp.None, err error) {
	n, err := c.node(a.Device, a.NodeName)
	if err != nil {
		return none, err
	}
	if a.Size < 0 {
		return none, qmp.InvalidValue("size", "a >0 size")
	}
	if err := n.Blocked(block.OperationResize); err != nil {
		return none, err
	}
	return none, Drained(ctx, n, func() error {
		return n.Truncate(ctx, a.Size, false, block.PreallocOff, 0)
	})
}

type thresholdArgs struct {
	NodeName  string `qmp:"node-name"`
	Threshold uint64 `qmp:"write-threshold"`
}

// setThreshold is block-set-write-threshold.
func (c *Control) setThreshold(_ *qmp.Context, a *thresholdArgs) (none qmp.None, err error) {
	n := c.graph.Node(a.NodeName)
	if n == nil {
		return none, qmp.Errorf("Device '%s' not found", a.NodeName)
	}
	n.SetWriteThreshold(int64(min(a.Threshold, 1<<63-1)))
	return none, nil
}

type passwordArgs struct {
	Device   *string `qmp:"device"`
	NodeName *string `qmp:"node-name"`
	Password string  `qmp:"password"`
}

// password is block_passwd: it gives an encrypted image that was opened without
// one its passphrase.
func (c *Control) password(ctx *qmp.Context, a *passwordArgs) (none qmp.None, err error) {
	n, err := c.node(a.Device, a.NodeName)
	if err != nil {
		return none, err
	}
	k, ok := n.Driver().(block.Keyed)
	switch {
	case !ok || !n.Info().Encrypted:
		return none, qmp.Errorf("Device '%s' is not encrypted", text(a.Device)+text(a.NodeName))
	case !n.Info().KeyMissing:
		return none, qmp.Errorf("Device '%s' has its passphrase already", text(a.Device)+text(a.NodeName))
	}
	return none, k.SetKey(ctx, []byte(a.Password))
}

func (c *Control) sizeCommands() []qmp.Command {
	return []qmp.Command{
		qmp.New("block_resize", c.resize),
		qmp.New("block-set-write-threshold", c.setThreshold),
		qmp.New("block_passwd", c.password, qmp.Deprecated),
	}
}
