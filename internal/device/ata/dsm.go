package ata

import (
	"encoding/binary"

	"govmd/internal/block"
)

// canDiscard reports whether the disk has TRIM: property discard_granularity is not 0.
func (d *Drive) canDiscard() bool { return d.conf.Discard != 0 }

// dsm is DATA SET MANAGEMENT (section 7.5), whose only use is TRIM.
func (d *Drive) dsm() {
	if d.regs.Feature&1 == 0 || !d.canDiscard() {
		d.abort()
		return
	}
	d.task.ext = true
	d.task.left = d.regs.count(true)
	d.task.step = stepDSM
	d.startDMA()
}

// dsmBlock takes the next block of ranges from the host.
func (d *Drive) dsmBlock() {
	t := &d.task
	n, err := d.copyDMA(d.buffer()[:SectorSize], false)
	switch {
	case err != nil:
		d.dmaFault()
	case n < SectorSize:
		d.short()
	default:
		t.step, t.pos, t.end = stepDiscard, 0, SectorSize
		d.start()
	}
}

// rangeSize is that of an entry: an address of 48 bits and a count of sectors.
const rangeSize = 8

// discardRange makes r discard the next range. It returns false when there is none
// in the block: the next one is waited for, or the command has ended.
func (d *Drive) discardRange(r *request) bool {
	t := &d.task
	for ; t.pos < t.end; t.pos += rangeSize {
		v := binary.LittleEndian.Uint64(d.buf[t.pos:])
		lba, n := int64(v&(1<<48-1)), int64(v>>48)
		if n == 0 {
			continue
		}
		if lba+n > d.Sectors() {
			d.port.DMAEnd(d, t.from, false)
			d.fail(ErrorIDNF | ErrorABRT)
			return false
		}
		r.Op, r.Off, r.Len = block.OpDiscard, lba*SectorSize, n*SectorSize
		return true
	}
	t.pos, t.end = 0, 0
	if t.left--; t.left > 0 {
		t.step = stepDSM
		d.startDMA()
		return false
	}
	d.port.DMAEnd(d, t.from, false)
	d.finish()
	return false
}

// discarded goes on after a range.
func (d *Drive) discarded() {
	d.task.pos += rangeSize
	d.start()
}
