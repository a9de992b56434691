package vnet

import (
	"encoding/binary"

	"govmd/internal/device/virtio"
	"govmd/internal/device/virtio/virtq"
	"govmd/internal/net"
)

const controlSize = 64

// Classes of commands (5.1.6.5), and the commands.
const (
	classRx       = 0
	classMAC      = 1
	classVLAN     = 2
	classAnnounce = 3
	classMQ       = 4
	classOffloads = 5
	rxPromiscuous = 0
	rxAllMulti    = 1
	rxAllUni      = 2
	rxNoMulti     = 3
	rxNoUni       = 4
	rxNoBroadcast = 5
	macTable      = 0
	macAddress    = 1
	vlanAdd       = 0
	vlanDelete    = 1
	announceAck   = 0
	mqPairs       = 0
	offloadsSet   = 0
	acked         = 0
	refused       = 1
	maxCommand    = 64 << 10 // bytes of a command
	addressLength = 6
	commandHeader = 2
)

// control is the control queue.
type control struct {
	d    *Device
	late *virtq.Element // a command that the lane carries out
	buf  []byte
}

func (c *control) reset() { c.late = nil }

// serve is the queue's handler.
func (c *control) serve(q *virtio.Queue) {
	pushed := false
	for c.late == nil {
		e := q.Pop()
		if e == nil {
			break
		}
		n := e.ReadableLen()
		if n < commandHeader || e.WritableLen() < 1 {
			c.d.Broken(errControl)
			return
		}
		n = min(n, maxCommand)
		if uint64(cap(c.buf)) < n {
			c.buf = make([]byte, n)
		}
		p := c.buf[:n]
		if _, err := e.ReadAt(p, 0); err != nil {
			c.d.Broken(err)
			return
		}
		if p[0] == classOffloads && p[1] == offloadsSet {
			if c.setOffloads(q, e, p[commandHeader:]) {
				continue
			}
		}
		answer := byte(refused)
		if c.run(p[0], p[1], p[commandHeader:]) {
			answer = acked
		}
		_, _ = e.WriteAt([]byte{answer}, 0)
		q.Push(e, 1)
		pushed = true
	}
	if pushed {
		q.Notify()
	}
}

// run carries a command out.
func (c *control) run(class, cmd byte, p []byte) bool {
	d := c.d
	f := &d.now.filter
	ok := false
	switch class {
	case classRx:
		ok = c.rxMode(f, cmd, p)
	case classMAC:
		ok = c.addresses(f, cmd, p)
	case classVLAN:
		if d.Has(featureCtrlVLAN) && len(p) == 2 && cmd <= vlanDelete {
			if id := binary.LittleEndian.Uint16(p); id < 4096 {
				f.setVLAN(id, cmd == vlanAdd)
				ok = true
			}
		}
	case classAnnounce:
		if cmd == announceAck && d.Has(featureAnnounce) {
			d.mu.Lock()
			d.status &^= statusAnnounce
			d.mu.Unlock()
			return true
		}
		return false
	case classMQ:
		if cmd == mqPairs && d.Has(featureMQ) && len(p) == 2 {
			if n := int(binary.LittleEndian.Uint16(p)); n >= 1 && n <= len(d.pairs) {
				d.now.pairs = n
				return true
			}
		}
		return false
	default:
		return false
	}
	if ok {
		c.tell()
	}
	return ok
}

// rxMode is a command of one switch.
func (c *control) rxMode(f *filter, cmd byte, p []byte) bool {
	if len(p) != 1 || !c.d.Has(featureCtrlRx) || cmd > rxAllMulti && !c.d.Has(featureCtrlRxExtra) {
		return false
	}
	on := p[0] != 0
	switch cmd {
	case rxPromiscuous:
		f.promiscuous = on
	case rxAllMulti:
		f.allMulti = on
	case rxAllUni:
		f.allUni = on
	case rxNoMulti:
		f.noMulti = on
	case rxNoUni:
		f.noUni = on
	case rxNoBroadcast:
		f.noBroadcast = on
	default:
		return false
	}
	return true
}

func (c *control) addresses(f *filter, cmd byte, p []byte) bool {
	switch {
	case cmd == macAddress && len(p) == addressLength && c.d.Has(featureCtrlMAC):
		c.d.mu.Lock()
		c.d.mac = net.MAC(p)
		c.d.mu.Unlock()
		return true
	case cmd == macTable && c.d.Has(featureCtrlRx):
		unicast, rest, ok := cutAddresses(p)
		if !ok {
			return false
		}
		multicast, rest, ok := cutAddresses(rest)
		if !ok || len(rest) > 0 {
			return false
		}
		f.unicast, f.unicastOverflow = keep(f.unicast, unicast)
		f.multicast, f.multicastOverflow = keep(f.multicast, multicast)
		return true
	}
	return false
}

// cutAddresses takes a list of addresses behind their number.
func cutAddresses(p []byte) (list, rest []byte, ok bool) {
	if len(p) < 4 {
		return nil, nil, false
	}
	n := uint64(binary.LittleEndian.Uint32(p))
	if p = p[4:]; n*addressLength > uint64(len(p)) {
		return nil, nil, false
	}
	return p[:n*addressLength], p[n*addressLength:], true
}

// keep puts addresses into dst, none when there are too many.
func keep(dst []net.MAC, list []byte) (_ []net.MAC, overflow bool) {
	dst = dst[:0]
	if len(list) > maxAddresses*addressLength {
		return dst, true
	}
	for ; len(list) > 0; list = list[addressLength:] {
		dst = append(dst, net.MAC(list[:addressLength]))
	}
	return dst, false
}

// tell announces that the filter has changed, once until somebody asks.
func (c *control) tell() {
	d := c.d
	if !d.tells {
		return
	}
	d.tells = false
	ev := net.FilterChangedEvent{Path: d.Path()}
	if id := d.UserID(); id != "" {
		ev.Name = &id
	}
	d.Env().Events.Publish(ev)
}

// setOffloads is the command of what the driver takes. The back end is told on the
// lane: it may have to wait for a frame that is on its way to us.
func (c *control) setOffloads(q *virtio.Queue, e *virtq.Element, p []byte) bool {
	d := c.d
	if len(p) != 8 || !d.Has(featureCtrlOffloads) {
		return false
	}
	bits := binary.LittleEndian.Uint64(p)
	if bits&^d.Features() != 0 || bits&^guestFeatures != 0 {
		return false
	}
	d.now.switched, d.now.offloads = true, guestOffloads(bits)
	c.late = e
	d.Env().Lane.Post(func() { c.finish(q, e) })
	return true
}

// guestFeatures are those that the command switches.
const guestFeatures = 1<<featureGuestChecksum | 1<<featureGuestTSO4 | 1<<featureGuestTSO6 | 1<<featureGuestECN | 1<<featureGuestUFO

// finish ends a command on the lane.
func (c *control) finish(q *virtio.Queue, e *virtq.Element) {
	if c.d.Realized() {
		c.d.setHeader()
	}
	c.d.Worker().Exclude(func() {
		if c.late == e { // else the device was reset meanwhile, and the element is released
			c.late = nil
			_, _ = e.WriteAt([]byte{acked}, 0)
		}
		q.Done(e, 1)
	})
	c.d.KickAll()
}
