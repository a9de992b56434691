// Package blk is virtio-blk, the disk (virtio 1.2, section 5.2).
package blk

import (
	"context"
	"errors"
	"fmt"

	"govmd/internal/block"
	"govmd/internal/device/drive"
	"govmd/internal/device/virtio"
	"govmd/internal/object"
)

const (
	deviceID   = 2
	sectorSize = 512
	headerSize = 16
	// maxQueues bounds the property num-queues: there is a vector for each.
	maxQueues = 1024
	autoQueue = 0xffff
	// maxSectors bounds what one discard or write-zeroes segment may say.
	maxSectors = 1<<31 - 1
)

// Features of the device (5.2.3).
const (
	featureSegMax      = 2
	featureGeometry    = 4
	featureReadOnly    = 5
	featureBlockSize   = 6
	featureFlush       = 9
	featureTopology    = 10
	featureConfigWCE   = 11
	featureMQ          = 12
	featureDiscard     = 13
	featureWriteZeroes = 14
)

// Device is the disk.
type Device struct {
	virtio.Core

	// properties
	conf          drive.Conf
	geometry      drive.Geometry
	configWCE     bool
	scsi          bool
	merging       bool
	segMaxAdjust  bool
	discard       bool
	zeroes        bool
	numQueues     uint16
	queueSize     uint16
	maxDiscard    uint32 // sectors
	maxZeroes     uint32
	ioThread      string
	reportDiscard bool

	backend *block.Backend
	queue   *block.Queue
	thread  *block.Thread // nil: requests do not start on the device's thread
	pool    pool
	cache   bool // the write cache as it is configured
	loaded  bool // as a state has it
}

// Realize implements device.Device.
func (d *Device) Realize() error {
	if err := d.check(); err != nil {
		return err
	}
	w, err := d.FindThread(d.ioThread)
	if err != nil {
		return err
	}
	d.backend, err = d.conf.Open(&d.Base, medium{d}, drive.Needs{Resizable: true})
	if err != nil {
		return err
	}
	d.backend.EnableIOStatus()
	d.cache = d.backend.WriteCache()
	d.queue = d.backend.NewQueue(d.Title(), 0)
	d.Defer(func() { d.backend.CloseQueue(d.queue) })
	d.geometry.Guess(d.queue, d.backend.Length(), drive.TransAuto)
	if err := d.geometry.Complete(d.backend.Length()/sectorSize, drive.Geometry{Cylinders: 65535, Heads: 255, Sectors: 255}); err != nil {
		return err
	}
	if err := d.Init(virtio.Info{ID: deviceID, Features: d.features(), ConfigSize: configSize, Worker: w}); err != nil {
		return err
	}
	if d.thread, err = block.NewThread(d.Core.Worker()); err != nil {
		return err
	}
	d.Defer(d.thread.Close)
	d.pool.device = d
	for range d.numQueues {
		d.AddQueue(d.queueSize, d.serve)
	}
	return nil
}

// Unrealize implements device.Device.
func (d *Device) Unrealize() {
	d.Quiesce()
	d.backend.CancelParked()
	_ = d.queue.Wait(context.Background()) // it cannot end early
	d.Core.Unrealize()
}

func (d *Device) check() error {
	switch {
	case d.scsi:
		return errors.New("scsi=on is not supported: virtio-scsi passes SCSI commands")
	case d.numQueues == 0:
		return errors.New("num-queues property must be larger than 0")
	case d.queueSize <= 2:
		return fmt.Errorf("invalid queue-size property (%d), must be > 2", d.queueSize)
	case d.queueSize&(d.queueSize-1) != 0 || d.queueSize > 1024:
		return fmt.Errorf("invalid queue-size property (%d), must be a power of 2 (max 1024)", d.queueSize)
	case d.maxDiscard == 0 || d.maxDiscard > maxSectors:
		return fmt.Errorf("invalid max-discard-sectors property (%d), must be between 1 and %d", d.maxDiscard, maxSectors)
	case d.maxZeroes == 0 || d.maxZeroes > maxSectors:
		return fmt.Errorf("invalid max-write-zeroes-sectors property (%d), must be between 1 and %d", d.maxZeroes, maxSectors)
	}
	if d.numQueues == autoQueue {
		d.numQueues = uint16(max(1, min(d.Env().CPUs, maxQueues)))
	}
	if d.numQueues > maxQueues {
		return fmt.Errorf("num-queues property (%d) must be at most %d", d.numQueues, maxQueues)
	}
	return nil
}

func (d *Device) features() uint64 {
	f := uint64(1<<featureSegMax | 1<<featureGeometry | 1<<featureBlockSize | 1<<featureFlush | 1<<featureTopology)
	set := func(bit uint, on bool) {
		if on {
			f |= 1 << bit
		}
	}
	set(featureReadOnly, d.backend.ReadOnly())
	set(featureConfigWCE, d.configWCE)
	set(featureMQ, d.numQueues > 1)
	set(featureDiscard, d.discard)
	set(featureWriteZeroes, d.zeroes)
	return f
}

// ResetDevice implements virtio.Resetter: what an error has parked is not made
// again, and the cache is as it was configured.
func (d *Device) ResetDevice() {
	d.backend.CancelParked()
	d.backend.ResetIOStatus()
	d.backend.SetWriteCache(d.cache)
}

// BootIndex implements device.Booter.
func (d *Device) BootIndex() (index int, suffix string) { return int(d.conf.BootIndex), "/disk@0,0" }

// medium is what the drive calls of the device.
type medium struct{ d *Device }

// BlockDeviceName implements block.Device.
func (m medium) BlockDeviceName() string { return drive.Name(m.d) }

// BlockUserID is the ID by which users know the device.
func (m medium) BlockUserID() string { return m.d.UserID() }

// MediumChanged implements block.Device: the medium stays as long as the device.
func (m medium) MediumChanged(bool) {}

// MediumResized implements block.Device.
func (m medium) MediumResized() {
	if m.d.Realized() {
		m.d.ConfigChanged()
	}
}

func init() {
	conf := func(d *Device) *drive.Conf { return &d.conf }
	props := drive.Props(conf)
	props = append(props, drive.ErrorProps(conf)...)
	props = append(props, drive.GeometryProps(func(d *Device) *drive.Geometry { return &d.geometry })...)
	props = append(props,
		drive.SerialProp(conf), drive.BootIndexProp(conf),
		object.Bool("config-wce", func(d *Device) *bool { return &d.configWCE }, true, "on/off"),
		object.Bool("scsi", func(d *Device) *bool { return &d.scsi }, false, "on/off"),
		object.Bool("request-merging", func(d *Device) *bool { return &d.merging }, true, "on/off"),
		object.Bool("seg-max-adjust", func(d *Device) *bool { return &d.segMaxAdjust }, true, "on/off"),
		object.Bool("discard", func(d *Device) *bool { return &d.discard }, true, "on/off"),
		object.Bool("report-discard-granularity", func(d *Device) *bool { return &d.reportDiscard }, true, "on/off"),
		object.Bool("write-zeroes", func(d *Device) *bool { return &d.zeroes }, true, "on/off"),
		object.Int("num-queues", func(d *Device) *uint16 { return &d.numQueues }, autoQueue, ""),
		object.Int("queue-size", func(d *Device) *uint16 { return &d.queueSize }, 256, ""),
		object.Int("max-discard-sectors", func(d *Device) *uint32 { return &d.maxDiscard }, 1<<22-1, ""),
		object.Int("max-write-zeroes-sectors", func(d *Device) *uint32 { return &d.maxZeroes }, 1<<22-1, ""),
		object.Link("iothread", "link<iothread>", func(d *Device) *string { return &d.ioThread }, ""),
	)
	virtio.Register(virtio.Kind{
		Name: "virtio-blk", ID: deviceID, Description: "disk", Props: props,
		New: func() object.Object { return &Device{} },
		PCI: virtio.PCI{Class: 0x0100, Transitional: 0x1001, Vectors: virtio.VectorsForQueues},
	})
}
