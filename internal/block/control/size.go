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
	if n.Blocked(block.OperationResize) != nil {
		return none, qmp.Errorf("Device '%s' is in use", text(a.Device)+text(a.NodeName))
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
// one its passphrase. Trying it takes seconds, beside the lane.
func (c *Control) password(ctx *qmp.Context, a *passwordArgs, reply *qmp.Reply[qmp.None]) {
	n, err := c.node(a.Device, a.NodeName)
	if err != nil {
		reply.Fail(err)
		return
	}
	locked := n.Locked()
	switch name := text(a.Device) + text(a.NodeName); {
	case locked != nil:
		n = locked
	case n.Info().Encrypted:
		reply.Fail(qmp.Errorf("Device '%s' has its passphrase already", name))
		return
	default:
		reply.Fail(qmp.Errorf("Device '%s' is not encrypted", name))
		return
	}
	k, ok := n.Driver().(block.Keyed)
	if !ok {
		reply.Fail(qmp.Errorf("Node '%s' takes no passphrase", n.Name()))
		return
	}
	n.Ref()
	c.beside(func() error { return k.SetKey(ctx, []byte(a.Password)) }, func(err error) {
		n.Unref()
		reply.Finish(qmp.None{}, err)
	}, n.Unref)
}

func (c *Control) sizeCommands() []qmp.Command {
	return []qmp.Command{
		qmp.New("block_resize", c.resize),
		qmp.New("block-set-write-threshold", c.setThreshold),
		qmp.NewAsync("block_passwd", c.password, qmp.Deprecated),
	}
}
