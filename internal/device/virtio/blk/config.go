package blk

import (
	"encoding/binary"

	"govmd/internal/device/drive"
)

// Offsets in the configuration space (5.2.4), and its size.
const (
	cfgCapacity     = 0
	cfgSegMax       = 12
	cfgCylinders    = 16
	cfgHeads        = 18
	cfgSectors      = 19
	cfgBlockSize    = 20
	cfgPhysicalExp  = 24
	cfgMinIO        = 26
	cfgOptIO        = 28
	cfgWriteback    = 32
	cfgNumQueues    = 34
	cfgMaxDiscard   = 36
	cfgDiscardSegs  = 40
	cfgDiscardAlign = 44
	cfgMaxZeroes    = 48
	cfgZeroesSegs   = 52
	cfgMayUnmap     = 56
	configSize      = 60
)

// segMax is how many segments of data a request may have: the queue's size less
// header and status.
func (d *Device) segMax() uint32 {
	if d.segMaxAdjust {
		return uint32(d.queueSize) - 2
	}
	return 126
}

// ReadConfig implements virtio.ConfigReader.
func (d *Device) ReadConfig(p []byte) {
	le := binary.LittleEndian
	c := &d.conf
	le.PutUint64(p[cfgCapacity:], uint64(d.backend.Length())/sectorSize)
	le.PutUint32(p[cfgSegMax:], d.segMax())
	le.PutUint16(p[cfgCylinders:], uint16(d.geometry.Cylinders))
	p[cfgHeads], p[cfgSectors] = byte(d.geometry.Heads), byte(d.geometry.Sectors)
	le.PutUint32(p[cfgBlockSize:], uint32(c.LogicalBlock))
	for n := c.LogicalBlock; n < c.PhysicalBlock; n <<= 1 {
		p[cfgPhysicalExp]++
	}
	le.PutUint16(p[cfgMinIO:], uint16(c.MinIO/c.LogicalBlock))
	le.PutUint32(p[cfgOptIO:], uint32(c.OptIO/c.LogicalBlock))
	if d.backend.WriteCache() {
		p[cfgWriteback] = 1
	}
	le.PutUint16(p[cfgNumQueues:], d.numQueues)
	if d.discard {
		granularity := c.Discard
		if c.Discard == drive.NoDiscard || !d.reportDiscard {
			granularity = c.LogicalBlock
		}
		le.PutUint32(p[cfgMaxDiscard:], d.maxDiscard)
		le.PutUint32(p[cfgDiscardAlign:], uint32(granularity/sectorSize))
		le.PutUint32(p[cfgDiscardSegs:], 1)
	}
	if d.zeroes {
		le.PutUint32(p[cfgMaxZeroes:], d.maxZeroes)
		le.PutUint32(p[cfgZeroesSegs:], 1)
		p[cfgMayUnmap] = 1
	}
}

// WriteConfig implements virtio.ConfigWriter: the driver turns the write cache on
// and off.
func (d *Device) WriteConfig(off int, p []byte) {
	for i, b := range p {
		if off+i == cfgWriteback && d.configWCE {
			d.backend.SetWriteCache(b&1 != 0)
		}
	}
}

// FeaturesChanged implements virtio.FeatureUser: a driver that does not know of
// flushes must not need them.
func (d *Device) FeaturesChanged(features uint64) {
	if features>>featureFlush&1 == 0 && features>>featureConfigWCE&1 == 0 {
		d.backend.SetWriteCache(false)
	}
}
