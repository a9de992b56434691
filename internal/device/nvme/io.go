package nvme

import (
	"encoding/binary"
	"slices"

	"golang.org/x/sys/unix"

	"govmd/internal/block"
)

// Commands of the NVM command set (section 6).
const (
	ioFlush       = 0x00
	ioWrite       = 0x01
	ioRead        = 0x02
	ioWriteZeroes = 0x08
	ioDSM         = 0x09
	ioVerify      = 0x0c

	allNamespaces = 0xffffffff

	bitFUA        = 1 << 30 // of dword 12
	bitDeallocate = 1 << 25
	dsmDeallocate = 1 << 2 // of dword 11
	rangeSize     = 16
)

// io carries out a command of an I/O queue.
func (r *request) io() uint16 {
	c := &r.command
	if c.nsid() != namespaceID && !(c.opcode() == ioFlush && c.nsid() == allNamespaces) {
		return statusInvalidNamespace
	}
	switch c.opcode() {
	case ioFlush:
		r.Op = block.OpFlush
		return r.submit()
	case ioRead, ioWrite:
		return r.transfer()
	case ioWriteZeroes:
		off, n, status := r.extent(block.OpZeroes)
		if status != statusOK {
			return status
		}
		r.Op, r.Off, r.Len = block.OpZeroes, off, n
		if c.dword(12)&bitDeallocate != 0 {
			r.Flags |= block.MayUnmap
		}
		if c.dword(12)&bitFUA != 0 {
			r.Flags |= block.FUA
		}
		return r.submit()
	case ioVerify: // an image has no blocks that cannot be read until one tries
		_, _, status := r.extent(block.OpRead)
		return status
	case ioDSM:
		return r.manage()
	}
	return statusInvalidOpcode
}

// extent is what a command is about, in bytes.
func (r *request) extent(op block.Op) (off, n int64, status uint16) {
	lba, count := r.command.slba(), uint64(r.command.dword(12)&0xffff)+1
	if !r.d.inside(lba, count) {
		r.d.backend.Stats().Invalid(op)
		return 0, 0, statusLBARange
	}
	size := r.d.conf.LogicalBlock
	return int64(lba * size), int64(count * size), statusOK
}

// inside reports whether blocks are on the medium.
func (d *Device) inside(lba, n uint64) bool {
	size := d.blocks()
	return lba <= size && n <= size-lba
}

// blocks is the size of the namespace.
func (d *Device) blocks() uint64 { return uint64(d.backend.Length()) / d.conf.LogicalBlock }

// transfer is a read or write.
func (r *request) transfer() uint16 {
	op := block.OpRead
	if r.command.opcode() == ioWrite {
		op = block.OpWrite
	}
	count := int64(r.command.dword(12)&0xffff) + 1
	if count*int64(r.d.conf.LogicalBlock) > 4096<<r.d.mdts {
		return statusInvalidField
	}
	off, n, status := r.extent(op)
	if status != statusOK {
		return status
	}
	if status := r.lend(int(n), op == block.OpRead); status != statusOK {
		return status
	}
	r.Op, r.Off, r.Vec = op, off, r.segs.Vec()
	if op == block.OpWrite && r.command.dword(12)&bitFUA != 0 {
		r.Flags = block.FUA
	}
	return r.submit()
}

// manage is DATASET MANAGEMENT, of which deallocation is more than a hint. Nothing is
// deallocated when a range is wrong.
func (r *request) manage() uint16 {
	n := (int(r.command.dword(10)&0xff) + 1) * rangeSize
	r.ranges = slices.Grow(r.ranges[:0], n)[:n]
	if status := r.receive(r.ranges); status != statusOK {
		return status
	}
	r.segs.Release()
	if r.command.dword(11)&dsmDeallocate == 0 {
		return statusOK
	}
	for p := r.ranges; len(p) > 0; p = p[rangeSize:] {
		if lba, n := rangeOf(p); !r.d.inside(lba, n) {
			r.d.backend.Stats().Invalid(block.OpDiscard)
			return statusLBARange
		}
	}
	r.pos, r.end = 0, n
	if !r.nextRange() {
		return statusOK
	}
	return r.submit()
}

func rangeOf(p []byte) (lba, n uint64) {
	return binary.LittleEndian.Uint64(p[8:]), uint64(binary.LittleEndian.Uint32(p[4:]))
}

// nextRange has the next range deallocated; false when there is none.
func (r *request) nextRange() bool {
	for r.pos < r.end {
		lba, n := rangeOf(r.ranges[r.pos:])
		r.pos += rangeSize
		if size := r.d.conf.LogicalBlock; n > 0 {
			r.Op, r.Off, r.Len = block.OpDiscard, int64(lba*size), int64(n*size)
			return true
		}
	}
	return false
}

// ioDone is told that the block layer has carried out a request, or a step of one.
func ioDone(br *block.Request, err error) {
	r := br.Owner.(*request)
	if err == nil && r.nextRange() {
		r.d.queue.Submit(&r.Request)
		return
	}
	status := uint16(statusOK)
	if err != nil {
		status = statusOf(r.Op, err)
	}
	d, sq := r.d, r.sq
	wait := sq.atLimit() || d.pool.exhausted()
	r.finish(status, 0)
	if wait {
		d.wake.Kick()
	}
}

// atLimit reports whether the queue waits for a command to end.
func (sq *submission) atLimit() bool {
	sq.mu.Lock()
	defer sq.mu.Unlock()
	return sq.count >= sq.size
}

// statusOf is what the guest is told of an error of the host's.
func statusOf(op block.Op, err error) uint16 {
	switch no := block.Errno(err); {
	case no == block.ErrCancelled:
		return statusAborted
	case no == unix.ENOSPC:
		return statusCapacity
	case no == unix.EROFS || no == unix.EPERM:
		return statusWriteProtected
	case op == block.OpRead:
		return statusReadError
	case op == block.OpWrite || op == block.OpZeroes:
		return statusWriteFault
	}
	return statusInternal
}
