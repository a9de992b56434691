package serial

import (
	"sync"

	"govmd/internal/chardev"
	"govmd/internal/clock"
	"govmd/internal/device"
	"govmd/internal/runstate"
)

// UART is a 16550A. It implements memory.Handler over NumRegs bytes, to be
// accessed one byte at a time, and chardev.Frontend. A bus-specific device
// embeds it, gives it its Config and calls Start when it is realized.
//
// Data flows as fast as the two sides take it; the line's speed matters only to
// the time-out of the receiver FIFO. Output never blocks: while the back end is
// full the transmitter holds its bytes and says that it is not empty.
type UART struct {
	cfg     Config
	port    chardev.Port
	timeout *clock.Timer

	mu   sync.Mutex // guards what follows; held while calling line and port
	regs registers
}

// Config is what a UART is connected to.
type Config struct {
	Device   *device.Base // whose back end and clock it uses
	Line     *device.Line // its interrupt
	Chardev  string       // ID of the character device, or "" for none
	BaudBase uint32       // bits a second at divisor 1
	Wakeup   bool         // input wakes the machine from S3
}

// registers is the volatile state: all that a reset clears.
type registers struct {
	divisor uint16
	ier     uint8
	fcr     uint8
	lcr     uint8
	mcr     uint8
	lsr     uint8 // without the bits that follow from the receiver FIFO
	msr     uint8 // lines as the guest last saw them, and deltas
	scr     uint8

	thrPending     bool // the transmitter has become empty, and the guest has not been told
	timeoutPending bool // the receiver FIFO has waited too long

	rx    [fifoSize]rxByte // receiver FIFO, or its register in rx[0]
	rxLen int
	tx    [fifoSize]byte // what the back end has not taken yet
	txLen int

	lines uint8 // the modem's lines, outside loopback; not reset
}

// rxByte is a received character and the LSR bits that came with it.
type rxByte struct{ data, err uint8 }

// resetDivisor makes 9600 baud.
const resetDivisor = 12

func (r *registers) reset() {
	*r = registers{
		divisor: resetDivisor,
		mcr:     mcrOut2,
		lsr:     lsrTHRE | lsrTEMT,
		msr:     r.lines,
		lines:   r.lines,
	}
}

// Start attaches the UART to its back end. What it registers is undone when the
// device goes: it must be called before the registers are mapped, so that they
// are unmapped first.
func (u *UART) Start(cfg Config) error {
	u.cfg = cfg
	env := cfg.Device.Env()
	u.port = nullPort{}
	u.regs.lines = CTS | DSR | DCD
	u.regs.reset()
	u.timeout = env.Clock.Virtual.NewTimer("serial time-out", u.onTimeout)
	if cfg.Chardev != "" {
		p, err := env.Chardev(cfg.Chardev, u)
		if err != nil {
			return err
		}
		u.mu.Lock()
		u.port = p
		u.mu.Unlock()
		p.OnWritable(u.onWritable)
		u.setParams()
		u.senseModem()
		cfg.Device.Defer(p.Detach)
		p.AcceptInput()
	}
	cfg.Device.Defer(u.timeout.Close)
	cfg.Device.Defer(env.Run.AddNotifier(0, u.onRunState))
	return nil
}

// ResetEnter implements device.ResetEnterer.
func (u *UART) ResetEnter() {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.timeout.Stop()
	u.regs.reset()
}

// ResetHold implements device.ResetHolder.
func (u *UART) ResetHold() {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.setParams()
	u.driveModem()
	u.update()
}

// ResetExit implements device.ResetExiter.
func (u *UART) ResetExit() {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.port.AcceptInput()
}

// ReadIO implements memory.Handler.
func (u *UART) ReadIO(off uint64, _ int) uint64 {
	v := u.readIO(off)
	traceRead.Emit(off, v)
	return v
}

func (u *UART) readIO(off uint64) uint64 {
	u.mu.Lock()
	defer u.mu.Unlock()
	r := &u.regs
	switch off {
	case regData:
		if r.lcr&lcrDLAB != 0 {
			return uint64(r.divisor & 0xff)
		}
		return uint64(u.readData())
	case regIER:
		if r.lcr&lcrDLAB != 0 {
			return uint64(r.divisor >> 8)
		}
		return uint64(r.ier)
	case regIIR:
		id := r.interrupt()
		if id == iirTHRI {
			r.thrPending = false
			u.update()
		}
		if r.fifo() {
			id |= iirFIFO
		}
		return uint64(id)
	case regLCR:
		return uint64(r.lcr)
	case regMCR:
		return uint64(r.mcr)
	case regLSR:
		v := r.lineStatus()
		r.lsr &^= lsrErrors
		if r.rxLen > 0 {
			r.rx[0].err = 0
		}
		u.update()
		return uint64(v)
	case regMSR:
		v := r.msr
		r.msr &^= msrDelta
		u.update()
		return uint64(v)
	case regSCR:
		return uint64(r.scr)
	}
	return 0xff
}

// WriteIO implements memory.Handler.
func (u *UART) WriteIO(off uint64, _ int, val uint64) {
	traceWrite.Emit(off, val)
	v := uint8(val)
	u.mu.Lock()
	defer u.mu.Unlock()
	r := &u.regs
	switch off {
	case regData:
		if r.lcr&lcrDLAB != 0 {
			r.divisor = r.divisor&0xff00 | uint16(v)
			u.setParams()
			return
		}
		u.writeData(v)
	case regIER:
		if r.lcr&lcrDLAB != 0 {
			r.divisor = r.divisor&0xff | uint16(v)<<8
			u.setParams()
			return
		}
		u.writeIER(v & ierMask)
	case regIIR:
		u.writeFCR(v)
	case regLCR:
		old := r.lcr
		r.lcr = v
		if v&lcrBreak != 0 && old&lcrBreak == 0 {
			u.sendBreak()
		}
		if (v^old)&^(lcrBreak|lcrDLAB) != 0 {
			u.setParams()
		}
	case regMCR:
		old := r.mcr
		r.mcr = v & mcrMask
		u.modemChanged()
		u.driveModem()
		if old&mcrLoop != 0 && r.mcr&mcrLoop == 0 {
			u.port.AcceptInput()
		}
	case regSCR:
		r.scr = v
	}
	// LSR is for factory tests and MSR read-only: writes have no effect.
}

func (u *UART) writeIER(v uint8) {
	r := &u.regs
	// Enabling the transmitter's interrupt while it is empty raises it, even
	// if the guest has been told before: drivers test for that.
	switch {
	case v&ierTHRI == 0:
		r.thrPending = false
	case r.ier&ierTHRI == 0 && r.lsr&lsrTHRE != 0:
		r.thrPending = true
	}
	r.ier = v
	u.update()
}

func (u *UART) writeFCR(v uint8) {
	r := &u.regs
	if (v^r.fcr)&fcrEnable != 0 {
		v |= fcrClearRX | fcrClearTX
	}
	if v&fcrClearRX != 0 {
		u.clearRX()
	}
	if v&fcrClearTX != 0 {
		u.clearTX()
	}
	if v&fcrEnable == 0 {
		v = 0 // the other bits can be written only together with this one
	}
	r.fcr = v & fcrKept
	u.update()
}

func (r *registers) fifo() bool { return r.fcr&fcrEnable != 0 }

// interrupt returns what IIR reports, the most urgent first.
func (r *registers) interrupt() uint8 {
	switch {
	case r.ier&ierRLSI != 0 && r.lineStatus()&lsrErrors != 0:
		return iirRLSI
	case r.ier&ierRDI != 0 && r.fifo() && r.rxLen >= triggers[r.fcr>>6]:
		return iirRDI
	case r.ier&ierRDI != 0 && r.fifo() && r.timeoutPending:
		return iirTimeout
	case r.ier&ierRDI != 0 && !r.fifo() && r.rxLen > 0:
		return iirRDI
	case r.ier&ierTHRI != 0 && r.thrPending:
		return iirTHRI
	case r.ier&ierMSI != 0 && r.msr&msrDelta != 0:
		return iirMSI
	}
	return iirNone
}

// update drives the interrupt. OUT2, which gates it on some boards, does not
// here: guests that forget it work.
func (u *UART) update() { u.cfg.Line.SetLevel(u.regs.interrupt() != iirNone) }

// onRunState flushes and takes input again when the machine goes on.
func (u *UART) onRunState(running bool, _ runstate.State) {
	if !running {
		return
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	u.transmit()
	u.port.AcceptInput()
}
