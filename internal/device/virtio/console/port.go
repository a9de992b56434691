package console

import (
	"sync"

	"govmd/internal/chardev"
	"govmd/internal/device"
	"govmd/internal/device/virtio"
	"govmd/internal/device/virtio/virtq"
)

// Port is one byte stream: a virtconsole or a virtserialport.
type Port struct {
	device.Base

	// properties
	console bool
	nr      uint32
	name    string
	chardev string

	serial  *Device
	chr     chardev.Port // nil: what the guest writes is dropped
	in, out *virtio.Queue

	rx, tx *virtq.Element // the worker's: to be filled, and partly written

	mu         sync.Mutex // guards what follows; no calls to the character device are made with it held
	guestOpen  bool
	hostOpen   bool
	announced  bool // the driver has the port
	told       bool // the driver believes that the host's end is open
	cols, rows uint16
	room       int    // bytes that rx takes
	stash      []byte // input on its way to rx; at most maxInput
	txDone     uint64 // bytes of tx that have been written, or of the first element after loading
}

// maxInput is how many bytes of input are taken at a time.
const maxInput = 4096

// autoNumber is the number of a port that takes any free one.
const autoNumber = 0xffffffff

// Realize implements device.Device. The bus has given the port its number.
func (p *Port) Realize() error {
	p.serial, p.chr = serialOf(p), nil
	p.in, p.out = p.serial.queues(int(p.nr))
	p.guestOpen, p.hostOpen, p.announced, p.told = false, p.console, false, false
	p.stash, p.room, p.txDone = nil, 0, 0
	if p.chardev == "" {
		return nil
	}
	chr, err := p.Env().Chardev(p.chardev, p)
	if err != nil {
		return err
	}
	p.chr = chr
	p.mu.Lock()
	p.hostOpen = p.console || chr.Connected()
	p.mu.Unlock()
	chr.SetOpen(p.console) // a console is open to the host whether or not the guest listens
	chr.OnWritable(p.out.Kick)
	return nil
}

// Unrealize implements device.Device.
func (p *Port) Unrealize() {
	d := p.serial
	d.Worker().Exclude(func() {
		d.mu.Lock()
		d.ports[p.nr] = nil
		d.mu.Unlock()
		p.drop()
	})
	p.out.Kick() // output that was held up is dropped: drivers wait for their buffers
	if p.chr != nil {
		p.chr.Detach()
	}
	d.tell(p.nr, ctlPortRemove)
}

// drop gives back the elements that the port holds.
func (p *Port) drop() {
	if p.rx != nil {
		p.in.Unpop(p.rx)
		p.rx = nil
	}
	if p.tx != nil {
		p.out.Unpop(p.tx)
		p.tx = nil
	}
	p.mu.Lock()
	p.room, p.stash, p.txDone = 0, nil, 0
	p.mu.Unlock()
}

// reset follows a reset of the device: the elements are orphans.
func (p *Port) reset() {
	p.drop()
	p.mu.Lock()
	p.announced, p.told = false, false
	p.mu.Unlock()
	p.setGuestOpen(false)
}

// announce tells the driver what there is to know about the port.
func (p *Port) announce() {
	events := []uint16{}
	if p.console {
		events = append(events, ctlConsole)
	}
	if p.name != "" {
		events = append(events, ctlPortName)
	}
	if cols, _ := p.size(); cols != 0 {
		events = append(events, ctlResize)
	}
	p.mu.Lock()
	p.announced, p.told = true, false
	p.mu.Unlock()
	p.serial.tell(p.nr, events...)
}

func (p *Port) size() (cols, rows uint16) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.cols, p.rows
}

// takeOpen returns what the driver is to be told of the host's end, if it is to
// be told, and notes that it was. untakeOpen undoes that.
func (p *Port) takeOpen() (open, changed bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	changed = p.announced && p.told != p.hostOpen
	if changed {
		p.told = p.hostOpen
	}
	return p.told, changed
}

func (p *Port) untakeOpen() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.told = !p.told
}

// SetSize tells the guest the size of the console at the other end.
func (p *Port) SetSize(cols, rows uint16) {
	p.mu.Lock()
	p.cols, p.rows = cols, rows
	p.mu.Unlock()
	p.serial.setSize(p.nr, cols, rows)
	p.serial.tell(p.nr, ctlResize)
}

func (p *Port) hostIsOpen() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.hostOpen
}

// setGuestOpen notes that the guest has opened or closed its end.
func (p *Port) setGuestOpen(open bool) {
	p.mu.Lock()
	changed := p.guestOpen != open
	p.guestOpen = open
	p.mu.Unlock()
	if !changed {
		return
	}
	if p.chr != nil && !p.console {
		p.chr.SetOpen(open)
	}
	if !p.console && p.ID() != "" {
		p.Env().Events.Publish(PortChange{ID: p.ID(), Open: open})
	}
	p.in.Kick() // to take a buffer for input, or to give it back
}

// PortChange is the event VSERPORT_CHANGE: the guest has opened or closed a port.
type PortChange struct {
	ID   string `json:"id" qmp:"id"`
	Open bool   `json:"open" qmp:"open"`
}

// EventName implements event.Event.
func (PortChange) EventName() string { return "VSERPORT_CHANGE" }

// CanReceive implements chardev.Frontend.
func (p *Port) CanReceive() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.stash) > 0 {
		return 0
	}
	return min(p.room, maxInput)
}

// Receive implements chardev.Frontend. The worker puts the bytes into the guest's buffer.
func (p *Port) Receive(b []byte) {
	p.mu.Lock()
	p.stash = append(p.stash, b[:min(len(b), maxInput-len(p.stash))]...)
	p.mu.Unlock()
	p.in.Kick()
}

// ChardevEvent implements chardev.Frontend. A console is always open: its guest
// writes whether anybody listens or not.
func (p *Port) ChardevEvent(ev chardev.Event) {
	if p.console || ev != chardev.Opened && ev != chardev.Closed {
		return
	}
	p.mu.Lock()
	changed := p.hostOpen != (ev == chardev.Opened)
	p.hostOpen = ev == chardev.Opened
	p.mu.Unlock()
	if changed {
		p.serial.tell(p.nr)
		p.out.Kick()
	}
}
