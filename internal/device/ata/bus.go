package ata

import (
	"fmt"
	"sync"

	"govmd/internal/device"
)

// BusKind is what the drives plug into: a cable.
const BusKind = "IDE"

// Cable is the controller of the bus of a cable.
type Cable struct {
	port   Port
	mu     *sync.Mutex // the port's: guards drives
	units  int
	number int // of all cables
	index  int // of the controller's
	drives [2]*Drive
	// Changed is told, on the lane and with the mutex not held, of a drive that
	// comes (gone is false) or goes.
	Changed func(d *Drive, gone bool)
}

// NewCable gives a controller's device a bus for up to units drives (1 or 2). The
// bus's name is that of the device's ID and n or, without one, "ide." and the
// number of cables before it.
func NewCable(b *device.Base, port Port, n, units int) (*Cable, *device.Bus) {
	c := &Cable{port: port, mu: port.Lock(), units: units, number: b.Env().CountBuses(BusKind), index: n}
	name := fmt.Sprintf("ide.%d", c.number)
	if b.ID() != "" {
		name = fmt.Sprintf("%s.%d", b.ID(), n)
	}
	return c, b.NewBus(BusKind, name, c)
}

// Drive returns the drive of that number, or nil. The mutex is held, or it is called
// on the lane.
func (c *Cable) Drive(unit int) *Drive { return c.drives[unit] }

// Full reports whether there is no room for another drive.
func (c *Cable) Full() bool {
	for _, d := range c.drives[:c.units] {
		if d == nil {
			return false
		}
	}
	return true
}

// driver is a device of this package.
type driver interface {
	device.Device
	ata() *Drive
	unitProperty() *uint32
}

// Attach implements device.Controller.
func (c *Cable) Attach(dev device.Device) error {
	d, ok := dev.(driver)
	if !ok {
		return fmt.Errorf("Device '%s' can't go on %s bus", dev.Dev().TypeName(), BusKind)
	}
	unit := d.unitProperty()
	if *unit == anyUnit {
		*unit = 0
		if c.drives[0] != nil {
			*unit = 1
		}
	}
	if int64(*unit) >= int64(c.units) {
		return fmt.Errorf("Can't create IDE unit %d, bus supports only %d units", *unit, c.units)
	}
	if c.drives[*unit] != nil {
		return fmt.Errorf("IDE unit %d is in use", *unit)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.drives[*unit] = d.ata()
	return nil
}

// Detach implements device.Controller.
func (c *Cable) Detach(dev device.Device) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i, d := range c.drives {
		if d == dev.(driver).ata() {
			c.drives[i] = nil
		}
	}
}

// DeviceAddress implements device.Addresser.
func (c *Cable) DeviceAddress(dev device.Device) string {
	return fmt.Sprintf("%d.%d", c.number, *dev.(driver).unitProperty())
}

// defaultSerial is that of a drive without a serial number of its own.
func (c *Cable) defaultSerial(unit int) string { return fmt.Sprintf("QM%05d", 2*c.number+unit+1) }
