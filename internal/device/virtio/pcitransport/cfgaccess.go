package pcitransport

import "govmd/internal/memory"

// Fields of the capability for access through configuration space.
const (
	cfgBAR    = 4
	cfgOffset = 8
	cfgLength = 12
	cfgData   = 16
)

// ConfigReading implements pci.ConfigReader: a read of the capability's data is
// a read of the registers that it points to.
func (d *Device) ConfigReading(off, size int) {
	if !d.inData(off, size) {
		return
	}
	if h, at, n := d.pointed(); h != nil {
		d.Config().SetU32(d.cfgCap+cfgData, uint32(h.ReadIO(at, n)))
	}
}

// ConfigWritten implements pci.ConfigWriter.
func (d *Device) ConfigWritten(off, size int) {
	if !d.inData(off, size) {
		return
	}
	if h, at, n := d.pointed(); h != nil {
		v := uint64(d.Config().U32(d.cfgCap+cfgData)) & (1<<(8*n) - 1)
		h.WriteIO(at, n, v)
	}
}

func (d *Device) inData(off, size int) bool {
	at := d.cfgCap + cfgData
	return d.cfgCap != 0 && off < at+4 && at < off+size
}

// pointed returns what the capability's fields say: whose registers, where in
// them, and how many bytes; nil for what is no register of the modern BAR.
func (d *Device) pointed() (h memory.Handler, at uint64, n int) {
	c := d.Config()
	if c.U8(d.cfgCap+cfgBAR) != barModern {
		return nil, 0, 0
	}
	off, length := uint64(c.U32(d.cfgCap+cfgOffset)), c.U32(d.cfgCap+cfgLength)
	if length != 1 && length != 2 && length != 4 || off%uint64(length) != 0 {
		return nil, 0, 0
	}
	switch n = int(length); {
	case off < offISR:
		return commonRegs{d}, off - offCommon, n
	case off < offDevice:
		return isrRegs{d}, off - offISR, n
	case off < offNotify:
		return deviceRegs{d}, off - offDevice, n
	case off < offNotify+d.notifyStride*maxQueues:
		return notifyRegs{d}, off - offNotify, n
	}
	return nil, 0, 0
}
