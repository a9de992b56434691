// Package console is virtio-serial, the console device (virtio 1.2, section
// 5.3): many byte streams between the guest and character devices, some of
// which are consoles.
//
// Nothing here waits. Output that a character device does not take stays in the
// guest's buffers, and input is asked for only while the guest has a buffer for
// it. All work on queues is done by the device's worker.
package console

import (
	"encoding/binary"
	"errors"
	"fmt"
	"sync"

	"govmd/internal/device"
	"govmd/internal/device/virtio"
	"govmd/internal/object"
)

// BusKind is what ports plug into.
const BusKind = "virtio-serial-bus"

func init() { device.RegisterBus(BusKind) }

const (
	deviceID = 3

	// maxPorts is how many ports fit into the transport's number of queues.
	maxPorts = 511

	dataSize    = 128 // of a port's queues
	controlSize = 32

	// Queues: two for port 0, two for control messages, two for each other port.
	controlIn  = 2
	controlOut = 3

	featureSize           = 0
	featureMultiport      = 1
	featureEmergencyWrite = 2

	configBase      = 8
	configEmergency = 8
	configFull      = 12
)

// Device is the console device.
type Device struct {
	virtio.Core

	// properties
	maxPorts    uint32
	emergency   bool
	consoleSize bool

	bus     *device.Bus
	scratch [4096]byte // the worker's

	mu         sync.Mutex // guards what follows; before Port.mu
	ports      []*Port    // by number, those that are alive
	taken      []*Port    // by number, those that are plugged in
	pending    []pending  // by port number: control messages that are to be sent
	cols, rows uint16     // of port 0's console
}

var (
	errNoPorts   = errors.New("maximum number of serial ports not specified")
	errManyPorts = fmt.Errorf("maximum ports supported: %d", maxPorts)
)

// Realize implements device.Device.
func (d *Device) Realize() error {
	switch {
	case d.maxPorts == 0:
		return errNoPorts
	case d.maxPorts > maxPorts:
		return errManyPorts
	}
	info := virtio.Info{ID: deviceID, ConfigSize: configBase}
	if d.maxPorts > 1 {
		info.Features |= 1 << featureMultiport
	}
	if d.consoleSize {
		info.Features |= 1 << featureSize
	}
	if d.emergency {
		info.Features |= 1 << featureEmergencyWrite
		info.ConfigSize = configFull
	}
	if err := d.Init(info); err != nil {
		return err
	}
	d.ports, d.taken = make([]*Port, d.maxPorts), make([]*Port, d.maxPorts)
	d.pending = make([]pending, d.maxPorts)
	for n := range int(d.maxPorts) {
		d.AddQueue(dataSize, d.input)
		d.AddQueue(dataSize, d.output)
		if n == 0 {
			d.AddQueue(controlSize, d.sendControl)
			d.AddQueue(controlSize, d.takeControl)
		}
	}
	d.bus = d.NewBus(BusKind, d.busName(), (*portBus)(d))
	return nil
}

// busName is the user's name for the device, or for the function that it is in,
// with the number of the bus.
func (d *Device) busName() string {
	if id := d.UserID(); id != "" {
		return id + ".0"
	}
	n := 0
	object.Walk(d.Env().Root, func(o object.Object) {
		if x, ok := o.(*Device); ok && x.Realized() {
			n++
		}
	})
	return fmt.Sprintf("%s.%d", BusKind, n)
}

// SerialBus returns the bus for the ports.
func (d *Device) SerialBus() *device.Bus { return d.bus }

// multiport reports whether the driver knows of more than port 0.
func (d *Device) multiport() bool { return d.Has(featureMultiport) }

// port returns the port with that number, or nil.
func (d *Device) port(n int) *Port {
	d.mu.Lock()
	defer d.mu.Unlock()
	if n < 0 || n >= len(d.ports) {
		return nil
	}
	return d.ports[n]
}

// portOf returns the port whose queue q is.
func (d *Device) portOf(q *virtio.Queue) *Port {
	if q.Index() < controlIn {
		return d.port(0)
	}
	return d.port(q.Index()/2 - 1)
}

// queues returns the input and output queues of a port.
func (d *Device) queues(n int) (in, out *virtio.Queue) {
	i := 2 * (n + 1)
	if n == 0 {
		i = 0
	}
	return d.Queue(i), d.Queue(i + 1)
}

// all returns the ports that there are.
func (d *Device) all() []*Port {
	d.mu.Lock()
	defer d.mu.Unlock()
	var list []*Port
	for _, p := range d.ports {
		if p != nil {
			list = append(list, p)
		}
	}
	return list
}

// ReadConfig implements virtio.ConfigReader.
func (d *Device) ReadConfig(p []byte) {
	d.mu.Lock()
	defer d.mu.Unlock()
	binary.LittleEndian.PutUint16(p, d.cols)
	binary.LittleEndian.PutUint16(p[2:], d.rows)
	binary.LittleEndian.PutUint32(p[4:], d.maxPorts)
}

// WriteConfig implements virtio.ConfigWriter: a character for the console while
// the driver has no queues yet (5.3.5).
func (d *Device) WriteConfig(off int, p []byte) {
	if off != configEmergency {
		return
	}
	for _, port := range d.all() {
		if port.console && port.chr != nil {
			port.chr.Write(p[:1])
			return
		}
	}
}

// StatusChanged implements virtio.StatusUser. A driver that knows of one port
// alone does not say that it has opened it.
func (d *Device) StatusChanged(status uint8) {
	if status&virtio.StatusDriverOK != 0 && !d.multiport() {
		if p := d.port(0); p != nil {
			p.setGuestOpen(true)
		}
	}
}

// ResetDevice implements virtio.Resetter.
func (d *Device) ResetDevice() {
	d.mu.Lock()
	clear(d.pending)
	d.mu.Unlock()
	for _, p := range d.all() {
		p.reset()
	}
}

// setSize notes the size of a port's console.
func (d *Device) setSize(nr uint32, cols, rows uint16) {
	d.mu.Lock()
	changed := nr == 0 && (d.cols != cols || d.rows != rows)
	if nr == 0 {
		d.cols, d.rows = cols, rows
	}
	d.mu.Unlock()
	if changed && d.Has(featureSize) {
		d.ConfigChanged()
	}
}
