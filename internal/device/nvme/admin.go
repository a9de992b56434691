package nvme

import "govmd/internal/block"

// Commands of the administrator's queue (section 5).
const (
	adminDeleteSQ    = 0x00
	adminCreateSQ    = 0x01
	adminGetLog      = 0x02
	adminDeleteCQ    = 0x04
	adminCreateCQ    = 0x05
	adminIdentify    = 0x06
	adminAbort       = 0x08
	adminSetFeatures = 0x09
	adminGetFeatures = 0x0a
	adminAsyncEvent  = 0x0c
)

// admin carries out a command of the administrator's queue.
func (d *Device) admin(r *request) (status uint16, result uint32) {
	switch r.command.opcode() {
	case adminDeleteSQ:
		return d.deleteSQ(r), 0
	case adminCreateSQ:
		return d.createSQ(&r.command), 0
	case adminDeleteCQ:
		return d.deleteCQ(&r.command), 0
	case adminCreateCQ:
		return d.createCQ(&r.command), 0
	case adminIdentify:
		return d.identify(r), 0
	case adminGetLog:
		return d.getLog(r), 0
	case adminAbort:
		return statusOK, d.abort(&r.command)
	case adminSetFeatures:
		return d.setFeature(r)
	case adminGetFeatures:
		return d.getFeature(r)
	case adminAsyncEvent:
		return d.awaitEvent(r), 0
	}
	return statusInvalidOpcode, 0
}

// queueOf checks what creating a queue says: its number and size, where it is, and that
// it is one piece.
func (d *Device) queueOf(c *command) (id uint16, size uint32, status uint16) {
	id, size = uint16(c.dword(10)), c.dword(10)>>16+1
	switch {
	case id == 0 || int(id) >= len(d.sqs):
		return id, size, statusInvalidQueue
	case size < 2 || size > maxEntries:
		return id, size, statusInvalidSize
	case c.dword(11)&1 == 0:
		return id, size, statusInvalidField
	case c.prp1() == 0 || c.prp1()%d.pageSize() != 0:
		return id, size, statusPRPOffset
	}
	return id, size, statusOK
}

func (d *Device) createCQ(c *command) uint16 {
	id, size, status := d.queueOf(c)
	vector := c.dword(11) >> 16
	switch {
	case status != statusOK:
		return status
	case d.cqs[id] != nil:
		return statusInvalidQueue
	case vector >= uint32(len(d.pending)) || vector >= 32 && !d.MSIXEnabled():
		return statusInvalidVector
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.cqs[id] = &completion{
		d: d, id: id, base: c.prp1(), size: size, vector: uint16(vector), interrupts: c.dword(11)&2 != 0, phase: true,
	}
	return statusOK
}

func (d *Device) deleteCQ(c *command) uint16 {
	id := uint16(c.dword(10))
	if id == 0 || int(id) >= len(d.cqs) || d.cqs[id] == nil {
		return statusInvalidQueue
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	cq := d.cqs[id]
	if cq.users > 0 {
		return statusQueueDeletion
	}
	cq.end()
	d.cqs[id] = nil
	return statusOK
}

func (d *Device) createSQ(c *command) uint16 {
	id, size, status := d.queueOf(c)
	target := c.dword(11) >> 16
	switch {
	case status != statusOK:
		return status
	case d.sqs[id] != nil:
		return statusInvalidQueue
	case target == 0 || target >= uint32(len(d.cqs)) || d.cqs[target] == nil:
		return statusInvalidCQ
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	cq := d.cqs[target]
	cq.users++
	d.sqs[id] = &submission{d: d, id: id, cq: cq, base: c.prp1(), size: size}
	return statusOK
}

// deleteSQ ends when all commands of the queue have ended. Those that an error has
// parked end now.
func (d *Device) deleteSQ(r *request) uint16 {
	id := uint16(r.command.dword(10))
	if id == 0 || int(id) >= len(d.sqs) || d.sqs[id] == nil {
		return statusInvalidQueue
	}
	sq := d.sqs[id]
	d.mu.Lock()
	d.sqs[id] = nil
	d.mu.Unlock()
	sq.mu.Lock()
	busy := sq.count > 0
	if busy {
		sq.ending = r
	}
	sq.mu.Unlock()
	if !busy {
		d.release(sq)
		return statusOK
	}
	d.backend.CancelParkedIf(func(br *block.Request) bool {
		other, ok := br.Owner.(*request)
		return ok && other.sq == sq
	})
	return pending
}

// release says that a submission queue's completion queue has one less.
func (d *Device) release(sq *submission) {
	d.mu.Lock()
	defer d.mu.Unlock()
	sq.cq.users--
}

// abort ends a command that an error has parked; others cannot be called back, which
// the result says.
func (d *Device) abort(c *command) (result uint32) {
	id, cid := int(c.dword(10)&0xffff), uint16(c.dword(10)>>16)
	if id == 0 || id >= len(d.sqs) || d.sqs[id] == nil {
		return 1
	}
	result = 1
	d.backend.CancelParkedIf(func(br *block.Request) bool {
		r, ok := br.Owner.(*request)
		if !ok || r.sq != d.sqs[id] || r.command.cid() != cid {
			return false
		}
		result = 0
		return true
	})
	return result
}
