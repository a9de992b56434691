// Package debugcon is the debug console "isa-debugcon": a port whose writes go
// to a character device, and which reads as a value by which firmware finds it.
package debugcon

import (
	"errors"
	"sync"

	"govmd/internal/chardev"
	"govmd/internal/device"
	"govmd/internal/device/isa"
	"govmd/internal/memory"
	"govmd/internal/object"
)

// Console is the device. It has no state of its own.
type Console struct {
	device.Base
	iobase, readback uint32
	chardev          string
	port             chardev.Port

	mu  sync.Mutex
	buf [1]byte // guarded by mu: what is being written, kept here so that writing does not allocate
}

func init() {
	device.Register(object.Type{
		Name: "isa-debugcon", Bus: isa.BusKind, UserCreatable: true, Description: "debug console",
		New: func() object.Object { return &Console{} },
		Props: []object.Property{
			object.Int("iobase", func(c *Console) *uint32 { return &c.iobase }, 0xe9, "the port"),
			object.Int("readback", func(c *Console) *uint32 { return &c.readback }, 0xe9, "what the port reads as"),
			object.Link("chardev", "str", func(c *Console) *string { return &c.chardev }, "ID of a chardev to use as a backend"),
		},
	})
}

// Realize implements device.Device.
func (c *Console) Realize() error {
	if c.chardev == "" {
		return errors.New("Can't create debugcon device, empty char device")
	}
	if c.iobase > 0xffff {
		return errors.New("iobase is beyond the last port, 0xffff")
	}
	p, err := c.Env().Chardev(c.chardev, c)
	if err != nil {
		return err
	}
	c.port = p
	c.Defer(p.Detach)
	return isa.Of(c).MapIO(c, uint16(c.iobase), c.Env().Memory.NewIO("isa-debugcon", 1, c, memory.Spec{Max: 1}))
}

// Unrealize implements device.Device.
func (c *Console) Unrealize() {}

// ReadIO implements memory.Handler.
func (c *Console) ReadIO(uint64, int) uint64 { return uint64(c.readback) }

// WriteIO implements memory.Handler. What a slow back end has no room for is
// lost: a debug console must not change what it shows.
func (c *Console) WriteIO(_ uint64, _ int, v uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.buf[0] = byte(v)
	c.port.Write(c.buf[:])
}

// CanReceive implements chardev.Frontend: there is no input.
func (c *Console) CanReceive() int { return 0 }

// Receive implements chardev.Frontend.
func (c *Console) Receive([]byte) {}

// ChardevEvent implements chardev.Frontend.
func (c *Console) ChardevEvent(chardev.Event) {}
