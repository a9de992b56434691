package ata

import "encoding/binary"

// Logs of READ LOG EXT (section 7.27).
const (
	logDirectory = 0x00
	logNCQError  = 0x10
)

// QueueError is what the log of queued commands says of the one that has failed.
type QueueError struct {
	Valid  bool   `cbor:"valid"`
	Tag    byte   `cbor:"tag"`
	Status byte   `cbor:"status"`
	Error  byte   `cbor:"error"`
	LBA    int64  `cbor:"lba"`
	Count  uint16 `cbor:"count"`
}

// SetQueueError makes the drive remember which queued command has failed, until the
// log is read. The mutex is held.
func (d *Drive) SetQueueError(e QueueError) { d.queueError = e }

func (d *Drive) readLog() {
	if !d.ncq || d.regs.count(true) != 1 || d.regs.Mid != 0 || d.regs.Prev.Mid != 0 {
		d.abort()
		return
	}
	p := d.buffer()[:SectorSize]
	clear(p)
	switch d.regs.Low {
	case logDirectory:
		p[0] = 1
		binary.LittleEndian.PutUint16(p[2*logNCQError:], 1)
	case logNCQError:
		e := &d.queueError
		p[0] = 0x80 // not a queued command
		if e.Valid {
			p[0] = e.Tag
			p[2], p[3] = e.Status, e.Error
			for i := range 3 {
				p[4+i] = byte(e.LBA >> (8 * i))
				p[8+i] = byte(e.LBA >> (24 + 8*i))
			}
			p[7] = deviceLBA
			binary.LittleEndian.PutUint16(p[12:], e.Count)
		}
		setSum(p)
		d.queueError = QueueError{}
	default:
		d.abort()
		return
	}
	d.sendSector()
}
