package console

import (
	"encoding/binary"

	"govmd/internal/device/virtio"
)

// Events of control messages (5.3.6.2).
const (
	ctlDeviceReady = 0
	ctlPortAdd     = 1
	ctlPortRemove  = 2
	ctlPortReady   = 3
	ctlConsole     = 4
	ctlResize      = 5
	ctlPortOpen    = 6
	ctlPortName    = 7

	ctlHeader = 8
	// maxName bounds a port's name, so that a message fits into any driver's buffer.
	maxName = 256
)

// pending are the control messages about a port that wait for the driver's
// buffers: a bit for each event, so that they do not pile up. What a message
// says is what is so when it is sent. That the host's end is open or closed is
// not among them: it is sent whenever the guest believes otherwise.
type pending uint16

// order is that in which the messages of a port are sent.
var order = [...]uint16{ctlPortRemove, ctlPortAdd, ctlConsole, ctlPortName, ctlResize, ctlPortOpen}

// tell has control messages about a port sent.
func (d *Device) tell(nr uint32, events ...uint16) {
	if !d.multiport() {
		return
	}
	d.mu.Lock()
	for _, e := range events {
		d.pending[nr] |= 1 << e
	}
	d.mu.Unlock()
	d.Queue(controlIn).Kick()
}

// sendControl is the handler of the queue for messages to the driver.
func (d *Device) sendControl(q *virtio.Queue) {
	sent := false
	for n := range d.pending {
		for _, event := range order {
			msg, ok := d.message(uint32(n), event)
			if !ok {
				continue
			}
			e := q.Pop()
			if e == nil {
				d.retract(uint32(n), event)
				d.finish(q, sent)
				return
			}
			k, err := e.WriteAt(msg, 0)
			if err != nil {
				d.GuestErrorf("control message: %v", err)
			}
			q.Push(e, uint32(k))
			sent = true
		}
	}
	d.finish(q, sent)
}

func (d *Device) finish(q *virtio.Queue, pushed bool) {
	if pushed {
		q.Notify()
	}
}

// message takes a pending event and returns its message.
func (d *Device) message(nr uint32, event uint16) ([]byte, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	p := d.ports[nr]
	value := uint16(1)
	if event == ctlPortOpen {
		if p == nil {
			return nil, false
		}
		open, changed := p.takeOpen()
		if !changed {
			return nil, false
		}
		if !open {
			value = 0
		}
	} else {
		if d.pending[nr]>>event&1 == 0 {
			return nil, false
		}
		d.pending[nr] &^= 1 << event
		if p == nil && event != ctlPortRemove {
			return nil, false
		}
	}
	msg := binary.LittleEndian.AppendUint32(nil, nr)
	msg = binary.LittleEndian.AppendUint16(msg, event)
	msg = binary.LittleEndian.AppendUint16(msg, value)
	switch event {
	case ctlPortName:
		msg = append(append(msg, p.name...), 0)
	case ctlResize:
		cols, rows := p.size()
		msg = binary.LittleEndian.AppendUint16(msg, cols)
		msg = binary.LittleEndian.AppendUint16(msg, rows)
	}
	return msg, true
}

// retract undoes message: there was no buffer for it.
func (d *Device) retract(nr uint32, event uint16) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if event != ctlPortOpen {
		d.pending[nr] |= 1 << event
	} else if p := d.ports[nr]; p != nil {
		p.untakeOpen()
	}
}

// takeControl is the handler of the queue for messages from the driver.
func (d *Device) takeControl(q *virtio.Queue) {
	taken := false
	for e := q.Pop(); e != nil; e = q.Pop() {
		var m [ctlHeader]byte
		n, err := e.ReadAt(m[:], 0)
		q.Push(e, 0)
		taken = true
		if err != nil || n < len(m) {
			d.GuestErrorf("control message of %d bytes: %v", n, err)
			continue
		}
		d.control(binary.LittleEndian.Uint32(m[:]), binary.LittleEndian.Uint16(m[4:]), binary.LittleEndian.Uint16(m[6:]))
	}
	d.finish(q, taken)
}

func (d *Device) control(nr uint32, event, value uint16) {
	if event == ctlDeviceReady {
		if value == 0 {
			d.Warnf("the guest's driver failed to set up the device")
			return
		}
		for _, p := range d.all() {
			d.tell(p.nr, ctlPortAdd)
		}
		return
	}
	var p *Port
	if nr < maxPorts {
		p = d.port(int(nr))
	}
	if p == nil {
		d.GuestErrorf("control message %d for port %d, which is not there", event, nr)
		return
	}
	switch event {
	case ctlPortReady:
		if value == 0 {
			d.Warnf("the guest's driver failed to add port %d", nr)
			return
		}
		p.announce()
	case ctlPortOpen:
		p.setGuestOpen(value != 0)
	default:
		d.GuestErrorf("control message %d, which is not a driver's", event)
	}
}
