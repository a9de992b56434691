package control

import (
	"slices"

	"govmd/internal/block"
	"govmd/internal/qmp"
	"govmd/internal/throttle"
)

// cacheInfo says how a medium is cached.
type cacheInfo struct {
	Writeback bool `qmp:"writeback"`
	Direct    bool `qmp:"direct"`
	NoFlush   bool `qmp:"no-flush"`
}

type bitmapInfo struct {
	Name         *string `qmp:"name"`
	Count        int64   `qmp:"count"`
	Granularity  uint32  `qmp:"granularity"`
	Recording    bool    `qmp:"recording"`
	Busy         bool    `qmp:"busy"`
	Persistent   bool    `qmp:"persistent"`
	Inconsistent *bool   `qmp:"inconsistent"`
}

// deviceInfo is BlockDeviceInfo: a node, as a drive's medium or for itself.
type deviceInfo struct {
	File         string                 `qmp:"file"`
	NodeName     *string                `qmp:"node-name"`
	ReadOnly     bool                   `qmp:"ro"`
	Driver       string                 `qmp:"drv"`
	BackingFile  *string                `qmp:"backing_file"`
	BackingDepth int64                  `qmp:"backing_file_depth"`
	Encrypted    bool                   `qmp:"encrypted"`
	KeyMissing   bool                   `qmp:"encryption_key_missing"`
	DetectZeroes block.DetectZeroesMode `qmp:"detect_zeroes"`
	limits
	Image          *ImageInfo    `qmp:"image"`
	Cache          cacheInfo     `qmp:"cache"`
	WriteThreshold int64         `qmp:"write_threshold"`
	Bitmaps        *[]bitmapInfo `qmp:"dirty-bitmaps"`
}

// limits are those of a drive as query-block shows them.
type limits struct {
	BPS           int64   `qmp:"bps"`
	BPSRead       int64   `qmp:"bps_rd"`
	BPSWrite      int64   `qmp:"bps_wr"`
	IOPS          int64   `qmp:"iops"`
	IOPSRead      int64   `qmp:"iops_rd"`
	IOPSWrite     int64   `qmp:"iops_wr"`
	BPSMax        *int64  `qmp:"bps_max"`
	BPSReadMax    *int64  `qmp:"bps_rd_max"`
	BPSWriteMax   *int64  `qmp:"bps_wr_max"`
	IOPSMax       *int64  `qmp:"iops_max"`
	IOPSReadMax   *int64  `qmp:"iops_rd_max"`
	IOPSWriteMax  *int64  `qmp:"iops_wr_max"`
	BPSLength     *int64  `qmp:"bps_max_length"`
	BPSReadLen    *int64  `qmp:"bps_rd_max_length"`
	BPSWriteLen   *int64  `qmp:"bps_wr_max_length"`
	IOPSLength    *int64  `qmp:"iops_max_length"`
	IOPSReadLen   *int64  `qmp:"iops_rd_max_length"`
	IOPSWriteLen  *int64  `qmp:"iops_wr_max_length"`
	IOPSSize      *int64  `qmp:"iops_size"`
	ThrottleGroup *string `qmp:"group"`
}

// each pairs the members with the kinds of limit, in the kinds' order.
func (l *limits) each(fn func(k throttle.Kind, avg *int64, most, length **int64)) {
	fn(throttle.BPSTotal, &l.BPS, &l.BPSMax, &l.BPSLength)
	fn(throttle.BPSRead, &l.BPSRead, &l.BPSReadMax, &l.BPSReadLen)
	fn(throttle.BPSWrite, &l.BPSWrite, &l.BPSWriteMax, &l.BPSWriteLen)
	fn(throttle.IOPSTotal, &l.IOPS, &l.IOPSMax, &l.IOPSLength)
	fn(throttle.IOPSRead, &l.IOPSRead, &l.IOPSReadMax, &l.IOPSReadLen)
	fn(throttle.IOPSWrite, &l.IOPSWrite, &l.IOPSWriteMax, &l.IOPSWriteLen)
}

// limitsOf returns the limits of a drive, or of a node in none. Of bursts that are
// not allowed it says 0, as the command reference does; QEMU leaves them out.
func limitsOf(b *block.Backend) (l limits) {
	var cfg throttle.Config
	if b != nil && b.Throttle() != nil {
		cfg = b.Throttle().Config()
		group := b.Throttle().Group()
		l.ThrottleGroup = &group
	}
	l.each(func(k throttle.Kind, avg *int64, most, length **int64) {
		bucket := cfg.Buckets[k]
		burst, sec := int64(bucket.Max), int64(bucket.Length)
		*avg, *most = int64(bucket.Avg), &burst
		if burst > 0 {
			*length = &sec
		}
	})
	size := int64(cfg.OpSize)
	l.IOPSSize = &size
	return l
}

// describe describes a node; b is the drive that it is in, or nil. flat leaves
// out what is behind the image.
func describe(n *block.Node, b *block.Backend, flat bool) deviceInfo {
	i := n.Info()
	set := n.Settings()
	name := n.Name()
	d := deviceInfo{
		File: n.FileName(), NodeName: &name, ReadOnly: n.ReadOnly(), Driver: n.DriverName(), Encrypted: i.Encrypted, KeyMissing: i.KeyMissing,
		DetectZeroes: set.DetectZeroes, Cache: cacheInfo{Writeback: true, Direct: set.Direct, NoFlush: set.NoFlush},
		WriteThreshold: n.WriteThreshold(),
	}
	if d.DetectZeroes == "" {
		d.DetectZeroes = block.DetectZeroesOff
	}
	if back := n.Backing(); back != nil {
		file := back.FileName()
		d.BackingFile = &file
	}
	if !flat {
		d.BackingDepth = depth(n, b != nil)
	}
	if b != nil {
		d.Cache.Writeback = b.WriteCache()
	}
	d.limits = limitsOf(b)
	if flat {
		d.Image = ImageOf(n)
	} else {
		d.Image = ChainOf(n)
	}
	for image := d.Image; image != nil; image = image.BackingImage {
		image.BackingAlias = image.Backing
	}
	if list := bitmapsOf(n); len(list) > 0 {
		d.Bitmaps = &list
	}
	return d
}

// depth returns how many nodes are below n in its chain, without those that users do
// not know of if known says so.
func depth(n *block.Node, known bool) (count int64) {
	for n = n.BackingChainNext(); n != nil; n = n.BackingChainNext() {
		if !known || !n.Implicit() || !n.Type().Filter {
			count++
		}
	}
	return count
}

func bitmapsOf(n *block.Node) (list []bitmapInfo) {
	for _, b := range slices.Backward(n.Bitmaps()) { // the newest first
		i := bitmapInfo{
			Count: b.Count(), Granularity: uint32(b.Granularity()), Recording: b.Recording(), Busy: b.Busy(),
			Persistent: b.Persistent(),
		}
		if name := b.Name(); name != "" {
			i.Name = &name
		}
		if b.Inconsistent() {
			yes := true
			i.Inconsistent = &yes
		}
		list = append(list, i)
	}
	return list
}

// driveInfo is BlockInfo: a drive, with what is in it.
type driveInfo struct {
	Device    string          `qmp:"device"`
	QDev      *string         `qmp:"qdev"`
	Type      string          `qmp:"type"`
	Removable bool            `qmp:"removable"`
	Locked    bool            `qmp:"locked"`
	Inserted  *deviceInfo     `qmp:"inserted"`
	TrayOpen  *bool           `qmp:"tray_open"`
	IOStatus  *block.IOStatus `qmp:"io-status"`
}

// shown returns the drives that commands show: those with a name or a device.
func (c *Control) shown() (list []*block.Backend) {
	for _, b := range c.graph.Backends() {
		if b.Name() != "" || b.Device() != nil {
			list = append(list, b)
		}
	}
	return list
}

// removable reports whether the drive's medium can be changed: a drive without a
// device can get any.
func removable(b *block.Backend) bool {
	if b.Device() == nil {
		return true
	}
	switch b.Device().(type) {
	case block.TrayDevice, block.MediaDevice:
		return true
	}
	return false
}

// tray returns the drive's device if it has a tray.
func tray(b *block.Backend) (block.TrayDevice, bool) {
	t, ok := b.Device().(block.TrayDevice)
	return t, ok
}

// rootOf returns the medium below what was put on top of it without a user's asking.
func rootOf(b *block.Backend) *block.Node {
	n := b.Node()
	for n != nil && n.Implicit() && n.Type().Filter {
		n = n.BackingChainNext()
	}
	return n
}

func (c *Control) queryBlock() []driveInfo {
	list := []driveInfo{}
	for _, b := range c.shown() {
		d := driveInfo{Device: b.Name(), Type: "unknown", Removable: removable(b)}
		if b.Device() != nil {
			id := b.DeviceName()
			d.QDev = &id
		}
		if t, ok := tray(b); ok {
			open := t.TrayOpen()
			d.TrayOpen, d.Locked = &open, t.MediumLocked()
		}
		if s, ok := b.IOStatus(); ok {
			d.IOStatus = &s
		}
		if n := rootOf(b); n != nil {
			i := describe(n, b, false)
			d.Inserted = &i
		}
		list = append(list, d)
	}
	return list
}

// namedNodes describes all nodes, the newest first.
func (c *Control) namedNodes(flat bool) []deviceInfo {
	list := []deviceInfo{}
	for _, n := range slices.Backward(c.graph.Nodes()) {
		list = append(list, describe(n, nil, flat))
	}
	return list
}

func (c *Control) queryCommands() []qmp.Command {
	type flatArgs struct {
		Flat *bool `qmp:"flat"`
	}
	return []qmp.Command{
		qmp.New("query-block", func(*qmp.Context, *qmp.None) ([]driveInfo, error) { return c.queryBlock(), nil }),
		qmp.New("query-named-block-nodes", func(_ *qmp.Context, a *flatArgs) ([]deviceInfo, error) {
			return c.namedNodes(a.Flat != nil && *a.Flat), nil
		}),
		qmp.New("query-blockstats", func(_ *qmp.Context, a *statsArgs) ([]*blockStats, error) {
			return c.queryStats(a.Nodes != nil && *a.Nodes), nil
		}),
		qmp.New("block-latency-histogram-set", c.setHistogram),
	}
}
