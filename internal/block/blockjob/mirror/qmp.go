package mirror

import (
	"context"
	"io"

	"govmd/internal/block"
	"govmd/internal/block/blockjob"
	"govmd/internal/block/control"
	"govmd/internal/job"
	"govmd/internal/qmp"
)

// CopyMode says when what the guest writes is copied: the type MirrorCopyMode.
type CopyMode string

// EnumValues implements qmp.Enum.
func (CopyMode) EnumValues() []string { return []string{"background", "write-blocking"} }

// options are what both commands take.
type options struct {
	JobID         *string           `qmp:"job-id"`
	Device        string            `qmp:"device"`
	Target        string            `qmp:"target"`
	Replaces      *string           `qmp:"replaces"`
	Sync          blockjob.SyncMode `qmp:"sync"`
	Speed         *int64            `qmp:"speed"`
	Granularity   *uint32           `qmp:"granularity"`
	BufSize       *int64            `qmp:"buf-size"`
	OnSourceError *blockjob.OnError `qmp:"on-source-error"`
	OnTargetError *blockjob.OnError `qmp:"on-target-error"`
	CopyMode      *CopyMode         `qmp:"copy-mode"`
	AutoFinalize  *bool             `qmp:"auto-finalize"`
	AutoDismiss   *bool             `qmp:"auto-dismiss"`
}

// blockdevArgs are the arguments of blockdev-mirror.
type blockdevArgs struct {
	options
	FilterName *string `qmp:"filter-node-name"`
}

// driveArgs are the arguments of drive-mirror.
type driveArgs struct {
	options
	Format   *string               `qmp:"format"`
	NodeName *string               `qmp:"node-name"`
	Mode     *control.NewImageMode `qmp:"mode"`
	Unmap    *bool                 `qmp:"unmap"`
}

// The bounds of granularity, in bytes.
const (
	minGranularity = 512
	maxGranularity = 64 << 20
)

// config checks the options, and returns what they ask for of a mirror of source.
func (o *options) config(c *control.Control, source *block.Node) (*Config, error) {
	if g := o.Granularity; g != nil && *g != 0 {
		switch {
		case *g < minGranularity || *g > maxGranularity:
			return nil, qmp.InvalidValue("granularity", "a value in range [512B, 64MB]")
		case *g&(*g-1) != 0:
			return nil, qmp.InvalidValue("granularity", "a power of 2")
		}
	}
	if o.BufSize != nil && *o.BufSize < 0 {
		return nil, qmp.Errorf("Invalid parameter 'buf-size'")
	}
	if err := source.Blocked(block.OperationMirrorSource); err != nil {
		return nil, err
	}
	m := &Config{
		Options: blockjob.Options{ID: o.JobID, AutoFinalize: o.AutoFinalize, AutoDismiss: o.AutoDismiss},
		Type:    job.TypeMirror, Source: source, OnSource: blockjob.Report, OnData: blockjob.Report,
		Blocking: o.CopyMode != nil && *o.CopyMode == "write-blocking",
	}
	if o.JobID == nil {
		name := source.DeviceName()
		m.ID = &name
	}
	set := func(dst *int64, p *int64) {
		if p != nil {
			*dst = *p
		}
	}
	set(&m.Speed, o.Speed)
	set(&m.Buffer, o.BufSize)
	if o.Granularity != nil {
		m.Granularity = int64(*o.Granularity)
	}
	if o.OnSourceError != nil {
		m.OnSource = *o.OnSourceError
	}
	if o.OnTargetError != nil {
		m.OnData = *o.OnTargetError
	}
	switch o.Sync {
	case blockjob.SyncTop:
		m.Base = source.SkipFilters().BackingChainNext()
	case blockjob.SyncNone:
		m.None = true
	case blockjob.SyncIncremental, blockjob.SyncBitmap:
		return nil, qmp.Errorf("Sync mode '%s' not supported", o.Sync)
	}
	if o.Replaces != nil {
		var err error
		if m.Replaces, err = replaced(c.Graph(), source, *o.Replaces); err != nil {
			return nil, err
		}
	}
	return m, nil
}

// replaced returns the node of that name, which shows what source does: its place can
// be taken without a byte changing.
func replaced(g *block.Graph, source *block.Node, name string) (*block.Node, error) {
	n := g.Node(name)
	if n == nil {
		return nil, qmp.Errorf("Failed to find node with node-name='%s'", name)
	}
	if err := n.Blocked(block.OperationReplace); err != nil {
		return nil, err
	}
	if n.SkipFilters() != source.SkipFilters() || !source.InChain(n) {
		return nil, qmp.Errorf("Cannot replace '%s' by a node mirrored from '%s', because it cannot be guaranteed that doing so would"+
			" not lead to an abrupt change of visible data", name, source.Name())
	}
	return n, nil
}

// start begins the job, to target.
func (m *Config) start(ctx context.Context, c *control.Control, target *block.Node) error {
	switch {
	case target == m.Source:
		return qmp.Errorf("Can't mirror node into itself")
	case m.Source.InChain(target):
		return qmp.Errorf("Node '%s' is behind '%s': block-commit copies to it", target.Name(), m.Source.Name())
	case target.Length() < m.Source.Length():
		return qmp.Errorf("The target, of %d bytes, is smaller than the source, of %d", target.Length(), m.Source.Length())
	case m.Replaces != nil && target.Length() != m.Replaces.Length():
		return qmp.Errorf("cannot replace image with a mirror image of different size")
	}
	if err := target.Blocked(block.OperationMirrorTarget); err != nil {
		return err
	}
	m.Target = target
	return Start(ctx, c.Jobs(), *m)
}

// blockdev is blockdev-mirror.
func blockdev(ctx context.Context, c *control.Control, a *blockdevArgs) error {
	source, err := c.Root(a.Device)
	if err != nil {
		return err
	}
	target, err := c.Medium(a.Target)
	if err != nil {
		return err
	}
	m, err := a.config(c, source)
	if err != nil {
		return err
	}
	m.FilterName = a.FilterName
	m.Zero = !m.None && m.Base == nil
	return m.start(ctx, c, target)
}

// drive is drive-mirror: it opens, and mostly makes, the target.
func drive(ctx context.Context, c *control.Control, a *driveArgs) error {
	source, err := c.Root(a.Device)
	if err != nil {
		return err
	}
	m, err := a.config(c, source)
	if err != nil {
		return err
	}
	m.KeepZeroes = a.Unmap != nil && !*a.Unmap
	behind := m.Base
	if m.None {
		behind = source
	}
	set := source.Settings()
	set.ReadOnly, set.NoBacking = false, true
	target, err := c.OpenTarget(ctx, &control.TargetImage{
		Source: source, Behind: behind, File: a.Target, Format: a.Format, Mode: a.Mode, NodeName: a.NodeName, Settings: set,
	})
	if err != nil {
		return err
	}
	defer target.Unref()
	existing := a.Mode != nil && *a.Mode == "existing"
	m.Zero = behind == nil && (existing || !target.Info().ZeroInit)
	m.Pivot = func(ctx context.Context, target *block.Node) error {
		switch {
		case !target.Type().Backing:
			return nil
		case existing:
			return openBacking(ctx, c.Graph(), target)
		}
		return c.Graph().SetBacking(target, behind)
	}
	return m.start(ctx, c, target)
}

// openBacking gives an image the backing file that it names.
func openBacking(ctx context.Context, g *block.Graph, n *block.Node) error {
	info := n.Info()
	if info.BackingFile == "" {
		return nil
	}
	full, err := n.ResolveBacking(info.BackingFile)
	if err != nil {
		return err
	}
	opts := &qmp.Object{}
	if info.BackingFormat != "" {
		opts.Add("driver", info.BackingFormat)
	}
	set := n.Settings()
	set.ReadOnly, set.AutoReadOnly, set.Unmap, set.DetectZeroes, set.NoBacking = true, false, false, block.DetectZeroesOff, false
	below, err := g.OpenImage(ctx, full, opts, qmp.JSON, set)
	if err != nil {
		return qmp.Errorf("Could not open backing file: %w", err)
	}
	defer below.Unref()
	return g.SetBacking(n, below)
}

// HumanCommands returns the human monitor's command that mirrors.
func HumanCommands(c *control.Control) []qmp.HumanCommand {
	return []qmp.HumanCommand{{
		Name: "drive_mirror", Args: "reuse:-n,full:-f,device:B,target:s,format:s?",
		Params: "[-n] [-f] device target [format]", Help: "start making a copy of a drive that follows it (-n: into an image that exists;" +
			" -f: all of the disk, not the topmost image)",
		Complete: c.CompleteDrive,
		Run: func(ctx *qmp.Context, h qmp.HumanArgs, _ io.Writer) error {
			a := new(driveArgs)
			a.Device, a.Target, a.Sync = h.Str("device"), h.Str("target"), blockjob.SyncTop
			if h.Bool("full") {
				a.Sync = blockjob.SyncFull
			}
			if h.Bool("reuse") {
				mode := control.NewImageMode("existing")
				a.Mode = &mode
			}
			if f := h.Str("format"); f != "" {
				a.Format = &f
			}
			return drive(ctx, c, a)
		},
	}}
}

// Commands returns the commands that mirror.
func Commands(c *control.Control) []qmp.Command {
	return []qmp.Command{
		qmp.New("blockdev-mirror", func(ctx *qmp.Context, a *blockdevArgs) (none qmp.None, err error) {
			return none, blockdev(ctx, c, a)
		}),
		qmp.New("drive-mirror", func(ctx *qmp.Context, a *driveArgs) (none qmp.None, err error) {
			return none, drive(ctx, c, a)
		}),
	}
}
