package mmio

import "govmd/internal/device/virtio"

// Registers (4.2.2, and 4.2.4 for the legacy ones).
const (
	regMagic         = 0x000
	regVersion       = 0x004
	regDeviceID      = 0x008
	regVendorID      = 0x00c
	regDeviceFeat    = 0x010
	regDeviceFeatSel = 0x014
	regDriverFeat    = 0x020
	regDriverFeatSel = 0x024
	regPageSize      = 0x028 // legacy
	regQueueSel      = 0x030
	regQueueNumMax   = 0x034
	regQueueNum      = 0x038
	regQueueAlign    = 0x03c // legacy
	regQueuePFN      = 0x040 // legacy
	regQueueReady    = 0x044
	regQueueNotify   = 0x050
	regISR           = 0x060
	regISRAck        = 0x064
	regStatus        = 0x070
	regDescLow       = 0x080
	regDescHigh      = 0x084
	regAvailLow      = 0x090
	regAvailHigh     = 0x094
	regUsedLow       = 0x0a0
	regUsedHigh      = 0x0a4
	regSHMLenLow     = 0x0b0
	regSHMBaseHigh   = 0x0bc
	regGeneration    = 0x0fc
	regConfig        = 0x100

	magic    = 0x74726976 // "virt"
	vendorID = 0x554d4551 // "QEMU"
)

// ReadIO implements memory.Handler.
func (d *Transport) ReadIO(off uint64, size int) uint64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	if off >= regConfig {
		if d.core == nil {
			return 0
		}
		return d.core.ReadConfig(off-regConfig, size)
	}
	if size != 4 {
		d.GuestErrorf("read of %d bytes from register %#x", size, off)
		return 0
	}
	switch off {
	case regMagic:
		return magic
	case regVersion:
		if d.forceLegacy {
			return 1
		}
		return 2
	case regVendorID:
		return vendorID
	}
	if d.core == nil {
		return 0 // device ID 0: nobody is here
	}
	if d.forceLegacy {
		return uint64(d.readLegacy(off))
	}
	return uint64(d.readModern(off))
}

// readLegacy reads what only version 1 has.
func (d *Transport) readLegacy(off uint64) uint32 {
	switch off {
	case regDeviceFeat:
		if d.regs.deviceSel != 0 {
			return 0
		}
		return uint32(d.core.Offered(false))
	case regQueuePFN:
		q := d.queue()
		if q == nil || d.regs.pageSize == 0 {
			return 0
		}
		return uint32(q.Ring().Desc / uint64(d.regs.pageSize))
	}
	return d.readCommon(off)
}

// readModern reads what only version 2 has.
func (d *Transport) readModern(off uint64) uint32 {
	switch off {
	case regDeviceFeat:
		if d.regs.deviceSel > 1 {
			return 0
		}
		return uint32(d.core.Offered(true) >> (32 * d.regs.deviceSel))
	case regQueueReady:
		if q := d.queue(); q != nil && q.Enabled() {
			return 1
		}
		return 0
	case regGeneration:
		return d.core.ConfigGeneration()
	}
	if off >= regSHMLenLow && off <= regSHMBaseHigh {
		return 0xffffffff // there is no shared memory
	}
	return d.readCommon(off)
}

func (d *Transport) readCommon(off uint64) uint32 {
	switch off {
	case regDeviceID:
		return uint32(d.core.VirtioID())
	case regQueueNumMax:
		if q := d.queue(); q != nil {
			return uint32(q.Max())
		}
		return 0
	case regISR:
		return d.status()
	case regStatus:
		return uint32(d.core.Status())
	}
	d.GuestErrorf("read of register %#x, which cannot be read", off)
	return 0
}

func (d *Transport) queue() *virtio.Queue {
	if d.core == nil || d.regs.queueSel > 0xffff {
		return nil
	}
	return d.core.Queue(int(d.regs.queueSel))
}

// WriteIO implements memory.Handler.
func (d *Transport) WriteIO(off uint64, size int, v uint64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.core == nil {
		return
	}
	if off >= regConfig {
		d.core.WriteConfig(off-regConfig, size, v)
		return
	}
	if size != 4 {
		d.GuestErrorf("write of %d bytes to register %#x", size, off)
		return
	}
	if d.forceLegacy {
		d.writeLegacy(off, uint32(v))
	} else {
		d.writeModern(off, uint32(v))
	}
}

func (d *Transport) writeLegacy(off uint64, v uint32) {
	switch off {
	case regDriverFeat:
		if d.regs.driverSel == 0 {
			d.core.SetLegacyFeatures(v)
		}
	case regPageSize:
		if v != 0 && v&(v-1) == 0 {
			d.regs.pageSize = v
		}
	case regQueueAlign:
		if q := d.queue(); q != nil && v != 0 && v&(v-1) == 0 {
			d.regs.align[q.Index()] = v
		}
	case regQueuePFN:
		d.setPFN(v)
	default:
		d.writeCommon(off, v)
	}
}

// setPFN is how a legacy driver gives a queue to the device, or takes it back.
func (d *Transport) setPFN(pfn uint32) {
	q := d.queue()
	switch {
	case q == nil:
	case pfn == 0:
		q.Disable()
		r := q.Ring()
		q.SetRing(virtio.Ring{Size: r.Size})
	default:
		r := q.Ring()
		r.PlaceLegacy(uint64(pfn)*uint64(d.regs.pageSize), uint64(d.regs.align[q.Index()]))
		q.SetRing(r)
		q.Enable()
	}
}

func (d *Transport) writeModern(off uint64, v uint32) {
	switch off {
	case regDriverFeat:
		d.setFeatures(v)
	case regQueueReady:
		if q := d.queue(); q != nil {
			if v != 0 {
				q.Enable()
			} else {
				q.Disable()
			}
		}
	case regDescLow, regDescHigh, regAvailLow, regAvailHigh, regUsedLow, regUsedHigh:
		d.setAddress(off, v)
	default:
		d.writeCommon(off, v)
	}
}

func (d *Transport) setFeatures(v uint32) {
	if d.regs.driverSel > 1 {
		return
	}
	shift := 32 * d.regs.driverSel
	d.core.SetWanted(d.core.Wanted()&^(0xffffffff<<shift) | uint64(v)<<shift)
}

func (d *Transport) setAddress(off uint64, v uint32) {
	q := d.queue()
	if q == nil {
		return
	}
	r := q.Ring()
	addr := &r.Desc
	switch off &^ 4 {
	case regAvailLow:
		addr = &r.Avail
	case regUsedLow:
		addr = &r.Used
	}
	if off&4 != 0 {
		*addr = *addr&0xffffffff | uint64(v)<<32
	} else {
		*addr = *addr&^0xffffffff | uint64(v)
	}
	q.SetRing(r)
}

func (d *Transport) writeCommon(off uint64, v uint32) {
	switch off {
	case regDeviceFeatSel:
		d.regs.deviceSel = v
	case regDriverFeatSel:
		d.regs.driverSel = v
	case regQueueSel:
		d.regs.queueSel = v
	case regQueueNum:
		if q := d.queue(); q != nil && v <= 0xffff {
			r := q.Ring()
			r.Size = uint16(v)
			q.SetRing(r)
		}
	case regQueueNotify:
		// Of the notification data only the queue's number is used (4.2.3.3).
		if q := d.core.Queue(int(v & 0xffff)); q != nil {
			q.Notified()
		}
	case regISRAck:
		d.acknowledge(v)
	case regStatus:
		d.core.SetStatus(uint8(v))
		if uint8(v) == 0 {
			d.resetLocked()
			d.setISR(0)
		}
	default:
		d.GuestErrorf("write of register %#x, which cannot be written", off)
	}
}
