// Package pcitransport is the virtio-pci transport (virtio 1.2, section 4.1): a
// PCI function whose registers are found through capabilities (modern), in a
// block of ports (legacy), or both (transitional).
package pcitransport

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"govmd/internal/device"
	"govmd/internal/device/pci"
	"govmd/internal/device/virtio"
	"govmd/internal/memory"
	"govmd/internal/object"
)

// Device is a PCI function that holds a virtio device.
type Device struct {
	pci.Device

	kind  *virtio.Kind
	inner virtio.Device

	// properties
	disableLegacy object.OnOffAuto
	disableModern bool
	vectors       uint32
	ioeventfd     bool
	pioNotify     bool
	pagePerVQ     bool
	class         uint32

	legacy, modern bool
	bus            *device.Bus
	layoutErr      error // what went wrong when the device was plugged
	bars           bars
	cfgCap         int // offset of the capability through which BARs are reached

	mu   sync.Mutex   // guards the registers; outside the locks of package virtio
	core *virtio.Core // nil while there is no device
	regs registers

	fdMu sync.Mutex // guards fds; inside mu and the worker, outside the memory system's
	fds  []attached

	irqMu         sync.Mutex // guards isr and keeps changes of the pin in order; only the PCI core's locks come after it
	isr           uint8
	configVector  atomic.Uint32
	queueVectors  []atomic.Uint32
	nvectors      int
	notifyStride  uint64
	legacyVectors bool // the legacy block has room for the vectors' registers
}

// registers are what the driver has written and no device keeps.
type registers struct {
	deviceSel, driverSel uint32
	queueSel             uint16
}

// bars are the regions that the function maps.
type bars struct {
	legacy, notify, pio *memory.Region
}

// attached is an eventfd that takes notifications.
type attached struct {
	region *memory.Region
	offset uint64
	size   int
	match  *uint64
	fd     int
}

// Numbers of the base address registers, as guests know them from QEMU.
const (
	barLegacy = 0
	barMSIX   = 1
	barPIO    = 2
	barModern = 4
)

// noVector says that an event has no vector (4.1.5.1.2).
const noVector = 0xffff

const modernDeviceBase = 0x1040 // plus the virtio device's number

var errNoMode = errors.New(`device cannot work as neither modern nor legacy mode is enabled: set either disable-modern or disable-legacy to "off"`)

// VirtioBus returns the bus that the virtio device is on.
func (d *Device) VirtioBus() *device.Bus { return d.bus }

// Inner returns the virtio device.
func (d *Device) Inner() virtio.Device { return d.inner }

// Realize implements device.Device.
func (d *Device) Realize() error {
	d.modern = !d.disableModern
	d.legacy = d.kind.PCI.Transitional != 0 && d.disableLegacy != object.On
	if !d.legacy && !d.modern {
		return errNoMode
	}
	if err := d.Setup(d.identity()); err != nil {
		return err
	}
	d.bus = d.NewBus(virtio.BusKind, "virtio-bus", virtio.NewBus(d))
	object.Adopt(d.bus, busType)
	if d.inner.Dev().Parent() == nil {
		if err := object.Add(d, d.inner, "virtio-backend"); err != nil {
			return err
		}
	}
	d.layoutErr = nil
	if err := device.Plug(d.Env(), d.bus, d.inner); err != nil {
		return err
	}
	if d.layoutErr != nil {
		device.Unplug(d.inner)
		return d.layoutErr
	}
	return nil
}

func (d *Device) identity() pci.Identity {
	id := pci.Identity{
		Vendor: pci.VendorRedHat, Device: modernDeviceBase + d.kind.ID, Revision: 1,
		Class: uint32(d.classCode()) << 8, InterruptPin: 1,
	}
	if d.legacy {
		id.Device, id.Revision = d.kind.PCI.Transitional, 0
		id.SubsystemVendor, id.Subsystem = pci.VendorRedHat, d.kind.ID
	}
	return id
}

func (d *Device) classCode() uint16 {
	for _, c := range d.kind.PCI.Classes {
		if uint32(c) == d.class {
			return c
		}
	}
	return d.kind.PCI.Class
}

// DMA implements virtio.Transport.
func (d *Device) DMA() *memory.DMA { return d.Dev().DMA() }

// DevicePlugged implements virtio.Transport.
func (d *Device) DevicePlugged(c *virtio.Core) {
	if d.modern {
		c.OfferFeatures(1 << virtio.FeatureVersion1)
	}
	if d.legacy {
		c.OfferFeatures(1 << virtio.FeatureBad)
	}
	if d.layoutErr = d.layOut(c); d.layoutErr != nil {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.core = c
	d.resetLocked()
}

// DeviceUnplugged implements virtio.Transport.
func (d *Device) DeviceUnplugged(c *virtio.Core) {
	d.mu.Lock()
	d.core = nil
	d.mu.Unlock()
	d.QueuesActive(c, false)
	d.takeISR()
}

// resetLocked brings the registers that are the transport's own back.
func (d *Device) resetLocked() {
	d.regs = registers{}
	d.configVector.Store(noVector)
	for i := range d.queueVectors {
		d.queueVectors[i].Store(noVector)
	}
}

// ResetEnter implements device.ResetEnterer. The virtio device has been reset before.
func (d *Device) ResetEnter() {
	d.mu.Lock()
	d.resetLocked()
	d.mu.Unlock()
	d.irqMu.Lock()
	d.isr = 0
	d.irqMu.Unlock()
	d.Device.ResetEnter()
}

// Bits of the interrupt status (4.1.4.5).
const (
	isrQueue  = 1
	isrConfig = 2
)

// QueueInterrupt implements virtio.Transport.
func (d *Device) QueueInterrupt(n int) {
	if d.MSIXEnabled() {
		d.signal(d.queueVectors[n].Load())
		return
	}
	d.raise(isrQueue)
}

// ConfigInterrupt implements virtio.Transport.
func (d *Device) ConfigInterrupt() {
	if d.MSIXEnabled() {
		d.irqMu.Lock()
		d.isr |= isrConfig
		d.irqMu.Unlock()
		d.signal(d.configVector.Load())
		return
	}
	d.raise(isrConfig)
}

func (d *Device) signal(vector uint32) {
	if v := d.MSIX(int(vector)); v != nil && vector != noVector {
		v.Notify()
	}
}

func (d *Device) raise(bits uint8) {
	d.irqMu.Lock()
	defer d.irqMu.Unlock()
	d.isr |= bits
	d.SetINTx(true)
}

// takeISR is a read of the interrupt status, which acknowledges the interrupt.
func (d *Device) takeISR() uint8 {
	d.irqMu.Lock()
	defer d.irqMu.Unlock()
	v := d.isr
	d.isr = 0
	d.SetINTx(false)
	return v
}

// setVector gives an event a vector; one that does not exist is refused by the
// driver's reading back that there is none.
func (d *Device) setVector(at *atomic.Uint32, v uint16) {
	if int(v) >= d.nvectors {
		v = noVector
	}
	at.Store(uint32(v))
}

// QueuesActive implements virtio.Transport.
func (d *Device) QueuesActive(c *virtio.Core, on bool) {
	d.fdMu.Lock()
	defer d.fdMu.Unlock()
	if !on && len(d.fds) == 0 || on && !d.ioeventfd {
		return
	}
	d.Env().Memory.Update(func() {
		for _, a := range d.fds {
			a.region.RemoveIoEventFD(a.offset, a.size, a.match, a.fd)
		}
		d.fds = d.fds[:0]
		if !on {
			return
		}
		for _, q := range c.Queues() {
			if q.Enabled() {
				d.attach(q, c.Has(virtio.FeatureVersion1))
			}
		}
	})
}

// attach has a queue's eventfd take its notifications where its driver makes them.
func (d *Device) attach(q *virtio.Queue, modern bool) {
	n := uint64(q.Index())
	add := func(r *memory.Region, offset uint64, size int, match *uint64) {
		r.AddIoEventFD(offset, size, match, q.EventFD())
		d.fds = append(d.fds, attached{r, offset, size, match, q.EventFD()})
	}
	if !modern {
		if d.legacy {
			add(d.bars.legacy, legacyNotify, 2, &n)
		}
		return
	}
	add(d.bars.notify, n*d.notifyStride, 0, nil)
	if d.bars.pio != nil {
		add(d.bars.pio, 0, 2, &n)
	}
}

func (d *Device) queue() *virtio.Queue {
	if d.core == nil {
		return nil
	}
	return d.core.Queue(int(d.regs.queueSel))
}

// setStatus is the driver's write to the device status.
func (d *Device) setStatus(v uint8) {
	d.core.SetStatus(v)
	if v == 0 {
		d.resetLocked()
		d.takeISR()
	}
}

func (d *Device) notified(n int) {
	if q := d.core.Queue(n); q != nil {
		q.Notified()
	}
}

// describe names the function's regions for debugging.
func (d *Device) describe(what string) string { return fmt.Sprintf("%s-%s", d.kind.Name, what) }
