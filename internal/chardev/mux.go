package chardev

import (
	"context"
	"fmt"
	"sync"
)

// defaultEscape is the key that introduces a command to a multiplexer: Ctrl-A.
const defaultEscape = 0x01

// maxMux is how many front ends may share a device.
const maxMux = 4

// MuxHooks are what the escape sequences x and b do that are not the
// multiplexer's own.
type MuxHooks struct {
	Quit func() // Ctrl-A x
}

// MuxConfig is the back end "mux": front ends share the device Chardev.
type MuxConfig struct {
	Chardev string
}

// mux lets several front ends share one device: all write, one at a time reads.
// It is the back end of the device that they attach to, and the front end of the
// device that they share. Ctrl-A c goes to the next, Ctrl-A h shows the keys,
// Ctrl-A x ends the program, Ctrl-A b sends a break, Ctrl-A t shows the time of
// each line, Ctrl-A Ctrl-A sends that key itself.
type mux struct {
	id     string
	base   *Chardev // until start
	port   Port     // on what is shared
	escape byte

	calls sync.Mutex // held while a front end is called; taken after the shared device's

	mu      sync.Mutex // guards what follows; front ends are called without it
	members []*muxPort
	focus   int
	escaped bool
	hooks   MuxHooks
	closing bool
	stamps  stamper
	// quitting is set when the end of the program was asked for.
	quitting bool
	changed  *sync.Cond    // input, who takes it, or closing has changed
	fed      chan struct{} // closed when feed has returned
}

// muxInput is how many bytes of input wait for a front end that takes none, as a
// guest that is busy does while somebody pastes a text. What is more is lost, as
// on a real terminal's line: input is read on whatever its front end does, so
// that the keys of the multiplexer always work.
const muxInput = 16 << 10

// muxPort is one front end's hold on a multiplexer.
type muxPort struct {
	m       *mux
	fe      Frontend
	onRoom  func()
	gone    bool
	shut    bool   // its guest's side is not open
	input   []byte // that waits for the front end
	turn    int    // counts AcceptInput
	full    bool   // the front end took nothing, and has not called AcceptInput since
	patient bool   // its input is not lost but left to wait at the other side
}

func newMux(id string, base *Chardev, escape byte) *mux {
	m := &mux{id: id, base: base, escape: escape, fed: make(chan struct{})}
	m.changed = sync.NewCond(&m.mu)
	return m
}

// start implements backend.
func (m *mux) start(_ context.Context, c *Chardev) error {
	p, err := m.base.Attach(m)
	if err != nil {
		return err
	}
	c.mux, m.port = m, p
	p.SetOpen(false)
	p.OnWritable(m.room)
	go m.feed()
	return nil
}

// stop implements backend.
func (m *mux) stop() {
	m.port.Detach()
	m.mu.Lock()
	m.closing = true
	m.changed.Broadcast()
	m.mu.Unlock()
	<-m.fed
}

// describe implements backend.
func (m *mux) describe() string { return "mux" }

// sendBreak implements what Chardev.sendBreak looks for.
func (m *mux) sendBreak() { m.port.SendBreak() }

// call runs fn, which calls a front end.
func (m *mux) call(fn func()) {
	m.calls.Lock()
	defer m.calls.Unlock()
	fn()
}

// feed hands input to the front ends as they take it.
func (m *mux) feed() {
	defer close(m.fed)
	var buf [muxStep]byte
	for {
		p, turn, n := m.waitInput(buf[:])
		if p == nil {
			return
		}
		took := 0
		m.call(func() {
			if m.isGone(p) {
				return
			}
			if took = min(p.fe.CanReceive(), n); took > 0 {
				p.fe.Receive(buf[:took])
			}
		})
		m.mu.Lock()
		if !p.gone { // else its input has gone too
			p.input = p.input[:copy(p.input, p.input[max(took, 0):])]
		}
		p.full = took <= 0 && p.turn == turn
		more := p.patient && took > 0
		m.mu.Unlock()
		if more {
			m.port.AcceptInput()
		}
	}
}

func (m *mux) isGone(p *muxPort) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return p.gone
}

// waitInput waits for input that a front end may take, copies it to buf, and
// returns nil when the device is closing.
func (m *mux) waitInput(buf []byte) (p *muxPort, turn, n int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for !m.closing {
		for _, p := range m.members {
			if len(p.input) > 0 && !p.full && !p.gone {
				return p, p.turn, copy(buf, p.input)
			}
		}
		m.changed.Wait()
	}
	return nil, 0, 0
}

// SetMuxHooks sets what the escape sequences do; it does nothing where the device
// is no multiplexer. What was typed before is not forgotten.
func (c *Chardev) SetMuxHooks(h MuxHooks) {
	if c.mux == nil {
		return
	}
	c.mux.mu.Lock()
	c.mux.hooks = h
	late := c.mux.quitting
	c.mux.mu.Unlock()
	if late && h.Quit != nil {
		h.Quit()
	}
}

func (m *mux) attach(fe Frontend) (Port, error) {
	if whole, ok := fe.(ConnFrontend); ok {
		return m.attachWhole(whole)
	}
	p := &muxPort{m: m, fe: fe}
	if err := m.join(p); err != nil {
		return nil, err
	}
	return p, nil
}

// join makes p one of the front ends.
func (m *mux) join(p *muxPort) error {
	if !m.place(p) {
		return fmt.Errorf("Device '%s' is in use: a multiplexer takes %d front ends", m.id, maxMux)
	}
	m.port.SetOpen(true)
	m.call(func() {
		if m.port.Connected() {
			p.fe.ChardevEvent(Opened)
		}
		if m.focused() == p.fe {
			p.fe.ChardevEvent(MuxIn)
		}
	})
	return nil
}

// place gives p the place of a front end that has gone, or one more if there is room.
func (m *mux) place(p *muxPort) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closing {
		return false
	}
	for i, x := range m.members {
		if x.gone {
			m.members[i] = p
			return true
		}
	}
	if len(m.members) == maxMux {
		return false
	}
	m.members = append(m.members, p)
	return true
}

func (m *mux) focused() Frontend {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.focus < len(m.members) && !m.members[m.focus].gone {
		return m.members[m.focus].fe
	}
	return nil
}

// muxStep is how many bytes of input are taken at once.
const muxStep = 256

// CanReceive implements Frontend.
func (m *mux) CanReceive() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.focus < len(m.members) {
		if p := m.members[m.focus]; p.patient && !p.gone && len(p.input) > muxInput-muxStep {
			return 0
		}
	}
	return muxStep
}

// Receive implements Frontend.
func (m *mux) Receive(p []byte) {
	for _, b := range p {
		m.mu.Lock()
		escaped := m.escaped
		m.escaped = !escaped && b == m.escape
		m.mu.Unlock()
		switch {
		case escaped:
			m.command(b)
		case b != m.escape:
			m.input(b)
		}
	}
}

// input keeps a byte for the front end that has the focus.
func (m *mux) input(b byte) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.focus >= len(m.members) {
		return
	}
	if p := m.members[m.focus]; !p.gone && len(p.input) < muxInput {
		p.input = append(p.input, b)
		m.changed.Broadcast()
	}
}

func (m *mux) command(b byte) {
	switch b {
	case m.escape:
		m.input(b)
	case 'c':
		m.next()
	case 'x':
		m.mu.Lock()
		quit := m.hooks.Quit
		m.quitting = true
		m.mu.Unlock()
		m.say("govmd: terminated\r\n")
		if quit != nil {
			quit()
		}
	case 'b':
		m.toFocus(Break)
	case 't':
		m.mu.Lock()
		m.stamps.toggle()
		m.mu.Unlock()
	case 'h', '?':
		k := keyName(m.escape)
		m.say("\r\n" + k + " h    print this help\r\n" +
			k + " x    end the program\r\n" +
			k + " b    send a break\r\n" +
			k + " t    show the time of each line, or no more\r\n" +
			k + " c    switch between console and monitor\r\n" +
			k + " " + k + "  send " + k + "\r\n")
	}
}

// keyName is how a key is written: "C-a".
func keyName(b byte) string {
	if b > 0 && b < 27 {
		return "C-" + string(rune('a'-1+b))
	}
	return fmt.Sprintf("0x%02x", b)
}

func (m *mux) say(text string) { m.port.Write([]byte(text)) }

func (m *mux) toFocus(ev Event) {
	if fe := m.focused(); fe != nil {
		m.call(func() { fe.ChardevEvent(ev) })
	}
}

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
	if from == to {
		return
	}
	m.call(func() {
		if from != nil {
			from.ChardevEvent(MuxOut)
		}
		if to != nil {
			to.ChardevEvent(MuxIn)
		}
	})
}

// ChardevEvent implements Frontend.
func (m *mux) ChardevEvent(ev Event) {
	if ev == Break {
		m.toFocus(ev)
		return
	}
	for _, p := range m.present() {
		m.call(func() {
			if !m.isGone(p) {
				p.fe.ChardevEvent(ev)
			}
		})
	}
}

// open reports whether any front end is open.
func (m *mux) open() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, p := range m.members {
		if !p.gone && !p.shut {
			return true
		}
	}
	return false
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
			m.call(fn)
		}
	}
}

// Write implements Port.
func (p *muxPort) Write(b []byte) int { return p.m.write(b) }

// OnWritable implements Port.
func (p *muxPort) OnWritable(fn func()) {
	p.m.mu.Lock()
	p.onRoom = fn
	p.m.mu.Unlock()
}

// AcceptInput implements Port.
func (p *muxPort) AcceptInput() {
	p.m.mu.Lock()
	defer p.m.mu.Unlock()
	p.turn++
	p.full = false
	p.m.changed.Broadcast()
}

// Connected implements Port.
func (p *muxPort) Connected() bool { return p.m.port.Connected() }

// SendBreak implements Port.
func (p *muxPort) SendBreak() { p.m.port.SendBreak() }

// SetOpen implements Port: the shared device is open while anybody's side is.
func (p *muxPort) SetOpen(open bool) {
	p.m.mu.Lock()
	p.shut = !open
	p.m.mu.Unlock()
	p.m.port.SetOpen(p.m.open())
}

// SetParams implements Port.
func (p *muxPort) SetParams(l LineParams) { p.m.port.SetParams(l) }

// Detach implements Port.
func (p *muxPort) Detach() {
	p.m.mu.Lock()
	p.gone, p.input = true, nil
	p.m.mu.Unlock()
	p.m.port.SetOpen(p.m.open())
	p.m.port.AcceptInput()
	p.m.call(func() {}) // a call that is under way ends before this returns
}
