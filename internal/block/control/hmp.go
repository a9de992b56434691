package control

import (
	"context"
	"fmt"
	"io"

	"govmd/internal/block"
	"govmd/internal/qmp"
	"govmd/internal/throttle"
)

// InfoCommands returns what the human monitor's "info" shows of images and drives.
func (c *Control) InfoCommands() []qmp.HumanCommand {
	return []qmp.HumanCommand{
		{
			Name: "block", Args: "nodes:-n,verbose:-v,device:B?", Params: "[-n] [-v] [device]",
			Help: "show info of one block device or all block devices (-n: show named nodes; -v: show details)", Complete: c.CompleteDrive,
			Run: func(_ *qmp.Context, a qmp.HumanArgs, out io.Writer) error {
				c.infoBlock(out, a.Bool("nodes"), a.Bool("verbose"), a.Str("device"))
				return nil
			},
		},
		{Name: "blockstats", Help: "show block device statistics", Run: func(_ *qmp.Context, _ qmp.HumanArgs, out io.Writer) error {
			c.infoStats(out)
			return nil
		}},
		{Name: "snapshots", Help: "show the currently saved VM snapshots", Run: func(_ *qmp.Context, _ qmp.HumanArgs, out io.Writer) error {
			return c.infoSnapshots(out)
		}},
	}
}

// CompleteDrive completes the name of a drive.
func (c *Control) CompleteDrive(*qmp.Context, []string) (list []string) {
	for _, b := range c.graph.Backends() {
		list = append(list, b.Name())
	}
	return list
}

func (c *Control) infoBlock(out io.Writer, nodes, verbose bool, device string) {
	first := true
	show := func(d *driveInfo, i *deviceInfo) {
		if !first {
			fmt.Fprintln(out)
		}
		first = false
		writeDrive(out, d, i, verbose)
	}
	if !nodes {
		for _, d := range c.queryBlock() {
			if device == "" || device == d.Device {
				show(&d, d.Inserted)
			}
		}
	}
	if device == "" && !nodes || device != "" && !first {
		return
	}
	for _, n := range c.namedNodes(false) {
		if device == "" || device == *n.NodeName {
			show(nil, &n)
		}
	}
}

// writeDrive shows a drive, or with d nil a node.
func writeDrive(out io.Writer, d *driveInfo, i *deviceInfo, verbose bool) {
	if d != nil {
		name := d.Device
		if name == "" && d.QDev != nil {
			name = *d.QDev
		}
		fmt.Fprint(out, name)
		if i != nil {
			fmt.Fprintf(out, " (%s)", *i.NodeName)
		}
	} else {
		fmt.Fprint(out, *i.NodeName)
	}
	if i != nil {
		flags := i.Driver
		if i.ReadOnly {
			flags += ", read-only"
		}
		if i.Encrypted {
			flags += ", encrypted"
		}
		fmt.Fprintf(out, ": %s (%s)\n", i.File, flags)
	} else {
		fmt.Fprintln(out, ": [not inserted]")
	}
	if d != nil {
		if d.QDev != nil {
			fmt.Fprintf(out, "    Attached to:      %s\n", *d.QDev)
		}
		if d.IOStatus != nil && *d.IOStatus != block.IOStatusOK {
			fmt.Fprintf(out, "    I/O status:       %s\n", *d.IOStatus)
		}
		if d.Removable {
			lock, state := "not locked", "closed"
			if d.Locked {
				lock = "locked"
			}
			if d.TrayOpen != nil && *d.TrayOpen {
				state = "open"
			}
			fmt.Fprintf(out, "    Removable device: %s, tray %s\n", lock, state)
		}
	}
	if i != nil {
		writeMedium(out, i, verbose)
	}
}

func writeMedium(out io.Writer, i *deviceInfo, verbose bool) {
	mode := "writethrough"
	if i.Cache.Writeback {
		mode = "writeback"
	}
	if i.Cache.Direct {
		mode += ", direct"
	}
	if i.Cache.NoFlush {
		mode += ", ignore flushes"
	}
	fmt.Fprintf(out, "    Cache mode:       %s\n", mode)
	if i.BackingFile != nil {
		fmt.Fprintf(out, "    Backing file:     %s (chain depth: %d)\n", *i.BackingFile, i.BackingDepth)
	}
	if i.DetectZeroes != block.DetectZeroesOff {
		fmt.Fprintf(out, "    Detect zeroes:    %s\n", i.DetectZeroes)
	}
	if i.ThrottleGroup != nil {
		writeLimits(out, &i.limits)
	}
	if verbose {
		fmt.Fprintln(out, "\nImages:")
		for image := i.Image; image != nil; image = image.BackingImage {
			WriteImage(out, image)
			if image.BackingImage != nil {
				fmt.Fprintln(out)
			}
		}
	}
}

func writeLimits(out io.Writer, l *limits) {
	names := [throttle.Kinds]string{"bps", "bps_rd", "bps_wr", "iops", "iops_rd", "iops_wr"}
	value := func(p *int64) int64 {
		if p == nil {
			return 0
		}
		return *p
	}
	var avg, most [throttle.Kinds]int64
	l.each(func(k throttle.Kind, a *int64, m, _ **int64) { avg[k], most[k] = *a, value(*m) })
	fmt.Fprint(out, "    I/O throttling:   ")
	for k := range names {
		if k == 3 {
			for j := range 3 {
				fmt.Fprintf(out, "%s_max=%d ", names[j], most[j])
			}
		}
		fmt.Fprintf(out, "%s=%d ", names[k], avg[k])
	}
	for j := 3; j < 6; j++ {
		fmt.Fprintf(out, "%s_max=%d ", names[j], most[j])
	}
	fmt.Fprintf(out, "iops_size=%d group=%s\n", value(l.IOPSSize), *l.ThrottleGroup)
}

func (c *Control) infoStats(out io.Writer) {
	for _, s := range c.queryStats(false) {
		if *s.Device == "" {
			continue
		}
		a := &s.Stats
		idle := int64(0)
		if a.Idle != nil {
			idle = *a.Idle
		}
		fmt.Fprintf(out, "%s: rd_bytes=%d wr_bytes=%d rd_operations=%d wr_operations=%d flush_operations=%d"+
			" wr_total_time_ns=%d rd_total_time_ns=%d flush_total_time_ns=%d rd_merged=%d wr_merged=%d idle_time_ns=%d\n",
			*s.Device, a.ReadBytes, a.WriteBytes, a.ReadOps, a.WriteOps, a.FlushOps,
			a.WriteTime, a.ReadTime, a.FlushTime, a.ReadMerged, a.WriteMerged, idle)
	}
}

// infoSnapshots shows the snapshots that all disks have: those that a machine can
// go back to. The disks' others are listed by disk.
func (c *Control) infoSnapshots(out io.Writer) error {
	type disk struct {
		node  *block.Node
		list  []block.Snapshot
		names map[string]bool
	}
	var disks []disk
	for _, b := range c.graph.Backends() {
		n := rootOf(b)
		if n == nil || n.ReadOnly() {
			continue
		}
		s, ok := n.Driver().(block.Snapshotter)
		if !ok {
			continue
		}
		d := disk{n, s.Snapshots(), map[string]bool{}}
		for _, x := range d.list {
			d.names[x.Name] = true
		}
		disks = append(disks, d)
	}
	if len(disks) == 0 {
		return fmt.Errorf("no block device can store vmstate for snapshot")
	}
	onAll := func(name string) bool {
		for _, d := range disks {
			if !d.names[name] {
				return false
			}
		}
		return true
	}
	any := false
	for i, d := range disks {
		var common, own []SnapshotInfo
		for _, s := range d.list {
			if info := SnapshotOf(&s); onAll(s.Name) {
				common = append(common, info)
			} else {
				own = append(own, info)
			}
		}
		if i == 0 && len(common) > 0 {
			any = true
			fmt.Fprintln(out, "List of snapshots present on all disks:")
			for k := range common {
				common[k].ID = "--"
			}
			WriteSnapshots(out, common)
		}
		if len(own) > 0 {
			any = true
			fmt.Fprintf(out, "\nList of partial (non-loadable) snapshots on '%s':\n", d.node.Name())
			WriteSnapshots(out, own)
		}
	}
	if !any {
		fmt.Fprintln(out, "There is no snapshot available.")
	}
	return nil
}

// HumanCommands returns the human monitor's commands about images and drives.
func (c *Control) HumanCommands() []qmp.HumanCommand {
	run := func(fn func(ctx *qmp.Context, a qmp.HumanArgs) error) func(*qmp.Context, qmp.HumanArgs, io.Writer) error {
		return func(ctx *qmp.Context, a qmp.HumanArgs, _ io.Writer) error { return fn(ctx, a) }
	}
	optional := func(a qmp.HumanArgs, name string) *string {
		if s := a.Str(name); s != "" {
			return &s
		}
		return nil
	}
	return []qmp.HumanCommand{
		{
			Name: "block_resize", Args: "device:B,size:o", Params: "device size", Help: "resize a block image", Complete: c.CompleteDrive,
			Run: run(func(ctx *qmp.Context, a qmp.HumanArgs) error {
				name := a.Str("device")
				_, err := c.resize(ctx, &resizeArgs{Device: &name, Size: int64(a.Size("size", 0))})
				return err
			}),
		},
		{
			Name: "eject", Args: "force:-f,device:B", Params: "[-f] device", Help: "eject a removable medium (use -f to force it)", Complete: c.CompleteDrive,
			Run: run(func(ctx *qmp.Context, a qmp.HumanArgs) error {
				name, force := a.Str("device"), a.Bool("force")
				_, err := c.eject(ctx, &ejectArgs{Device: &name, Force: &force})
				return err
			}),
		},
		{
			Name: "change", Args: "device:B,force:-f,target:F,arg:s?,read-only-mode:s?", Params: "device [-f] filename [format [read-only-mode]]",
			Help: "change a removable medium, optional format, use -f to force the operation", Complete: c.CompleteDrive,
			Run: run(func(ctx *qmp.Context, a qmp.HumanArgs) error {
				name, force := a.Str("device"), a.Bool("force")
				args := &changeMediumArgs{Device: &name, Filename: a.Str("target"), Format: optional(a, "arg"), Force: &force}
				if m := ReadOnlyMode(a.Str("read-only-mode")); m != "" {
					args.Mode = &m
				}
				_, err := c.changeMedium(ctx, args)
				return err
			}),
		},
		{
			Name: "block_set_io_throttle", Args: "device:B,bps:l,bps_rd:l,bps_wr:l,iops:l,iops_rd:l,iops_wr:l",
			Params: "device bps bps_rd bps_wr iops iops_rd iops_wr", Help: "change I/O throttle limits for a block drive", Complete: c.CompleteDrive,
			Run: run(func(ctx *qmp.Context, a qmp.HumanArgs) error {
				name := a.Str("device")
				args := &throttleArgs{Device: &name, limits: limits{
					BPS: a.Int("bps", 0), BPSRead: a.Int("bps_rd", 0), BPSWrite: a.Int("bps_wr", 0),
					IOPS: a.Int("iops", 0), IOPSRead: a.Int("iops_rd", 0), IOPSWrite: a.Int("iops_wr", 0),
				}}
				_, err := c.setThrottle(ctx, args)
				return err
			}),
		},
		{
			Name: "snapshot_blkdev", Args: "reuse:-n,device:B,snapshot-file:s?,format:s?", Params: "[-n] device [new-image-file] [format]",
			Help: "initiates a live snapshot of device", Complete: c.CompleteDrive,
			Run: run(func(ctx *qmp.Context, a qmp.HumanArgs) error {
				name := a.Str("device")
				if a.Str("snapshot-file") == "" {
					return qmp.MissingParameter("snapshot-file")
				}
				mode := NewImageMode("absolute-paths")
				if a.Bool("reuse") {
					mode = "existing"
				}
				return RunOne(ctx, c.snapshotSync(&snapshotSyncArgs{
					Device: &name, SnapshotFile: a.Str("snapshot-file"), Format: optional(a, "format"), Mode: &mode,
				}))
			}),
		},
		{
			Name: "snapshot_blkdev_internal", Args: "device:B,name:s", Params: "device name", Help: "take an internal snapshot of device", Complete: c.CompleteDrive,
			Run: run(func(ctx *qmp.Context, a qmp.HumanArgs) error {
				return RunOne(ctx, c.snapshotInternal(&internalArgs{Device: a.Str("device"), Name: a.Str("name")}))
			}),
		},
		{
			Name: "snapshot_delete_blkdev_internal", Args: "device:B,name:s,id:s?", Params: "device name [id]", Help: "delete an internal snapshot of device", Complete: c.CompleteDrive,
			Run: run(func(ctx *qmp.Context, a qmp.HumanArgs) error {
				_, err := c.deleteInternal(ctx, &deleteInternalArgs{Device: a.Str("device"), Name: optional(a, "name"), ID: optional(a, "id")})
				return err
			}),
		},
		{
			Name: "drive_del", Args: "id:B", Params: "device", Help: "remove host block device", Complete: c.CompleteDrive,
			Run: run(func(ctx *qmp.Context, a qmp.HumanArgs) error { return c.driveDel(ctx, a.Str("id")) }),
		},
	}
}

// driveDel takes a drive's medium away, whatever the guest thinks of it, and the
// drive itself if no device has it.
func (c *Control) driveDel(ctx context.Context, name string) error {
	b, err := c.byName(name)
	if err != nil {
		return err
	}
	if b.Legacy() == nil {
		return qmp.Errorf("Deleting device added with blockdev-add is not supported")
	}
	if err := takeOut(ctx, b, block.OperationDriveDel); err != nil {
		return err
	}
	if err := c.SetThrottle(b, throttle.Unlimited(), nil, name); err != nil {
		return err
	}
	if b.Device() == nil {
		b.Close()
		return nil
	}
	b.SetPolicy(block.Policy{Read: block.OnErrorReport, Write: block.OnErrorReport}) // nobody is left to mend it
	return nil
}
