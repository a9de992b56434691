package console

import (
	"fmt"

	"govmd/internal/device"
)

// portBus is the controller of the bus that ports plug into.
type portBus Device

func serialOf(p *Port) *Device { return (*Device)(p.Bus().Controller().(*portBus)) }

// port is implemented by the types of ports.
type port interface {
	device.Device
	Port() *Port
}

// Port returns p.
func (p *Port) Port() *Port { return p }

// Attach implements device.Controller: it gives the port its number. Port 0 is
// kept for a console, which drivers that know of one port alone use.
func (b *portBus) Attach(dev device.Device) error {
	d := (*Device)(b)
	x, ok := dev.(port)
	if !ok {
		return fmt.Errorf("Device '%s' can't go on %s bus", dev.Dev().TypeName(), BusKind)
	}
	p := x.Port()
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(p.name) > maxName {
		return fmt.Errorf("virtio-serial-bus: the name of a port can have %d bytes, '%s' is longer", maxName, p.name)
	}
	for _, other := range d.taken {
		if other != nil && p.name != "" && other.name == p.name {
			return fmt.Errorf("virtio-serial-bus: A port already exists by name %s", p.name)
		}
	}
	nr, err := d.numberFor(p)
	if err != nil {
		return err
	}
	p.nr = nr
	d.taken[nr] = p
	return nil
}

func (d *Device) numberFor(p *Port) (uint32, error) {
	switch {
	case p.nr == autoNumber && p.console && d.taken[0] == nil:
		return 0, nil
	case p.nr == autoNumber:
		for n := 1; n < len(d.taken); n++ {
			if d.taken[n] == nil {
				return uint32(n), nil
			}
		}
		return 0, fmt.Errorf("virtio-serial-bus: Maximum port limit for this device reached")
	case p.nr >= d.maxPorts:
		return 0, fmt.Errorf("virtio-serial-bus: Out-of-range port id specified, max. allowed: %d", d.maxPorts-1)
	case p.nr == 0 && !p.console:
		return 0, fmt.Errorf("Port number 0 on virtio-serial devices reserved for virtconsole devices for backward compatibility.")
	case d.taken[p.nr] != nil:
		return 0, fmt.Errorf("virtio-serial-bus: A port already exists at id %d", p.nr)
	}
	return p.nr, nil
}

// Detach implements device.Controller.
func (b *portBus) Detach(dev device.Device) {
	d := (*Device)(b)
	d.mu.Lock()
	defer d.mu.Unlock()
	d.taken[dev.(port).Port().nr] = nil
}

// DevicePlugged implements device.Plugged: the driver is told of the port.
func (b *portBus) DevicePlugged(dev device.Device) {
	d, p := (*Device)(b), dev.(port).Port()
	d.mu.Lock()
	d.ports[p.nr] = p
	d.mu.Unlock()
	d.tell(p.nr, ctlPortAdd)
	d.StatusChanged(d.Status())
}
