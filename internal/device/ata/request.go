package ata

import (
	"govmd/internal/block"
	"govmd/internal/device/drive"
	"govmd/internal/device/scsi/mmc"
	"govmd/internal/device/scsi/sense"
)

// request is what the drive has the block layer do, one thing at a time.
type request struct {
	block.Request
	d      *Drive
	segs   drive.Segs
	buf    []byte // what an orphan may still write to
	orphan bool
}

func newRequest(d *Drive) *request {
	r := &request{d: d}
	r.Request = block.Request{Done: requestDone, Owner: r}
	return r
}

func requestDone(r *block.Request, err error) {
	q := r.Owner.(*request)
	q.d.requestDone(q, err)
}

// take returns a request that is free.
func (d *Drive) take() *request {
	r := d.spare
	d.spare = nil
	if r == nil {
		r = newRequest(d)
	}
	r.Op, r.Flags, r.Off, r.Len, r.Vec, r.orphan = 0, 0, 0, 0, block.Vec{}, false
	return r
}

func (d *Drive) give(r *request) {
	r.segs.Release()
	r.Vec, r.buf = block.Vec{}, nil
	d.spare = r
}

// abandon ends the command that is under way without a word: a request goes on as
// an orphan, with the buffer.
func (d *Drive) abandon() {
	if r := d.req; r != nil {
		r.orphan, r.buf = true, d.buf
		d.req, d.buf = nil, nil
		d.orphans++
	}
	d.waiting, d.resume = false, false
	d.task = task{}
}

// setBusy shows that the drive does something by itself.
func (d *Drive) setBusy() {
	d.task.phase = phaseMedium
	d.regs.Status = StatusBSY | d.regs.Status&StatusDRDY | StatusDSC
}

// start makes the request that the task's step wants. What it depends on is in the
// task, the buffer and the registers alone: a loaded state does it again.
func (d *Drive) start() {
	d.setBusy()
	if d.orphans > 0 {
		d.waiting = true
		return
	}
	if d.dead {
		return
	}
	t := &d.task
	r := d.take()
	switch t.step {
	case stepRead:
		r.Op, r.Off = block.OpRead, t.lba*SectorSize
		r.Vec = block.VecOf(d.buffer()[:t.sectors()*SectorSize])
	case stepWrite:
		r.Op, r.Off = block.OpWrite, t.lba*SectorSize
		r.Vec = block.VecOf(d.buffer()[:t.sectors()*SectorSize])
		r.Flags = t.flags()
	case stepReadDMA, stepWriteDMA, stepCDDMA:
		if !d.gather(r) {
			d.give(r)
			return
		}
	case stepFlush:
		r.Op = block.OpFlush
	case stepDiscard:
		if !d.discardRange(r) {
			d.give(r)
			return
		}
	case stepCDRead:
		r.Op, r.Off = block.OpRead, t.lba*mmc.SectorSize
		r.Vec = block.VecOf(d.cdData(t.cdSectors()))
	default:
		d.give(r)
		d.abort()
		return
	}
	d.req = r
	d.queue.Submit(&r.Request)
}

// sectors is how many go into the next block of data.
func (t *task) sectors() int { return min(t.left, max(t.block, 1)) }

func (t *task) flags() block.Flags {
	if t.fua {
		return block.FUA
	}
	return 0
}

// sectorSize is that of the medium.
func (d *Drive) sectorSize() int {
	if d.cd != nil {
		return mmc.SectorSize
	}
	return SectorSize
}

// gather makes r move the next sectors to or from guest memory. It returns false
// when it has ended the command.
func (d *Drive) gather(r *request) bool {
	t := &d.task
	size := d.sectorSize()
	r.Op, r.Off = block.OpRead, t.lba*int64(size)
	if t.step == stepWriteDMA {
		r.Op, r.Flags = block.OpWrite, t.flags()
	}
	r.segs.Begin(r.Op == block.OpRead)
	t.mark = t.from
	err := d.port.Gather(d, &t.from, &r.segs, min(t.left*size, MaxChunk))
	whole := r.segs.Len() - r.segs.Len()%size
	switch {
	case err != nil:
		d.dmaFault()
		return false
	case whole == 0:
		d.short()
		return false
	}
	r.segs.Cut(whole)
	r.Vec = r.segs.Vec()
	return true
}

// dmaFault ends a command whose guest memory is not there.
func (d *Drive) dmaFault() {
	d.port.DMAEnd(d, d.task.from, true)
	if d.cd != nil {
		d.cd.fail(sense.InternalFailure)
		return
	}
	d.abort()
}

// short ends a command for which the guest has described too little memory: the
// drive is through with what there was, and says nothing (PIIX3 data sheet, 2.7.3).
func (d *Drive) short() {
	from := d.task.from
	from.End = true
	d.port.DMAEnd(d, from, false)
	d.quiet()
}

// requestDone is told that a request has ended.
func (d *Drive) requestDone(r *request, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if r.orphan {
		d.orphans--
		d.give(r)
		if d.orphans == 0 && d.waiting && !d.dead {
			d.waiting = false
			d.start()
		}
		return
	}
	d.req = nil
	moved := r.segs.Len()
	d.give(r)
	if d.dead {
		return
	}
	if err != nil {
		d.mediumError(err)
		return
	}
	d.requestEnded(moved)
}

// requestEnded goes on with the command.
func (d *Drive) requestEnded(moved int) {
	t := &d.task
	switch t.step {
	case stepRead:
		n := t.sectors()
		t.lba += int64(n)
		t.left -= n
		d.sendBlock(n * SectorSize)
	case stepWrite:
		n := t.sectors()
		t.lba += int64(n)
		if t.left -= n; t.left > 0 {
			d.receiveBlock(t.sectors() * SectorSize)
			d.interrupt()
			d.port.Data(d)
			return
		}
		d.finishAt(t.lba)
	case stepReadDMA, stepWriteDMA, stepCDDMA:
		n := moved / d.sectorSize()
		t.lba += int64(n)
		t.left -= n
		if t.left > 0 {
			d.start()
			return
		}
		d.endDMA()
	case stepFlush:
		d.finish()
	case stepDiscard:
		d.discarded()
	case stepCDRead:
		d.cd.sectorsRead()
	}
}

// endDMA ends a command that has moved all of its data by DMA.
func (d *Drive) endDMA() {
	t := &d.task
	d.port.DMAEnd(d, t.from, false)
	if d.cd != nil {
		d.cd.ok()
		return
	}
	d.finishAt(t.lba)
}

// finishAt is finish, with the address after the last sector in the registers.
func (d *Drive) finishAt(lba int64) {
	d.setLBA(lba-1, d.task.ext)
	d.regs.Count, d.regs.Prev.Count = 0, 0
	d.finish()
}

// mediumError ends the command because the host's storage has failed.
func (d *Drive) mediumError(err error) {
	t := &d.task
	if t.dma || t.step == stepReadDMA || t.step == stepWriteDMA || t.step == stepDiscard {
		d.port.DMAEnd(d, t.from, false)
	}
	switch {
	case d.cd != nil && block.Errno(err) == block.ErrNoMedium:
		d.cd.fail(sense.NoMedium)
	case d.cd != nil:
		d.cd.fail(sense.UnrecoveredRead)
	case t.step == stepRead || t.step == stepReadDMA:
		d.setLBA(t.lba, t.ext)
		d.fail(ErrorUNC)
	default:
		if t.step == stepWrite || t.step == stepWriteDMA {
			d.setLBA(t.lba, t.ext)
		}
		d.abort()
	}
}
