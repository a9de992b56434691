package pcitransport

import (
	"fmt"

	"govmd/internal/state"
)

// savedTransport is the saved state of what is not in configuration space.
type savedTransport struct {
	DeviceSel    uint32   `cbor:"device_sel"`
	DriverSel    uint32   `cbor:"driver_sel"`
	QueueSel     uint16   `cbor:"queue_sel"`
	ISR          uint8    `cbor:"isr"`
	ConfigVector uint16   `cbor:"config_vector"`
	QueueVectors []uint16 `cbor:"queue_vectors"`
}

// States implements device.Stater.
func (d *Device) States() []state.Entry { return []state.Entry{state.Of("", 1, d.save, d.load)} }

func (d *Device) save() savedTransport {
	d.mu.Lock()
	defer d.mu.Unlock()
	s := savedTransport{
		DeviceSel: d.regs.deviceSel, DriverSel: d.regs.driverSel, QueueSel: d.regs.queueSel,
		ConfigVector: uint16(d.configVector.Load()), QueueVectors: make([]uint16, len(d.queueVectors)),
	}
	for i := range d.queueVectors {
		s.QueueVectors[i] = uint16(d.queueVectors[i].Load())
	}
	d.irqMu.Lock()
	defer d.irqMu.Unlock()
	s.ISR = d.isr
	return s
}

func (d *Device) load(s *savedTransport) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(s.QueueVectors) != len(d.queueVectors) {
		return fmt.Errorf("%d queues, here there are %d", len(s.QueueVectors), len(d.queueVectors))
	}
	d.regs = registers{s.DeviceSel, s.DriverSel, s.QueueSel}
	d.setVector(&d.configVector, s.ConfigVector)
	for i, v := range s.QueueVectors {
		d.setVector(&d.queueVectors[i], v)
	}
	d.irqMu.Lock()
	defer d.irqMu.Unlock()
	d.isr = s.ISR & (isrQueue | isrConfig) // the pin's level is the PCI core's state
	return nil
}
