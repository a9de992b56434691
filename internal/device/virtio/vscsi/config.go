package vscsi

import (
	"encoding/binary"
	"fmt"
)

// Offsets in the configuration space (5.6.4), and its size.
const (
	cfgNumQueues  = 0
	cfgSegMax     = 4
	cfgMaxSectors = 8
	cfgCmdPerLUN  = 12
	cfgEventSize  = 16
	cfgSenseSize  = 20
	cfgCDBSize    = 24
	cfgMaxChannel = 28
	cfgMaxTarget  = 30
	cfgMaxLUN     = 32
	configSize    = 36
)

// Bounds of what a driver may set.
const (
	maxSenseSize = 0xffff
	maxCDBSize   = 0xff
)

// segMax is how many segments of data a request may have: the queue's size less
// request and response.
func (d *Device) segMax() uint32 {
	if d.segMaxAdjust {
		return d.queueSize - 2
	}
	return 126
}

// ReadConfig implements virtio.ConfigReader.
func (d *Device) ReadConfig(p []byte) {
	le := binary.LittleEndian
	d.mu.Lock()
	defer d.mu.Unlock()
	le.PutUint32(p[cfgNumQueues:], d.numQueues)
	le.PutUint32(p[cfgSegMax:], d.segMax())
	le.PutUint32(p[cfgMaxSectors:], d.maxSectors)
	le.PutUint32(p[cfgCmdPerLUN:], d.cmdPerLUN)
	le.PutUint32(p[cfgEventSize:], eventSize)
	le.PutUint32(p[cfgSenseSize:], d.sizes.sense)
	le.PutUint32(p[cfgCDBSize:], d.sizes.cdb)
	le.PutUint16(p[cfgMaxTarget:], maxTarget)
	le.PutUint32(p[cfgMaxLUN:], maxLUN)
}

// WriteConfig implements virtio.ConfigWriter: the driver sets the size of commands and
// of sense data.
func (d *Device) WriteConfig(off int, p []byte) {
	if len(p) != 4 || off != cfgSenseSize && off != cfgCDBSize {
		return
	}
	v := binary.LittleEndian.Uint32(p)
	field, most := &d.sizes.sense, uint32(maxSenseSize)
	if off == cfgCDBSize {
		field, most = &d.sizes.cdb, maxCDBSize
	}
	if v > most {
		d.Broken(fmt.Errorf("%d in its configuration at %d, at most %d is possible", v, off, most))
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	*field = v
}
