package serial

import "govmd/internal/chardev"

// SetModemLines says which of CTS, DSR, RI and DCD the other side drives. At
// first all but RI are on.
func (u *UART) SetModemLines(lines uint8) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.regs.lines = lines & msrLines
	u.modemChanged()
}

// driveModem sets the outputs of a real line.
func (u *UART) driveModem() {
	p, ok := u.port.(chardev.ModemPort)
	if !ok {
		return
	}
	var lines chardev.ModemLines
	if r := &u.regs; r.mcr&mcrLoop == 0 {
		if r.mcr&mcrDTR != 0 {
			lines |= chardev.DTR
		}
		if r.mcr&mcrRTS != 0 {
			lines |= chardev.RTS
		}
	}
	p.SetModem(lines)
}

// senseModem takes the inputs of a real line.
func (u *UART) senseModem() {
	u.mu.Lock()
	port := u.port
	u.mu.Unlock()
	p, ok := port.(chardev.ModemPort)
	if !ok {
		return
	}
	state, ok := p.Modem()
	if !ok {
		return
	}
	var lines uint8
	for _, w := range [...]struct {
		line chardev.ModemLines
		in   uint8
	}{{chardev.CTS, CTS}, {chardev.DSR, DSR}, {chardev.RI, RI}, {chardev.DCD, DCD}} {
		if state&w.line != 0 {
			lines |= w.in
		}
	}
	u.SetModemLines(lines)
}

// modemChanged brings MSR up to date: in loopback the modem control outputs are
// its inputs.
func (u *UART) modemChanged() {
	r := &u.regs
	now := r.lines
	if r.mcr&mcrLoop != 0 {
		now = 0
		for _, w := range [...]struct{ out, in uint8 }{
			{mcrRTS, CTS}, {mcrDTR, DSR}, {mcrOut1, RI}, {mcrOut2, DCD},
		} {
			if r.mcr&w.out != 0 {
				now |= w.in
			}
		}
	}
	was := r.msr & msrLines
	delta := (was ^ now) >> 4
	if now&RI != 0 {
		delta &^= msrTERI // only the end of a ring counts
	}
	r.msr = now | r.msr&msrDelta | delta
	u.update()
}

func (u *UART) sendBreak() {
	if u.regs.mcr&mcrLoop != 0 {
		u.push(rxByte{err: lsrBI})
		u.armTimeout()
		u.update()
		return
	}
	u.port.SendBreak()
}

// params returns the line's parameters and the bits that a character takes.
func (u *UART) params() (p chardev.LineParams, bits int) {
	r := &u.regs
	divisor := max(int(r.divisor), 1)
	p = chardev.LineParams{
		Speed:    max(int(u.cfg.BaudBase)/divisor, 1),
		Parity:   'N',
		DataBits: int(r.lcr&3) + 5,
		StopBits: 1,
	}
	bits = 1 + p.DataBits
	if r.lcr&lcrParity != 0 {
		p.Parity = 'O'
		if r.lcr&lcrEven != 0 {
			p.Parity = 'E'
		}
		bits++
	}
	if r.lcr&lcrStop2 != 0 {
		p.StopBits = 2
	}
	return p, bits + p.StopBits
}

func (u *UART) setParams() {
	p, _ := u.params()
	u.port.SetParams(p)
}

// charTime returns how long a character takes on the line, in nanoseconds.
func (u *UART) charTime() int64 {
	p, bits := u.params()
	return int64(bits) * 1e9 / int64(p.Speed)
}

// nullPort is a line that goes nowhere.
type nullPort struct{}

func (nullPort) Write(p []byte) int           { return len(p) }
func (nullPort) OnWritable(func())            {}
func (nullPort) AcceptInput()                 {}
func (nullPort) Connected() bool              { return false }
func (nullPort) SendBreak()                   {}
func (nullPort) SetOpen(bool)                 {}
func (nullPort) SetParams(chardev.LineParams) {}
func (nullPort) Detach()                      {}
