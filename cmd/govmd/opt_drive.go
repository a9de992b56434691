package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"

	"govmd/internal/block"
	"govmd/internal/machine"
	"govmd/internal/option"
	"govmd/internal/qmp"
	"govmd/internal/throttle"
)

// driveSetup is one -drive or one of its short forms.
type driveSetup struct {
	list  option.List
	given string
}

// interfaces are what a drive can be on, with how many drives a bus has; 0 for
// one endless bus.
var interfaces = map[string]int{
	"none": 0, "ide": 2, "scsi": 7, "floppy": 0, "virtio": 0,
}

func applyDrive(s *setup, given, text string) error {
	list := option.Parse(text, "")
	s.warn(given, list.Warnings()...)
	s.drives = append(s.drives, driveSetup{list, given})
	return nil
}

// driveFile is a short form: the image alone, on a drive that items describe.
func driveFile(items ...option.Item) func(*setup, string, string) error {
	return func(s *setup, given, file string) error {
		list := append(option.List{{Key: "file", Value: file}}, items...)
		s.drives = append(s.drives, driveSetup{list, given})
		return nil
	}
}

// applyFirstDisk is -hda, and an argument that is no option.
var applyFirstDisk = driveFile(option.Item{Key: "index", Value: "0"}, option.Item{Key: "media", Value: "disk"})

// driveOptions is what -drive says, sorted into what is the drive's and what is
// its image's.
type driveOptions struct {
	block.LegacyDrive     // Bus and Unit -1: not given
	index             int // -1: not given
	file              string
	node              *qmp.Object // options of the image
	set               block.Settings
	writethrough      bool
	snapshot          bool
	copyOnRead        bool
	policy            block.Policy
	limits            throttle.Config
	group             string
	accountInvalid    bool
	accountFailed     bool
}

// limitKey is a limit of one kind: its average, burst or length of the burst (0, 1, 2).
type limitKey struct {
	kind throttle.Kind
	what int
}

// limitKeys are the limits by their names, the old one and that of the group's member.
var limitKeys = sync.OnceValue(func() map[string]limitKey {
	old := [throttle.Kinds]string{"bps", "bps_rd", "bps_wr", "iops", "iops_rd", "iops_wr"}
	now := [throttle.Kinds]string{"bps-total", "bps-read", "bps-write", "iops-total", "iops-read", "iops-write"}
	keys := map[string]limitKey{}
	for k := range throttle.Kinds {
		for what, suffix := range [3]string{"", "_max", "_max_length"} {
			keys[old[k]+suffix] = limitKey{k, what}
			keys["throttling."+now[k]+strings.ReplaceAll(suffix, "_", "-")] = limitKey{k, what}
		}
	}
	return keys
})

// newDrive returns a drive of which nothing else has been said.
func newDrive(iface, media string) *driveOptions {
	return &driveOptions{
		LegacyDrive: block.LegacyDrive{Interface: iface, Media: media, Bus: -1, Unit: -1}, index: -1, node: &qmp.Object{},
		policy: block.Policy{Read: block.OnErrorReport, Write: block.OnErrorEnospc},
		limits: throttle.Unlimited(), accountInvalid: true, accountFailed: true,
	}
}

func parseDrive(list option.List, preferred string) (*driveOptions, error) {
	d := newDrive(preferred, "disk")
	d.set.AutoReadOnly = true
	for _, it := range list {
		if err := d.take(it.Key, it.Value); err != nil {
			return nil, err
		}
	}
	return d, d.complete(list)
}

// take takes one key.
func (d *driveOptions) take(key, value string) (err error) {
	number := func(p *int) error {
		n, err := option.NumberValue(key, value)
		if *p = int(min(n, 1<<30)); err != nil {
			*p = -1
		}
		return err
	}
	if k, ok := limitKeys()[key]; ok {
		n, err := option.NumberValue(key, value)
		if err != nil {
			return err
		}
		b := &d.limits.Buckets[k.kind]
		*[3]*uint64{&b.Avg, &b.Max, &b.Length}[k.what] = n
		return nil
	}
	switch key {
	case "file":
		d.file = value
	case "if":
		if _, ok := interfaces[value]; !ok {
			return fmt.Errorf("unsupported bus type '%s'", value)
		}
		d.Interface = value
	case "bus":
		return number(&d.Bus)
	case "unit":
		return number(&d.Unit)
	case "index":
		return number(&d.index)
	case "id":
		d.ID = value
		return option.CheckID("id", value)
	case "media":
		if value != "disk" && value != "cdrom" {
			return fmt.Errorf("'%s' invalid media", value)
		}
		d.Media = value
	case "serial":
		d.Serial = value
	case "format":
		d.node.Set("driver", value)
	case "cache":
		var ok bool
		if d.writethrough, ok = d.set.SetCacheMode(value); !ok {
			return errors.New("invalid cache option")
		}
	case "cache.writeback":
		on, err := option.BoolValue(key, value)
		d.writethrough = !on
		return err
	case "cache.direct":
		d.set.Direct, err = option.BoolValue(key, value)
	case "cache.no-flush":
		d.set.NoFlush, err = option.BoolValue(key, value)
	case "readonly", "read-only":
		d.set.ReadOnly, err = option.BoolValue(key, value)
	case "auto-read-only":
		d.set.AutoReadOnly, err = option.BoolValue(key, value)
	case "force-share":
		d.set.ForceShare, err = option.BoolValue(key, value)
	case "snapshot":
		d.snapshot, err = option.BoolValue(key, value)
	case "copy-on-read":
		d.copyOnRead, err = option.BoolValue(key, value)
	case "stats-account-invalid":
		d.accountInvalid, err = option.BoolValue(key, value)
	case "stats-account-failed":
		d.accountFailed, err = option.BoolValue(key, value)
	case "aio":
		if value != "threads" && value != "native" && value != "io_uring" {
			return errors.New("invalid aio option")
		}
		d.node.SetNested("file.aio", value)
	case "discard":
		switch value {
		case "unmap", "on":
			d.set.Unmap = true
		case "ignore", "off":
			d.set.Unmap = false
		default:
			return errors.New("Invalid discard option")
		}
	case "detect-zeroes":
		m := block.DetectZeroesMode(value)
		if !slices.Contains(m.EnumValues(), value) {
			return fmt.Errorf("invalid parameter value: %s", value)
		}
		d.set.DetectZeroes = m
	case "rerror":
		if d.policy.Read = block.OnError(value); value != "ignore" && value != "stop" && value != "report" {
			return fmt.Errorf("'%s' invalid read error action", value)
		}
	case "werror":
		if d.policy.Write = block.OnError(value); !slices.Contains(d.policy.Write.EnumValues(), value) {
			return fmt.Errorf("'%s' invalid write error action", value)
		}
	case "group", "throttling.group":
		d.group = value
	case "iops_size", "throttling.iops-size":
		d.limits.OpSize, err = option.NumberValue(key, value)
	default:
		d.node.SetNested(key, value)
	}
	return err
}

// complete works out what follows from the rest.
func (d *driveOptions) complete(list option.List) error {
	if d.index >= 0 && (d.Bus >= 0 || d.Unit >= 0) {
		return errors.New("index cannot be used with bus and unit")
	}
	given := func(key string) bool { _, ok := list.Get(key); return ok }
	queues := d.Interface == "ide" || d.Interface == "scsi" || d.Interface == "virtio" || d.Interface == "none"
	switch {
	case given("rerror") && !queues:
		return errors.New("rerror is not supported by this bus type")
	case given("werror") && !queues:
		return errors.New("werror is not supported by this bus type")
	}
	if d.Media == "cdrom" {
		d.set.ReadOnly = true
	}
	if d.snapshot {
		d.set.NoFlush = true
	}
	return d.limits.Check()
}

// placeOf returns the place that an index stands for.
func placeOf(iface string, index int) (bus, unit int) {
	if most := interfaces[iface]; most > 0 {
		return index / most, index % most
	}
	return 0, index
}

// place finds the drive its place among those that are there.
func (d *driveOptions) place(g *block.Graph) error {
	most := interfaces[d.Interface]
	if d.index >= 0 {
		d.Bus, d.Unit = placeOf(d.Interface, d.index)
	}
	d.Bus = max(d.Bus, 0)
	taken := func(bus, unit int) bool { return g.LegacyDrive(d.Interface, bus, unit) != nil }
	if d.Unit < 0 {
		for d.Unit = 0; taken(d.Bus, d.Unit); {
			if d.Unit++; most > 0 && d.Unit >= most {
				d.Unit, d.Bus = 0, d.Bus+1
			}
		}
	}
	if most > 0 && d.Unit >= most {
		return fmt.Errorf("unit %d too big (max is %d)", d.Unit, most-1)
	}
	if taken(d.Bus, d.Unit) {
		return fmt.Errorf("drive with bus=%d, unit=%d (index=%d) exists", d.Bus, d.Unit, d.index)
	}
	if d.ID == "" {
		media := ""
		if most > 0 {
			media = strconv.Itoa(d.Bus) + "-hd"
			if d.Media == "cdrom" {
				media = strconv.Itoa(d.Bus) + "-cd"
			}
		}
		d.ID = d.Interface + media + strconv.Itoa(d.Unit)
	}
	return nil
}

// open makes the drive.
func (d *driveOptions) open(ctx context.Context, v *vm, g *block.Graph) error {
	if g.Backend(d.ID) != nil {
		return fmt.Errorf("Duplicate ID '%s' for drive", d.ID)
	}
	b, err := g.NewBackend(d.ID)
	if err != nil {
		return err
	}
	b.SetLegacy(&d.LegacyDrive)
	b.SetPolicy(d.policy)
	b.SetWriteCache(!d.writethrough)
	b.SetRetained(d.set)
	b.Stats().SetAccounting(d.accountInvalid, d.accountFailed)
	if d.file == "" && d.node.Len() == 0 {
		return nil
	}
	n, err := d.image(ctx, g)
	if err != nil {
		return err
	}
	defer n.Unref() // the drive has its own
	if n.Guessed() {
		v.log.Warnf("Image format was not specified for '%s' and probing guessed raw.", d.file)
		v.log.Warn("Automatically detecting the format is dangerous for raw images, write operations on block 0 will be restricted.")
		v.log.Warn("Specify the 'raw' format explicitly to remove the restrictions.")
	}
	if d.copyOnRead {
		n.EnableCopyOnRead()
	}
	if err := b.InsertMedium(n); err != nil {
		return err
	}
	if !d.limits.Enabled() {
		return nil
	}
	var group *string
	if d.group != "" {
		group = &d.group
	}
	return v.control.SetThrottle(b, d.limits, group, d.ID)
}

// image opens the image or, for -snapshot, an overlay that goes away at the end.
func (d *driveOptions) image(ctx context.Context, g *block.Graph) (*block.Node, error) {
	set := d.set
	if d.snapshot {
		set.ReadOnly = true
	}
	n, err := g.OpenImage(ctx, d.file, d.node, qmp.Keyval, set)
	if err != nil || !d.snapshot {
		return n, err
	}
	defer n.Unref()
	f, err := os.CreateTemp(temporaryDir(), "govmd-snapshot-")
	if err != nil {
		return nil, err
	}
	_ = f.Close()
	// The open image keeps the file; its name need not stay.
	defer os.Remove(f.Name())
	keys := &qmp.Object{}
	keys.Add("size", n.Length())
	if err := g.CreateImage(ctx, "qcow2", f.Name(), keys, qmp.JSON); err != nil {
		return nil, err
	}
	opts := &qmp.Object{}
	opts.Add("driver", "qcow2")
	opts.Add("backing", n.Name())
	set = d.set
	set.Unmap = true
	return g.OpenImage(ctx, f.Name(), opts, qmp.JSON, set)
}

func temporaryDir() string {
	if dir := os.Getenv("TMPDIR"); dir != "" {
		return dir
	}
	return "/var/tmp"
}

// openLegacyDrives makes the drives of -drive and its short forms, and returns the
// devices of those that have one each.
func (v *vm) openLegacyDrives(ctx context.Context, g *block.Graph) (devices []machine.DeviceConfig, err error) {
	for _, given := range v.setup.drives {
		d, err := parseDrive(given.list, driveInterface(v.cfg.Board))
		if err == nil {
			if v.setup.snapshot && d.Media == "disk" {
				d.snapshot, d.set.NoFlush = true, true
			}
			d.Given = given.given
			if err = d.place(g); err == nil {
				err = d.open(ctx, v, g)
			}
		}
		if err != nil {
			return nil, &usageError{given.given, err}
		}
		if d.Interface == "virtio" {
			driver := "virtio-blk-device"
			if driverOnPCI(v.cfg.Board) {
				driver = "virtio-blk-pci"
			}
			devices = append(devices, machine.DeviceConfig{
				Driver: driver, Given: given.given, Props: []machine.PropSetting{{Name: "drive", Text: d.ID}},
			})
		}
	}
	if err := v.defaultDrives(g); err != nil {
		return nil, err
	}
	return devices, v.defaultCard(g)
}

// driverOnPCI reports whether the board's virtio devices are PCI functions.
func driverOnPCI(b machine.Board) bool { return b.Info().Alias == "pc" }

// checkDrives refuses drives that no device of the machine has taken.
func (v *vm) checkDrives() error {
	for _, b := range v.machine.Blocks.Backends() {
		if l := b.Legacy(); l != nil && l.Interface != "none" && l.Interface != defaultCard && b.Device() == nil {
			err := fmt.Errorf("machine type does not support if=%s,bus=%d,unit=%d", l.Interface, l.Bus, l.Unit)
			if l.Given != "" {
				return &usageError{l.Given, err}
			}
			return err
		}
	}
	return nil
}

// driveInterface is what drives are on unless they say.
func driveInterface(b machine.Board) string {
	if driverOnPCI(b) {
		return "ide"
	}
	return "virtio"
}
