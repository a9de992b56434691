// Package vscsi is virtio-scsi, a SCSI host adapter (virtio 1.2, section 5.6). The
// disks and CD-ROM drives on its bus are package scsi's.
package vscsi

import (
	"errors"
	"fmt"
	"sync"

	"govmd/internal/block"
	"govmd/internal/device/scsi"
	"govmd/internal/device/virtio"
	"govmd/internal/object"
)

const (
	deviceID = 8

	// The queues: requests are from the third on.
	controlQueue = 0
	eventQueue   = 1
	fixedQueues  = 2

	// maxQueues bounds the property num_queues: there is a vector for each.
	maxQueues = 1024 - fixedQueues
	autoQueue = ^uint32(0)

	maxTarget = 255
	maxLUN    = 16383
)

// Features of the device (5.6.3).
const (
	featureHotplug = 1
	featureChange  = 2
)

// Device is the adapter.
type Device struct {
	virtio.Core

	// properties
	numQueues    uint32
	queueSize    uint32
	maxSectors   uint32
	cmdPerLUN    uint32
	segMaxAdjust bool
	hotplug      bool
	change       bool
	ioThread     string

	bus    *scsi.Bus
	thread *block.Thread
	pool   pool

	mu     sync.Mutex // guards what follows
	sizes  sizes
	missed bool // events were dropped
	events [][eventSize]byte
}

// sizes are what the driver has set.
type sizes struct {
	sense uint32 // bytes of sense data in a response
	cdb   uint32 // bytes of a command in a request
}

var defaultSizes = sizes{sense: 96, cdb: 32}

// Realize implements device.Device.
func (d *Device) Realize() error {
	if err := d.check(); err != nil {
		return err
	}
	w, err := d.FindThread(d.ioThread)
	if err != nil {
		return err
	}
	features := uint64(0)
	if d.hotplug {
		features |= 1 << featureHotplug
	}
	if d.change {
		features |= 1 << featureChange
	}
	d.sizes = defaultSizes
	if err := d.Init(virtio.Info{ID: deviceID, Features: features, ConfigSize: configSize, Worker: w}); err != nil {
		return err
	}
	if d.thread, err = block.NewThread(d.Core.Worker()); err != nil {
		return err
	}
	d.Defer(d.thread.Close)
	d.pool.device = d
	d.AddQueue(uint16(d.queueSize), d.serveControl)
	d.AddQueue(uint16(d.queueSize), d.serveEvents)
	for range d.numQueues {
		d.AddQueue(uint16(d.queueSize), d.serve)
	}
	d.bus, _ = scsi.NewBus(&d.Base, host{d}, scsi.Address{Target: maxTarget, LUN: maxLUN})
	return nil
}

func (d *Device) check() error {
	switch {
	case d.numQueues == 0 || d.numQueues != autoQueue && d.numQueues > maxQueues:
		return fmt.Errorf("Invalid number of queues (= %d), must be a positive integer less than %d.", d.numQueues, maxQueues)
	case d.queueSize <= 2:
		return fmt.Errorf("invalid virtqueue_size property (= %d), must be > 2", d.queueSize)
	case d.queueSize > 1024 || d.queueSize&(d.queueSize-1) != 0:
		return fmt.Errorf("invalid virtqueue_size property (= %d), must be a power of 2 (max 1024)", d.queueSize)
	case d.cmdPerLUN == 0:
		return errors.New("cmd_per_lun must be larger than 0")
	}
	if d.numQueues == autoQueue {
		d.numQueues = uint32(max(1, min(d.Env().CPUs, maxQueues)))
	}
	return nil
}

// Unrealize implements device.Device. The units on the bus, and with them all
// requests, have gone before.
func (d *Device) Unrealize() { d.Core.Unrealize() }

// ResetDevice implements virtio.Resetter.
func (d *Device) ResetDevice() {
	d.mu.Lock()
	d.sizes, d.missed, d.events = defaultSizes, false, d.events[:0]
	d.mu.Unlock()
	d.bus.Reset()
}

func init() {
	virtio.Register(virtio.Kind{
		Name: "virtio-scsi", ID: deviceID, Description: "SCSI host adapter",
		New: func() object.Object { return &Device{} },
		PCI: virtio.PCI{Class: 0x0100, Transitional: 0x1004, Vectors: virtio.VectorsForQueues},
		Props: []object.Property{
			object.Int("num_queues", func(d *Device) *uint32 { return &d.numQueues }, autoQueue, "queues for requests; by default one for each vCPU"),
			object.Int("virtqueue_size", func(d *Device) *uint32 { return &d.queueSize }, 256, ""),
			object.Int("max_sectors", func(d *Device) *uint32 { return &d.maxSectors }, 0xffff, ""),
			object.Int("cmd_per_lun", func(d *Device) *uint32 { return &d.cmdPerLUN }, 128, ""),
			object.Bool("seg_max_adjust", func(d *Device) *bool { return &d.segMaxAdjust }, true, "on/off"),
			object.Bool("hotplug", func(d *Device) *bool { return &d.hotplug }, true, "on/off"),
			object.Bool("param_change", func(d *Device) *bool { return &d.change }, true, "on/off"),
			object.Link("iothread", "link<iothread>", func(d *Device) *string { return &d.ioThread }, ""),
		},
	})
}
