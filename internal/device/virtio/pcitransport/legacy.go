package pcitransport

import "govmd/internal/device/virtio"

// Registers of the legacy block of ports (4.1.4.10).
const (
	legacyDeviceFeat   = 0x00
	legacyDriverFeat   = 0x04
	legacyPFN          = 0x08
	legacyQueueSize    = 0x0c
	legacyQueueSel     = 0x0e
	legacyNotify       = 0x10
	legacyStatus       = 0x12
	legacyISR          = 0x13
	legacyConfigVector = 0x14 // while MSI-X is enabled
	legacyQueueVector  = 0x16
	legacyConfig       = 0x14 // while it is not
	legacyConfigMSIX   = 0x18

	legacyPage = 4096 // unit of the page frame number, and alignment of the used ring
)

type legacyRegs struct{ d *Device }

// config returns where the device's configuration begins: behind the vectors'
// registers, which are there only while MSI-X is enabled.
func (d *Device) legacyConfigOffset() uint64 {
	if d.legacyVectors && d.MSIXEnabled() {
		return legacyConfigMSIX
	}
	return legacyConfig
}

// ReadIO implements memory.Handler.
func (r legacyRegs) ReadIO(off uint64, size int) uint64 {
	d := r.d
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.core == nil {
		return 0
	}
	if at := d.legacyConfigOffset(); off >= at {
		return d.core.ReadConfig(off-at, size)
	}
	q := d.queue()
	switch off {
	case legacyDeviceFeat:
		return d.core.Offered(false)
	case legacyDriverFeat:
		return d.core.Features() & 0xffffffff
	case legacyPFN:
		if q == nil || !q.Enabled() {
			return 0
		}
		return q.Ring().Desc / legacyPage
	case legacyQueueSize:
		if q == nil {
			return 0
		}
		return uint64(q.Max())
	case legacyQueueSel:
		return uint64(d.regs.queueSel)
	case legacyStatus:
		return uint64(d.core.Status())
	case legacyISR:
		return uint64(d.takeISR())
	case legacyConfigVector:
		return uint64(d.configVector.Load())
	case legacyQueueVector:
		if q == nil {
			return noVector
		}
		return uint64(d.queueVectors[q.Index()].Load())
	}
	return 1<<(8*size) - 1
}

// WriteIO implements memory.Handler.
func (r legacyRegs) WriteIO(off uint64, size int, v uint64) {
	d := r.d
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.core == nil {
		return
	}
	if at := d.legacyConfigOffset(); off >= at {
		d.core.WriteConfig(off-at, size, v)
		return
	}
	q := d.queue()
	switch off {
	case legacyDriverFeat:
		d.core.SetLegacyFeatures(uint32(v))
	case legacyPFN:
		d.setPFN(q, uint32(v))
	case legacyQueueSel:
		d.regs.queueSel = uint16(v)
	case legacyNotify:
		d.notified(int(v & 0xffff))
	case legacyStatus:
		d.setStatus(uint8(v))
	case legacyConfigVector:
		d.setVector(&d.configVector, uint16(v))
	case legacyQueueVector:
		if q != nil {
			d.setVector(&d.queueVectors[q.Index()], uint16(v))
		}
	default:
		d.GuestErrorf("write of legacy register %#x, which cannot be written", off)
	}
}

// setPFN is how a legacy driver gives a queue to the device, or takes it back.
func (d *Device) setPFN(q *virtio.Queue, pfn uint32) {
	switch {
	case q == nil:
	case pfn == 0:
		q.Disable()
		q.SetRing(virtio.Ring{Size: q.Max()})
	default:
		r := virtio.Ring{Size: q.Max()}
		r.PlaceLegacy(uint64(pfn)*legacyPage, legacyPage)
		q.SetRing(r)
		q.Enable()
	}
}
