package vnet

import (
	"encoding/binary"

	"govmd/internal/device/virtio"
	"govmd/internal/net"
)

// Offsets in the configuration space (5.1.4).
const (
	cfgMAC    = 0
	cfgStatus = 6
	cfgPairs  = 8
	cfgMTU    = 10
	cfgSpeed  = 12
	cfgDuplex = 16
)

// Bits of the status.
const (
	statusUp       = 1
	statusAnnounce = 2
)

// configSize is as far as what the driver is offered goes.
func (d *Device) configSize() int {
	switch {
	case d.speed >= 0 || d.duplex != "":
		return cfgDuplex + 1
	case d.hostMTU > 0:
		return cfgMTU + 2
	}
	return cfgPairs + 2
}

// ReadConfig implements virtio.ConfigReader.
func (d *Device) ReadConfig(p []byte) {
	d.mu.Lock()
	defer d.mu.Unlock()
	var all [cfgDuplex + 1]byte
	le := binary.LittleEndian
	copy(all[cfgMAC:], d.mac[:])
	le.PutUint16(all[cfgStatus:], d.status)
	le.PutUint16(all[cfgPairs:], uint16(len(d.pairs)))
	le.PutUint16(all[cfgMTU:], d.hostMTU)
	le.PutUint32(all[cfgSpeed:], uint32(d.speed))
	all[cfgDuplex] = duplexes[d.duplex]
	copy(p, all[:])
}

// WriteConfig implements virtio.ConfigWriter: drivers of before virtio 1 write the
// address.
func (d *Device) WriteConfig(off int, p []byte) {
	if d.Has(featureCtrlMAC) || d.Has(virtio.FeatureVersion1) {
		return
	}
	d.mu.Lock()
	for i, b := range p {
		if at := off + i; at < len(d.mac) {
			d.mac[at] = b
		}
	}
	d.mu.Unlock()
}

// address is the card's.
func (d *Device) address() net.MAC {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.mac
}

// setStatus changes bits of the status and tells the driver.
func (d *Device) setStatus(bits uint16, on bool) {
	d.mu.Lock()
	old := d.status
	if on {
		d.status |= bits
	} else {
		d.status &^= bits
	}
	changed := d.status != old
	d.mu.Unlock()
	if changed {
		d.ConfigChanged()
	}
}
