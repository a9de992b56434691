package ata

import "encoding/binary"

// sendBlock offers the first n bytes of the buffer to the host, which is interrupted.
func (d *Drive) sendBlock(n int) {
	d.task.phase, d.task.pos, d.task.end = phaseIn, 0, n
	d.regs.Status = statusIdle | StatusDRQ
	d.interrupt()
	d.port.Data(d)
}

// receiveBlock wants n bytes from the host, in the buffer. The caller interrupts
// the host, or does not, and calls Port.Data.
func (d *Drive) receiveBlock(n int) {
	d.buffer()
	d.task.phase, d.task.pos, d.task.end = phaseOut, 0, n
	d.regs.Status = statusIdle | StatusDRQ
}

// Block returns the block of data that is to be moved, and whether the host reads
// it. The mutex is held.
func (d *Drive) Block() (p []byte, in bool) {
	t := &d.task
	if t.phase != phaseIn && t.phase != phaseOut {
		return nil, false
	}
	return d.buffer()[t.pos:t.end], t.phase == phaseIn
}

// BlockMoved says that the whole block has been moved. The mutex is held.
func (d *Drive) BlockMoved() {
	d.task.pos = d.task.end
	d.blockDone()
}

// ReadData reads size bytes (1, 2 or 4) from the data register.
func (d *Drive) ReadData(size int) uint32 {
	t := &d.task
	if t.phase != phaseIn {
		return 0
	}
	var p [4]byte
	t.pos += copy(p[:size], d.buf[t.pos:t.end])
	if t.pos >= t.end {
		d.blockDone()
	}
	return binary.LittleEndian.Uint32(p[:])
}

// WriteData writes size bytes to the data register.
func (d *Drive) WriteData(size int, v uint32) {
	t := &d.task
	if t.phase != phaseOut {
		return
	}
	var p [4]byte
	binary.LittleEndian.PutUint32(p[:], v)
	t.pos += copy(d.buf[t.pos:t.end], p[:size])
	if t.pos >= t.end {
		d.blockDone()
	}
}

// blockDone goes on after a block of data.
func (d *Drive) blockDone() {
	t := &d.task
	switch t.step {
	case stepRead:
		if t.left > 0 {
			d.start()
			return
		}
		// The last block needs no interrupt: the host knows how many there are.
		d.setLBA(t.lba-1, t.ext)
		d.regs.Count, d.regs.Prev.Count = 0, 0
		d.quiet()
	case stepWrite:
		d.start()
	case stepPacket:
		d.cd.packet()
	case stepReply, stepCDRead:
		d.cd.replyMoved()
	default:
		d.quiet()
	}
}

// quiet ends a command without an interrupt.
func (d *Drive) quiet() {
	d.regs.Status, d.regs.Error = statusIdle, 0
	d.task = task{cmd: d.task.cmd}
	d.port.Done(d)
}

// sendSector replies with the first 512 bytes of the buffer.
func (d *Drive) sendSector() {
	d.task.step = stepEnd
	d.sendBlock(SectorSize)
}

// startDMA waits for the controller and then goes on with the task's step.
func (d *Drive) startDMA() {
	d.setBusy()
	d.task.phase = phaseDMA
	if d.port.DMAReady(d) {
		d.DMAGo()
	}
}

// DMAGo says that the controller is ready for what the drive waits for. The mutex
// is held.
func (d *Drive) DMAGo() {
	if d.task.phase != phaseDMA {
		return
	}
	d.task.phase = phaseMedium
	switch d.task.step {
	case stepDSM:
		d.dsmBlock()
	case stepReply:
		d.cd.replyDMA()
	default:
		d.start()
	}
}

// WantsDMA reports whether the drive waits for the controller. The mutex is held.
func (d *Drive) WantsDMA() bool { return d.task.phase == phaseDMA }

// copyDMA moves p between the buffer and guest memory, and returns how many bytes.
func (d *Drive) copyDMA(p []byte, toGuest bool) (n int, err error) {
	r := d.take()
	r.segs.Begin(toGuest)
	if err = d.port.Gather(d, &d.task.from, &r.segs, len(p)); err == nil {
		n = r.segs.Len()
		if toGuest {
			err = r.segs.Vec().Write(p[:n])
		} else {
			err = r.segs.Vec().Read(p[:n])
		}
	}
	d.give(r)
	return n, err
}
