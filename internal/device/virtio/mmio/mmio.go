// Package mmio is the virtio-mmio transport (virtio 1.2, section 4.2): a page of
// registers and an interrupt line, in version 2 and in the legacy version 1.
package mmio

import (
	"fmt"
	"sync"

	"govmd/internal/device"
	"govmd/internal/device/sysbus"
	"govmd/internal/device/virtio"
	"govmd/internal/memory"
	"govmd/internal/object"
)

// Size is the size of a transport's registers in guest-physical memory.
const Size = 0x200

type node struct{ device.Base }

// Transport is one virtio-mmio transport, with a bus for one virtio device.
type Transport struct {
	node

	// Base is the guest-physical address of the registers and Pin the interrupt
	// input that the transport drives, or nil. The board sets them before Plug.
	Base uint64
	Pin  *device.Pin

	forceLegacy bool
	ioeventfd   bool

	bus    *device.Bus
	region *memory.Region
	dma    *memory.DMA

	mu   sync.Mutex   // guards the registers; outside the locks of package virtio
	core *virtio.Core // nil while there is no device
	regs registers

	fdMu sync.Mutex      // guards fds; inside mu and the worker, outside the memory system's
	fds  []*virtio.Queue // whose eventfds are attached

	irqMu sync.Mutex // guards isr and keeps changes of the line in order; a leaf
	isr   uint32
	line  *device.Line
}

// registers are what the driver has written and no device keeps.
type registers struct {
	deviceSel, driverSel uint32
	queueSel             uint32
	pageSize             uint32   // legacy
	align                []uint32 // legacy, by queue
}

const legacyAlign = 4096

// Bus returns the bus for the virtio device. (The transport itself is plugged
// into none.)
func (d *Transport) Bus() *device.Bus { return d.bus }

// Realize implements device.Device.
func (d *Transport) Realize() error {
	env := d.Env()
	name := fmt.Sprintf("virtio-mmio-bus.%d", d.number())
	d.bus = d.NewBus(virtio.BusKind, name, virtio.NewBus(d))
	d.dma = env.Mem.NewDMA(name)
	d.line = d.Pin.Connect(name)
	d.regs = registers{}
	d.region = env.Memory.NewIO("virtio-mmio", Size, d, memory.Spec{Max: 4, ImplMax: 4})
	d.Defer(d.line.Disconnect)
	return sysbus.MapMem(d, d.Base, d.region)
}

// number returns how many transports the machine has already.
func (d *Transport) number() int {
	n := 0
	object.Walk(d.Env().Root, func(o object.Object) {
		if t, ok := o.(*Transport); ok && t.Realized() {
			n++
		}
	})
	return n
}

// Unrealize implements device.Device; what is left is undone by Base.
func (d *Transport) Unrealize() {}

// DMA implements virtio.Transport.
func (d *Transport) DMA() *memory.DMA { return d.dma }

// DevicePlugged implements virtio.Transport.
func (d *Transport) DevicePlugged(c *virtio.Core) {
	if d.forceLegacy {
		c.OfferFeatures(1 << virtio.FeatureBad)
	} else {
		c.OfferFeatures(1 << virtio.FeatureVersion1)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.core = c
	d.resetLocked()
}

// DeviceUnplugged implements virtio.Transport.
func (d *Transport) DeviceUnplugged(c *virtio.Core) {
	d.mu.Lock()
	d.core = nil
	d.mu.Unlock()
	d.QueuesActive(c, false)
	d.setISR(0)
}

// resetLocked brings the registers that are the transport's own back.
func (d *Transport) resetLocked() {
	n := 0
	if d.core != nil {
		n = len(d.core.Queues())
	}
	d.regs = registers{align: make([]uint32, n)}
	for i := range d.regs.align {
		d.regs.align[i] = legacyAlign
	}
}

// ResetEnter implements device.ResetEnterer.
func (d *Transport) ResetEnter() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.resetLocked()
}

// ResetHold implements device.ResetHolder.
func (d *Transport) ResetHold() { d.setISR(0) }

// Bits of the interrupt status (4.2.2).
const (
	isrQueue  = 1
	isrConfig = 2
)

// QueueInterrupt implements virtio.Transport.
func (d *Transport) QueueInterrupt(int) { d.raise(isrQueue) }

// ConfigInterrupt implements virtio.Transport.
func (d *Transport) ConfigInterrupt() { d.raise(isrConfig) }

func (d *Transport) raise(bits uint32) {
	d.irqMu.Lock()
	defer d.irqMu.Unlock()
	d.isr |= bits
	d.line.SetLevel(true)
}

func (d *Transport) setISR(v uint32) {
	d.irqMu.Lock()
	defer d.irqMu.Unlock()
	d.isr = v
	d.line.SetLevel(v != 0)
}

func (d *Transport) acknowledge(bits uint32) {
	d.irqMu.Lock()
	defer d.irqMu.Unlock()
	d.isr &^= bits
	d.line.SetLevel(d.isr != 0)
}

func (d *Transport) status() uint32 {
	d.irqMu.Lock()
	defer d.irqMu.Unlock()
	return d.isr
}

// QueuesActive implements virtio.Transport.
func (d *Transport) QueuesActive(c *virtio.Core, on bool) {
	d.fdMu.Lock()
	defer d.fdMu.Unlock()
	if !on && len(d.fds) == 0 || on && !d.ioeventfd {
		return
	}
	d.Env().Memory.Update(func() {
		for _, q := range d.fds {
			n := uint64(q.Index())
			d.region.RemoveIoEventFD(regQueueNotify, 4, &n, q.EventFD())
		}
		d.fds = d.fds[:0]
		if !on {
			return
		}
		for _, q := range c.Queues() {
			if q.Enabled() {
				n := uint64(q.Index())
				d.region.AddIoEventFD(regQueueNotify, 4, &n, q.EventFD())
				d.fds = append(d.fds, q)
			}
		}
	})
}

func init() {
	device.Register(object.Type{
		Name: "virtio-mmio", Description: "virtio transport in guest-physical memory",
		New: func() object.Object { return &Transport{} },
		Props: []object.Property{
			object.Bool("force-legacy", func(d *Transport) *bool { return &d.forceLegacy }, true, "speak the legacy version of the transport"),
			object.Bool("ioeventfd", func(d *Transport) *bool { return &d.ioeventfd }, true, "on/off"),
		},
	})
}
