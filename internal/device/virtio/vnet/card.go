package vnet

import (
	"govmd/internal/device/nic"
	"govmd/internal/net"
)

// card is what a link calls of the device.
type card struct{ d *Device }

// Receive implements net.Card.
func (c card) Receive(queue int, frame [][]byte) bool {
	p := c.d.pairs[queue%len(c.d.pairs)]
	p.frame = frame
	c.d.Worker().Exclude(p.receive)
	p.frame = nil
	return p.took
}

// Wake implements net.Card.
func (c card) Wake(queue int) { c.d.pairs[queue%len(c.d.pairs)].tx.Kick() }

// LinkChanged implements net.Card.
func (c card) LinkChanged(up bool) { c.d.setStatus(statusUp, up) }

// BackendChanged implements net.Card.
func (c card) BackendChanged() {
	c.d.setHeader()
	c.d.KickAll() // what was not sent meanwhile
}

// Announce implements net.Card: the driver is asked to, or a frame is sent for it.
func (c card) Announce() {
	d := c.d
	const both = 1<<featureAnnounce | 1<<featureCtrlQueue
	if d.Features()&both == both {
		d.setStatus(statusAnnounce, true)
		return
	}
	frame := nic.RARP(d.address())
	d.Worker().Exclude(func() {
		if h := d.now.header; h >= 0 {
			d.nic.Link.Send(0, [][]byte{make([]byte, h), frame})
		}
	})
}

// Filter implements net.Card.
func (c card) Filter() (f *net.Filter) {
	d := c.d
	mac := d.address()
	d.Worker().Exclude(func() {
		d.tells = true
		f = d.now.filter.describe(d.nic.Name, mac, d.Has(featureCtrlVLAN))
	})
	return f
}
