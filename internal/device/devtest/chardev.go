package devtest

import (
	"errors"
	"sync"

	"govmd/internal/chardev"
)

// Chardev is a scripted character device. What the front end writes is kept;
// what the test gives to Input is handed to the front end as far as it takes
// it, after every access that the test makes.
type Chardev struct {
	m *Machine

	mu        sync.Mutex
	fe        chardev.Frontend
	out       []byte
	room      int // bytes that Write still takes; negative for no bound
	short     bool
	writable  func()
	closed    bool
	breaks    int
	open      bool
	params    chardev.LineParams
	modem     *chardev.ModemLines // nil: there are none
	in        []byte
	pendingEv []chardev.Event
}

const maxOutput = 1 << 20

// AddChardev makes a character device known to devices by its ID. It is
// connected and takes all output.
func (m *Machine) AddChardev(id string) *Chardev {
	c := &Chardev{m: m, room: -1}
	m.chardevs[id] = c
	return c
}

// Chardev returns the character device that AddChardev made.
func (m *Machine) Chardev(id string) *Chardev { return m.chardevs[id] }

func (c *Chardev) attach(fe chardev.Frontend) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.fe != nil {
		return errors.New("the character device is in use")
	}
	c.fe = fe
	return nil
}

// Input queues bytes for the front end.
func (c *Chardev) Input(p ...byte) {
	c.mu.Lock()
	c.in = append(c.in, p...)
	c.mu.Unlock()
	c.m.pump()
}

// Pending returns how many input bytes the front end has not taken yet.
func (c *Chardev) Pending() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.in)
}

// Event tells the front end of ev.
func (c *Chardev) Event(ev chardev.Event) {
	c.mu.Lock()
	switch ev {
	case chardev.Opened:
		c.closed = false
	case chardev.Closed:
		c.closed = true
	}
	c.pendingEv = append(c.pendingEv, ev)
	c.mu.Unlock()
	c.m.pump()
}

// SetModemLines makes the device a line with modem lines, in that state, and tells
// the front end.
func (c *Chardev) SetModemLines(lines chardev.ModemLines) {
	c.mu.Lock()
	c.modem = &lines
	c.mu.Unlock()
	c.Event(chardev.ModemChanged)
}

// Modem implements chardev.ModemPort.
func (c *Chardev) Modem() (lines chardev.ModemLines, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.modem == nil {
		return 0, false
	}
	return *c.modem, true
}

// SetModem implements chardev.ModemPort.
func (c *Chardev) SetModem(lines chardev.ModemLines) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.modem != nil {
		*c.modem = *c.modem&^(chardev.DTR|chardev.RTS) | lines
	}
}

// SetRoom bounds how many more bytes Write takes; negative is no bound. When
// there is room again the front end is told.
func (c *Chardev) SetRoom(n int) {
	c.mu.Lock()
	c.room = n
	c.mu.Unlock()
	c.m.pump()
}

// Output returns and forgets what the front end has written.
func (c *Chardev) Output() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := string(c.out)
	c.out = nil
	return s
}

// Breaks returns how many breaks the front end has sent.
func (c *Chardev) Breaks() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.breaks
}

// Open reports whether the guest has opened its side.
func (c *Chardev) Open() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.open
}

// Params returns the line parameters that were set last.
func (c *Chardev) Params() chardev.LineParams {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.params
}

// Attached reports whether a front end holds the device.
func (c *Chardev) Attached() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.fe != nil
}

// pump plays the back end's goroutine for all character devices, and waits for
// back ends that have goroutines of their own.
func (m *Machine) pump() {
	for _, c := range m.chardevs {
		c.pump()
	}
	for _, fn := range m.settlers {
		fn()
	}
}

// AddSettler has fn called after each access to the machine: it waits until a back
// end has done what the device wanted, so that tests see the same each time.
func (m *Machine) AddSettler(fn func()) { m.settlers = append(m.settlers, fn) }

func (c *Chardev) pump() {
	for {
		c.mu.Lock()
		fe := c.fe
		if fe == nil {
			c.mu.Unlock()
			return
		}
		if len(c.pendingEv) > 0 {
			ev := c.pendingEv[0]
			c.pendingEv = c.pendingEv[1:]
			c.mu.Unlock()
			fe.ChardevEvent(ev)
			continue
		}
		if c.short && c.room != 0 && c.writable != nil {
			c.short = false
			fn := c.writable
			c.mu.Unlock()
			fn()
			continue
		}
		if len(c.in) == 0 {
			c.mu.Unlock()
			return
		}
		p := c.in
		c.mu.Unlock()
		n := min(fe.CanReceive(), len(p))
		if n <= 0 {
			return
		}
		fe.Receive(append([]byte(nil), p[:n]...))
		c.mu.Lock()
		c.in = c.in[n:]
		c.mu.Unlock()
	}
}

// Write implements chardev.Port.
func (c *Chardev) Write(p []byte) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := len(p)
	if c.room >= 0 {
		n = min(n, c.room)
		c.room -= n
	}
	c.short = n < len(p)
	if len(c.out) < maxOutput {
		c.out = append(c.out, p[:n]...)
	}
	return n
}

// OnWritable implements chardev.Port.
func (c *Chardev) OnWritable(fn func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.writable = fn
}

// AcceptInput implements chardev.Port: input is offered again after the access.
func (c *Chardev) AcceptInput() {}

// Connected implements chardev.Port.
func (c *Chardev) Connected() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return !c.closed
}

// SendBreak implements chardev.Port.
func (c *Chardev) SendBreak() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.breaks++
}

// SetOpen implements chardev.Port.
func (c *Chardev) SetOpen(open bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.open = open
}

// SetParams implements chardev.Port.
func (c *Chardev) SetParams(p chardev.LineParams) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.params = p
}

// Detach implements chardev.Port.
func (c *Chardev) Detach() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.fe, c.writable = nil, nil
}
