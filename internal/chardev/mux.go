package chardev

import (
	"fmt"
	"sync"
)

// muxEscape is the key that introduces a command to a multiplexer: Ctrl-A.
const muxEscape = 0x01

// maxMux is how many front ends may share a device.
const maxMux = 4

// MuxHooks are what the escape sequences x and b do that are not the
// multiplexer's own.
type MuxHooks struct {
	Quit func() // Ctrl-A x
}

// mux lets several front ends share one device: all write, one at a time reads.
// Ctrl-A c goes to the next, Ctrl-A h shows the keys, Ctrl-A x ends the program,
// Ctrl-A b sends a break, Ctrl-A Ctrl-A sends that key itself.
type mux struct {
	c    *Chardev
	port Port

	mu      sync.Mutex // guards what follows; front ends are called without it
	members []*muxPort
	focus   int
	escaped bool
	hooks   MuxHooks
}

// muxPort is one front end's hold on a multiplexer.
type muxPort struct {
	m      *mux
	fe     Frontend
	onRoom func()
	gone   bool
}

func newMux(c *Chardev) (*mux, error) {
	m := &mux{c: c}
	p, err := c.attachDirect(m)
	if err != nil {
		return nil, err
	}
	m.port = p
	p.OnWritable(m.room)
	return m, nil
}

// SetMuxHooks sets what the escape sequences do; the device must be a multiplexer.
func (c *Chardev) SetMuxHooks(h MuxHooks) {
	if c.mux == nil {
		return
	}
	c.mux.mu.Lock()
	c.mux.hooks = h
	c.mux.mu.Unlock()
}

func (m *mux) attach(fe Frontend) (Port, error) {
	m.mu.Lock()
	if len(m.members) == maxMux {
		m.mu.Unlock()
		return nil, fmt.Errorf("Device '%s' is in use: a multiplexer takes %d front ends", m.c.id, maxMux)
	}
	p := &muxPort{m: m, fe: fe}
	m.members = append(m.members, p)
	focused := len(m.members)-1 == m.focus
	m.mu.Unlock()
	if m.port != nil && m.port.Connected() {
		fe.ChardevEvent(Opened)
	}
	if focused {
		fe.ChardevEvent(MuxIn)
		m.port.AcceptInput()
	}
	return p, nil
}

func (m *mux) focused() Frontend {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.focus < len(m.members) && !m.members[m.focus].gone {
		return m.members[m.focus].fe
	}
	return nil
}

// CanReceive implements Frontend. One byte at a time: the next may be a command
// that moves the focus. A front end that takes nothing keeps its input waiting,
// but never the escape key: a stuck guest's console can always be left.
func (m *mux) CanReceive() int { return 1 }

// Receive implements Frontend.
func (m *mux) Receive(p []byte) {
	for _, b := range p {
		m.mu.Lock()
		escaped := m.escaped
		m.escaped = !escaped && b == muxEscape
		m.mu.Unlock()
		switch {
		case escaped:
			m.command(b)
		case b != muxEscape:
			m.input(b)
		}
	}
}

func (m *mux) input(b byte) {
	fe := m.focused()
	if fe == nil || fe.CanReceive() == 0 {
		return // as a real terminal's line would lose it
	}
	one := [1]byte{b}
	fe.Receive(one[:])
}

func (m *mux) command(b byte) {
	switch b {
	case muxEscape:
		m.input(b)
	case 'c':
		m.next()
	case 'x':
		m.mu.Lock()
		quit := m.hooks.Quit
		m.mu.Unlock()
		m.say("govmd: terminated\r\n")
		if quit != nil {
			quit()
		}
	case 'b':
		if fe := m.focused(); fe != nil {
			fe.ChardevEvent(Break)
		}
	case 'h', '?':
		m.say("\r\nC-a h    print this help\r\n" +
			"C-a x    end the program\r\n" +
			"C-a b    send a break\r\n" +
			"C-a c    switch between console and monitor\r\n" +
			"C-a C-a  send C-a\r\n")
	}
}

func (m *mux) say(text string) { m.port.Write([]byte(text)) }

// next moves the focus to the next front end.
func (m *mux) next() {
	from := m.focused()
	m.mu.Lock()
	for range m.members {
		m.focus = (m.focus + 1) % len(m.members)
		if !m.members[m.focus].gone {
			break
		}
	}
	m.mu.Unlock()
	to := m.focused()
	if from != nil {
		from.ChardevEvent(MuxOut)
	}
	if to != nil {
		to.ChardevEvent(MuxIn)
	}
}

// ChardevEvent implements Frontend.
func (m *mux) ChardevEvent(ev Event) {
	if ev == Break {
		if fe := m.focused(); fe != nil {
			fe.ChardevEvent(ev)
		}
		return
	}
	for _, p := range m.present() {
		p.fe.ChardevEvent(ev)
	}
}

func (m *mux) present() []*muxPort {
	m.mu.Lock()
	defer m.mu.Unlock()
	var list []*muxPort
	for _, p := range m.members {
		if !p.gone {
			list = append(list, p)
		}
	}
	return list
}

func (m *mux) room() {
	for _, p := range m.present() {
		m.mu.Lock()
		fn := p.onRoom
		m.mu.Unlock()
		if fn != nil {
			fn()
		}
	}
}

func (p *muxPort) Write(b []byte) int { return p.m.port.Write(b) }

func (p *muxPort) OnWritable(fn func()) {
	p.m.mu.Lock()
	p.onRoom = fn
	p.m.mu.Unlock()
}

func (p *muxPort) AcceptInput()           { p.m.port.AcceptInput() }
func (p *muxPort) Connected() bool        { return p.m.port.Connected() }
func (p *muxPort) SendBreak()             { p.m.port.SendBreak() }
func (p *muxPort) SetOpen(bool)           {}
func (p *muxPort) SetParams(l LineParams) { p.m.port.SetParams(l) }

func (p *muxPort) Detach() {
	p.m.mu.Lock()
	p.gone = true
	p.m.mu.Unlock()
	// A call that is under way ends before this returns.
	p.m.c.waitIdle()
}
