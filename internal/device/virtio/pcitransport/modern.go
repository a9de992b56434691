package pcitransport

import (
	"govmd/internal/device/virtio"
)

// Registers of the common configuration (4.1.4.3).
const (
	comDeviceSel    = 0x00
	comDeviceFeat   = 0x04
	comDriverSel    = 0x08
	comDriverFeat   = 0x0c
	comConfigVector = 0x10
	comNumQueues    = 0x12
	comStatus       = 0x14
	comGeneration   = 0x15
	comQueueSel     = 0x16
	comQueueSize    = 0x18
	comQueueVector  = 0x1a
	comQueueEnable  = 0x1c
	comNotifyOff    = 0x1e
	comDesc         = 0x20
	comAvail        = 0x28
	comUsed         = 0x30
	comEnd          = 0x38
)

type (
	commonRegs struct{ d *Device }
	isrRegs    struct{ d *Device }
	deviceRegs struct{ d *Device }
	notifyRegs struct{ d *Device }
	pioRegs    struct{ d *Device }
)

// ReadIO implements memory.Handler.
func (r commonRegs) ReadIO(off uint64, _ int) uint64 {
	d := r.d
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.core == nil {
		return 0
	}
	if off >= comQueueSize && off < comEnd {
		return d.readQueue(off)
	}
	switch off {
	case comDeviceSel:
		return uint64(d.regs.deviceSel)
	case comDeviceFeat:
		if d.regs.deviceSel > 1 {
			return 0
		}
		return d.core.Offered(true) >> (32 * d.regs.deviceSel) & 0xffffffff
	case comDriverSel:
		return uint64(d.regs.driverSel)
	case comDriverFeat:
		if d.regs.driverSel > 1 {
			return 0
		}
		return d.core.Wanted() >> (32 * d.regs.driverSel) & 0xffffffff
	case comConfigVector:
		return uint64(d.configVector.Load())
	case comNumQueues:
		return uint64(len(d.core.Queues()))
	case comStatus:
		return uint64(d.core.Status())
	case comGeneration:
		return uint64(uint8(d.core.ConfigGeneration()))
	case comQueueSel:
		return uint64(d.regs.queueSel)
	}
	return 0
}

// readQueue reads a register of the selected queue.
func (d *Device) readQueue(off uint64) uint64 {
	q := d.queue()
	if q == nil {
		return 0
	}
	ring := q.Ring()
	switch off {
	case comQueueSize:
		return uint64(ring.Size)
	case comQueueVector:
		return uint64(d.queueVectors[q.Index()].Load())
	case comQueueEnable:
		if ring.Enabled {
			return 1
		}
		return 0
	case comNotifyOff:
		return uint64(q.Index())
	}
	if p := address(&ring, off); p != nil {
		return *p >> (8 * (off & 4)) & 0xffffffff
	}
	return 0
}

// address returns the ring's address in which the register at off is a half.
func address(r *virtio.Ring, off uint64) *uint64 {
	switch off &^ 4 {
	case comDesc:
		return &r.Desc
	case comAvail:
		return &r.Avail
	case comUsed:
		return &r.Used
	}
	return nil
}

// WriteIO implements memory.Handler.
func (r commonRegs) WriteIO(off uint64, size int, v uint64) {
	d := r.d
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.core == nil {
		return
	}
	if off >= comQueueSize && off < comEnd {
		d.writeQueue(off, size, v)
		return
	}
	switch off {
	case comDeviceSel:
		d.regs.deviceSel = uint32(v)
	case comDriverSel:
		d.regs.driverSel = uint32(v)
	case comDriverFeat:
		if d.regs.driverSel <= 1 {
			shift := 32 * d.regs.driverSel
			d.core.SetWanted(d.core.Wanted()&^(0xffffffff<<shift) | uint64(uint32(v))<<shift)
		}
	case comConfigVector:
		d.setVector(&d.configVector, uint16(v))
	case comStatus:
		d.setStatus(uint8(v))
	case comQueueSel:
		d.regs.queueSel = uint16(v)
	default:
		d.GuestErrorf("write of common register %#x, which cannot be written", off)
	}
}

func (d *Device) writeQueue(off uint64, size int, v uint64) {
	q := d.queue()
	if q == nil {
		return
	}
	switch off {
	case comQueueSize:
		ring := q.Ring()
		ring.Size = uint16(v)
		q.SetRing(ring)
		return
	case comQueueVector:
		d.setVector(&d.queueVectors[q.Index()], uint16(v))
		return
	case comQueueEnable:
		if v == 1 { // a driver must not write 0 (4.1.4.3.2)
			q.Enable()
		}
		return
	}
	ring := q.Ring()
	p := address(&ring, off)
	if p == nil || size != 4 {
		d.GuestErrorf("write of %d bytes to common register %#x", size, off)
		return
	}
	shift := 8 * (off & 4)
	*p = *p&^(0xffffffff<<shift) | uint64(uint32(v))<<shift
	q.SetRing(ring)
}

// ReadIO implements memory.Handler.
func (r isrRegs) ReadIO(off uint64, _ int) uint64 {
	if off != 0 {
		return 0
	}
	return uint64(r.d.takeISR())
}

// WriteIO implements memory.Handler.
func (r isrRegs) WriteIO(uint64, int, uint64) {}

// ReadIO implements memory.Handler.
func (r deviceRegs) ReadIO(off uint64, size int) uint64 {
	r.d.mu.Lock()
	defer r.d.mu.Unlock()
	if r.d.core == nil {
		return 0
	}
	return r.d.core.ReadConfig(off, size)
}

// WriteIO implements memory.Handler.
func (r deviceRegs) WriteIO(off uint64, size int, v uint64) {
	r.d.mu.Lock()
	defer r.d.mu.Unlock()
	if r.d.core != nil {
		r.d.core.WriteConfig(off, size, v)
	}
}

// ReadIO implements memory.Handler.
func (r notifyRegs) ReadIO(uint64, int) uint64 { return 0 }

// WriteIO implements memory.Handler.
func (r notifyRegs) WriteIO(off uint64, _ int, _ uint64) {
	r.d.mu.Lock()
	defer r.d.mu.Unlock()
	if r.d.core != nil {
		r.d.notified(int(off / r.d.notifyStride))
	}
}

// ReadIO implements memory.Handler.
func (r pioRegs) ReadIO(uint64, int) uint64 { return 0 }

// WriteIO implements memory.Handler.
func (r pioRegs) WriteIO(off uint64, _ int, v uint64) {
	r.d.mu.Lock()
	defer r.d.mu.Unlock()
	if r.d.core != nil && off == 0 {
		r.d.notified(int(v & 0xffff))
	}
}
