package ahci

import (
	"govmd/internal/block"
	"govmd/internal/device/ata"
	"govmd/internal/device/drive"
)

// queued is a command of native command queueing (Serial ATA 3.0, section 13.6).
type queued struct {
	block.Request
	p      *port
	segs   drive.Segs
	orphan bool

	tag       int
	write     bool
	fua       bool
	lba       int64
	left      int
	total     int
	header    header
	pos, mark ata.Pos
	resume    bool // is made again when the machine runs
}

func (p *port) takeQueued() *queued {
	if n := len(p.spare); n > 0 {
		q := p.spare[n-1]
		p.spare = p.spare[:n-1]
		q.orphan, q.resume = false, false
		return q
	}
	q := &queued{p: p}
	q.Request = block.Request{Done: queuedDone, Owner: q}
	return q
}

func (p *port) giveQueued(q *queued) {
	q.segs.Release()
	q.Vec = block.Vec{}
	p.spare = append(p.spare, q)
}

// startQueued takes a queued command; the device is ready for the next at once.
func (p *port) startQueued(h *header, fis *[20]byte) {
	tag := int(fis[12] >> 3)
	n := int(fis[11])<<8 | int(fis[3])
	if n == 0 {
		n = 65536
	}
	q := p.takeQueued()
	q.tag, q.write, q.fua = tag, fis[2] == ata.CmdWriteFPDMA, fis[7]&0x80 != 0
	q.lba = int64(fis[10])<<40 | int64(fis[9])<<32 | int64(fis[8])<<24 | int64(fis[6])<<16 | int64(fis[5])<<8 | int64(fis[4])
	q.left, q.total, q.header = n, n, *h
	q.pos, q.mark = ata.Pos{}, ata.Pos{}
	// The device says that it has taken the command.
	p.status = ata.StatusDRDY | ata.StatusDSC
	p.error = 0
	switch {
	case p.outstanding>>tag&1 != 0:
		p.failQueued(q, ata.ErrorABRT)
	case q.lba+int64(n) > p.drive.Sectors():
		p.failQueued(q, ata.ErrorIDNF|ata.ErrorABRT)
	default:
		p.outstanding |= 1 << tag
		p.queued[tag] = q
		p.submit(q)
	}
}

// submit makes the next request of a queued command.
func (p *port) submit(q *queued) {
	q.Op, q.Flags, q.Off = block.OpRead, 0, q.lba*ata.SectorSize
	if q.write {
		q.Op = block.OpWrite
		if q.fua {
			q.Flags = block.FUA
		}
	}
	q.segs.Begin(!q.write)
	q.mark = q.pos
	err := p.gather(&q.header, &q.pos, &q.segs, min(q.left*ata.SectorSize, ata.MaxChunk))
	whole := q.segs.Len() &^ (ata.SectorSize - 1)
	switch {
	case err != nil:
		p.is |= isHBFS
		p.failQueued(q, ata.ErrorABRT)
		return
	case whole == 0:
		p.failQueued(q, ata.ErrorABRT)
		return
	}
	q.segs.Cut(whole)
	q.Vec = q.segs.Vec()
	p.drive.Queue().Submit(&q.Request)
}

func queuedDone(r *block.Request, err error) {
	q := r.Owner.(*queued)
	q.p.queuedDone(q, err)
}

func (p *port) queuedDone(q *queued, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := q.segs.Len() / ata.SectorSize
	q.segs.Release()
	switch {
	case q.orphan:
		p.orphans--
		p.giveQueued(q)
		p.process()
	case block.Errno(err) == block.ErrCancelled: // a reset has just begun
		p.forget(q)
		p.giveQueued(q)
	case err != nil:
		bits := byte(ata.ErrorABRT)
		if !q.write {
			bits = ata.ErrorUNC
		}
		p.failQueued(q, bits)
	default:
		q.lba += int64(n)
		if q.left -= n; q.left > 0 {
			p.submit(q)
			return
		}
		tag := q.tag
		p.forget(q)
		p.giveQueued(q)
		p.setBitsFIS(1<<tag, ata.StatusDRDY|ata.StatusDSC, 0)
		p.process()
	}
}

func (p *port) forget(q *queued) {
	if p.queued[q.tag] == q {
		p.queued[q.tag] = nil
		p.outstanding &^= 1 << q.tag
	}
}

// failQueued ends a queued command with an error, and with it all others: which one
// it was is in a log.
func (p *port) failQueued(q *queued, bits byte) {
	p.forget(q)
	const status = ata.StatusDRDY | ata.StatusDSC | ata.StatusERR
	p.drive.SetQueueError(ata.QueueError{
		Valid: true, Tag: byte(q.tag), Status: status, Error: bits, LBA: q.lba, Count: uint16(q.total),
	})
	p.giveQueued(q)
	p.abandonQueued()
	p.setBitsFIS(0, status, bits)
}

// abandonQueued leaves all queued commands to end by themselves.
func (p *port) abandonQueued() {
	for i, q := range p.queued {
		if q == nil {
			continue
		}
		p.queued[i] = nil
		if q.resume { // nothing is under way
			p.giveQueued(q)
			continue
		}
		q.orphan = true
		p.orphans++
	}
	p.outstanding = 0
}

// end is called before the drives go.
func (p *port) end() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.dead = true
	p.abandonQueued()
}
