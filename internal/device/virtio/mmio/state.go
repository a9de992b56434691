package mmio

import (
	"fmt"

	"govmd/internal/state"
)

// savedTransport is a transport's saved state.
type savedTransport struct {
	DeviceSel uint32   `cbor:"device_sel"`
	DriverSel uint32   `cbor:"driver_sel"`
	QueueSel  uint32   `cbor:"queue_sel"`
	PageSize  uint32   `cbor:"page_size"`
	Align     []uint32 `cbor:"align"`
	ISR       uint32   `cbor:"isr"`
}

// States implements device.Stater.
func (d *Transport) States() []state.Entry { return []state.Entry{state.Of("", 1, d.save, d.load)} }

func (d *Transport) save() savedTransport {
	d.mu.Lock()
	defer d.mu.Unlock()
	return savedTransport{
		DeviceSel: d.regs.deviceSel, DriverSel: d.regs.driverSel, QueueSel: d.regs.queueSel,
		PageSize: d.regs.pageSize, Align: append([]uint32{}, d.regs.align...), ISR: d.status(),
	}
}

func (d *Transport) load(s *savedTransport) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(s.Align) != len(d.regs.align) {
		return fmt.Errorf("%d queues, here there are %d", len(s.Align), len(d.regs.align))
	}
	for _, v := range append([]uint32{s.PageSize}, s.Align...) {
		if v&(v-1) != 0 {
			return fmt.Errorf("page size or alignment %#x is not a power of two", v)
		}
	}
	d.regs = registers{s.DeviceSel, s.DriverSel, s.QueueSel, s.PageSize, append([]uint32{}, s.Align...)}
	for i, v := range d.regs.align {
		if v == 0 {
			d.regs.align[i] = legacyAlign
		}
	}
	d.setISR(s.ISR & (isrQueue | isrConfig))
	return nil
}
