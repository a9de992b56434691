package serial

// writeData is a write of THR.
func (u *UART) writeData(v uint8) {
	r := &u.regs
	r.thrPending = false
	if r.mcr&mcrLoop != 0 {
		u.push(rxByte{data: v})
		u.armTimeout()
		r.thrPending = true
		u.update()
		return
	}
	size := 1
	if r.fifo() {
		size = fifoSize
	}
	if r.txLen < size {
		r.txLen++
	} // else the last one is overwritten
	r.tx[r.txLen-1] = v
	r.lsr &^= lsrTHRE | lsrTEMT
	u.transmit()
	u.update()
}

// transmit hands the back end as much as it takes.
func (u *UART) transmit() {
	r := &u.regs
	if r.txLen == 0 {
		return
	}
	n := u.port.Write(r.tx[:r.txLen])
	if n <= 0 {
		return
	}
	if n < r.txLen {
		r.txLen = copy(r.tx[:], r.tx[n:r.txLen])
		return
	}
	r.txLen = 0
	r.lsr |= lsrTHRE | lsrTEMT
	r.thrPending = true
	u.update()
}

// onWritable goes on when the back end has room again.
func (u *UART) onWritable() {
	if !u.cfg.Device.Env().Run.Running() {
		return // onRunState does it
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	u.transmit()
}

func (u *UART) clearTX() {
	r := &u.regs
	r.txLen = 0
	r.lsr |= lsrTHRE | lsrTEMT
	r.thrPending = true
}
