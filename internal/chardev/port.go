package chardev

import (
	"sync"
	"sync/atomic"
)

// port is the front end's side of a Chardev. It outlives a change of the device's
// back end: c is then another device of the same name.
type port struct {
	fe Frontend
	c  atomic.Pointer[Chardev]

	mu     sync.Mutex // guards what follows; taken after the device's
	open   bool       // the guest has its side open
	onRoom func()
	params *LineParams // last given to SetParams
	modem  *ModemLines // last given to SetModem
}

// Write implements Port.
func (p *port) Write(b []byte) int { return p.c.Load().write(b) }

// OnWritable implements Port.
func (p *port) OnWritable(fn func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.onRoom = fn
}

func (p *port) writable() func() {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.onRoom
}

// AcceptInput implements Port.
func (p *port) AcceptInput() {
	c := p.c.Load()
	c.mu.Lock()
	c.turn++
	c.cond.Broadcast()
	c.mu.Unlock()
}

// Connected implements Port.
func (p *port) Connected() bool {
	c := p.c.Load()
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.connected
}

// SendBreak implements Port.
func (p *port) SendBreak() { p.c.Load().sendBreak() }

func (c *Chardev) sendBreak() {
	if b, ok := c.backend.(interface{ sendBreak() }); ok {
		b.sendBreak()
	}
}

// SetOpen implements Port.
func (p *port) SetOpen(open bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.open = open
}

func (p *port) isOpen() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.open
}

// line is a back end that is a real serial line.
type line interface {
	setParams(LineParams)
	modem() (ModemLines, bool)
	setModem(ModemLines)
}

func (p *port) line() (line, bool) {
	l, ok := p.c.Load().backend.(line)
	return l, ok
}

// SetParams implements Port.
func (p *port) SetParams(params LineParams) {
	p.mu.Lock()
	p.params = &params
	p.mu.Unlock()
	if l, ok := p.line(); ok {
		l.setParams(params)
	}
}

// Modem implements ModemPort.
func (p *port) Modem() (lines ModemLines, ok bool) {
	if l, ok := p.line(); ok {
		return l.modem()
	}
	return 0, false
}

// SetModem implements ModemPort.
func (p *port) SetModem(lines ModemLines) {
	p.mu.Lock()
	p.modem = &lines
	p.mu.Unlock()
	if l, ok := p.line(); ok {
		l.setModem(lines)
	}
}

// again gives a new back end the settings of the line.
func (p *port) again() {
	l, ok := p.line()
	if !ok {
		return
	}
	p.mu.Lock()
	params, modem := p.params, p.modem
	p.mu.Unlock()
	if params != nil {
		l.setParams(*params)
	}
	if modem != nil {
		l.setModem(*modem)
	}
}

// Detach implements Port. When the device changes meanwhile, its new one is left.
func (p *port) Detach() {
	for {
		c := p.c.Load()
		c.release(p)
		if p.c.Load() == c {
			return
		}
	}
}
