package serial

import (
	"govmd/internal/chardev"
	"govmd/internal/runstate"
)

// timeoutChars is after how many character times without a transfer the
// receiver FIFO asks to be emptied.
const timeoutChars = 4

// readData is a read of RBR.
func (u *UART) readData() uint8 {
	r := &u.regs
	if r.rxLen == 0 {
		return r.rx[0].data // the last one again
	}
	wasFull := r.rxLen == r.rxSize()
	v := r.rx[0].data
	r.rxLen--
	if r.rxLen > 0 {
		copy(r.rx[:], r.rx[1:r.rxLen+1])
	} else {
		r.rx[0].err = 0
	}
	r.timeoutPending = false
	u.armTimeout()
	u.update()
	// Input is taken again in batches: when there was no room, or none is left to read.
	if wasFull || r.rxLen == 0 {
		u.port.AcceptInput()
	}
	return v
}

// push puts a character into the receiver. The caller arms the time-out, after
// the last one of several.
func (u *UART) push(c rxByte) {
	r := &u.regs
	if r.rxLen == r.rxSize() {
		r.lsr |= lsrOE
		if !r.fifo() {
			r.rx[0] = c // the register is overwritten; the FIFO is not
		}
	} else {
		r.rx[r.rxLen] = c
		r.rxLen++
	}
	r.timeoutPending = false
}

func (r *registers) rxSize() int {
	if r.fifo() {
		return fifoSize
	}
	return 1
}

// lineStatus returns LSR. Errors that came with a character show when it is
// the next to be read.
func (r *registers) lineStatus() uint8 {
	v := r.lsr
	if r.rxLen > 0 {
		v |= lsrDR | r.rx[0].err
	}
	if r.fifo() {
		for i := range r.rxLen {
			if r.rx[i].err != 0 {
				return v | lsrFIFOErr
			}
		}
	}
	return v
}

func (u *UART) clearRX() {
	r := &u.regs
	r.rxLen = 0
	r.rx[0] = rxByte{}
	r.timeoutPending = false
	u.timeout.Stop()
	u.port.AcceptInput()
}

func (u *UART) armTimeout() {
	r := &u.regs
	if !r.fifo() || r.rxLen == 0 {
		u.timeout.Stop()
		return
	}
	u.timeout.Set(u.cfg.Device.Env().Clock.Virtual.Now() + timeoutChars*u.charTime())
}

func (u *UART) onTimeout() {
	u.mu.Lock()
	defer u.mu.Unlock()
	if _, armed := u.timeout.Deadline(); armed || u.regs.rxLen == 0 || !u.regs.fifo() {
		return // re-armed or emptied meanwhile
	}
	u.regs.timeoutPending = true
	u.update()
}

// CanReceive implements chardev.Frontend.
func (u *UART) CanReceive() int {
	// While the machine is stopped its state does not change.
	if s := u.cfg.Device.Env().Run.State(); s != runstate.Running && !(s == runstate.Suspended && u.cfg.Wakeup) {
		return 0
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.regs.mcr&mcrLoop != 0 {
		return 0 // not connected
	}
	return u.regs.rxSize() - u.regs.rxLen
}

// Receive implements chardev.Frontend.
func (u *UART) Receive(p []byte) {
	if u.cfg.Wakeup {
		u.cfg.Device.Env().Run.RequestWakeup(runstate.WakeOther)
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	for _, b := range p {
		u.push(rxByte{data: b})
	}
	u.armTimeout()
	u.update()
}

// ChardevEvent implements chardev.Frontend.
func (u *UART) ChardevEvent(ev chardev.Event) {
	if ev == chardev.ModemChanged || ev == chardev.Opened {
		u.senseModem()
	}
	if ev != chardev.Break {
		return
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.regs.mcr&mcrLoop != 0 {
		return
	}
	u.push(rxByte{err: lsrBI})
	u.armTimeout()
	u.update()
}
