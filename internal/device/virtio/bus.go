package virtio

import (
	"fmt"

	"govmd/internal/device"
	"govmd/internal/memory"
)

// Transport is how device code reaches its driver. QueueInterrupt and
// ConfigInterrupt take no lock but leaves: they may be called by anyone, with
// device code's lock held.
type Transport interface {
	// DevicePlugged is called when device code is alive.
	DevicePlugged(c *Core)
	// DeviceUnplugged is called before device code ends: when it has returned,
	// the driver does not reach it any more.
	DeviceUnplugged(c *Core)
	// DMA returns the memory that the device may access. It is called once,
	// before DevicePlugged.
	DMA() *memory.DMA
	// QueueInterrupt tells the driver that queue n has used elements.
	QueueInterrupt(n int)
	// ConfigInterrupt tells the driver that the configuration or the status has changed.
	ConfigInterrupt()
	// QueuesActive says that the enabled queues' notifications should now be
	// taken by their eventfds, or no longer. It is called on the lane or a vCPU,
	// possibly inside the transport's own register write.
	QueuesActive(c *Core, on bool)
}

// Bus is the controller of a virtio-bus, which holds one device.
type Bus struct {
	transport Transport
	core      *Core
}

// NewBus returns the controller of the bus that t provides.
func NewBus(t Transport) *Bus { return &Bus{transport: t} }

// BusOf returns the virtio-bus into which the device is plugged, or nil.
func BusOf(c *Core) *Bus {
	if c.Bus() == nil {
		return nil
	}
	b, _ := c.Bus().Controller().(*Bus)
	return b
}

// Attach implements device.Controller.
func (b *Bus) Attach(d device.Device) error {
	v, ok := d.(Device)
	if !ok {
		return fmt.Errorf("device '%s' is not a virtio device", d.Dev().TypeName())
	}
	if b.core != nil {
		return fmt.Errorf("the virtio bus has a device already, '%s'", b.core.Describe())
	}
	b.core = v.Virtio()
	return nil
}

// Detach implements device.Controller.
func (b *Bus) Detach(device.Device) { b.core = nil }

// Full reports whether the bus has its device: -device looks for one that has not.
func (b *Bus) Full() bool { return b.core != nil }

// DMAFor implements device.DMAProvider.
func (b *Bus) DMAFor(*device.Base) *memory.DMA { return b.transport.DMA() }

// DevicePlugged implements device.Plugged.
func (b *Bus) DevicePlugged(device.Device) { b.transport.DevicePlugged(b.core) }

// Core returns the device's common part, or nil while there is no device.
func (b *Bus) Core() *Core { return b.core }
