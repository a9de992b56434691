package nvme

import (
	"encoding/binary"

	"govmd/internal/block"
)

// Log pages (section 5.14.1), and their sizes.
const (
	logError    = 0x01
	logSMART    = 0x02
	logFirmware = 0x03
	logChanged  = 0x04
	logEffects  = 0x05

	errorLogSize = 64
	pageLogSize  = 512
	longLogSize  = 4096

	retainEvent = 1 << 15 // of dword 10
)

// getLog is GET LOG PAGE.
func (d *Device) getLog(r *request) uint16 {
	c := &r.command
	n := (uint64(c.dword(10)>>16) | uint64(c.dword(11)&0xffff)<<16) + 1
	off := uint64(c.dword(12)) | uint64(c.dword(13))<<32
	if off%4 != 0 {
		return statusInvalidField
	}
	var p [longLogSize]byte
	var size uint64
	const none = 0xff
	kind := uint32(none) // of the events that the log is about
	switch byte(c.dword(10)) {
	case logError: // there was none
		size, kind = errorLogSize, eventError
	case logSMART:
		if c.nsid() != 0 && c.nsid() != allNamespaces {
			return statusInvalidNamespace
		}
		d.health(p[:])
		size, kind = pageLogSize, eventSMART
	case logFirmware:
		p[0] = 1
		copy(p[8:], firmware)
		size = pageLogSize
	case logChanged:
		d.mu.Lock()
		if d.events.changed {
			p[0] = namespaceID
		}
		d.mu.Unlock()
		size, kind = longLogSize, eventNotice
	case logEffects:
		effects(p[:])
		size = longLogSize
	default:
		return statusInvalidLog
	}
	if off >= size {
		return statusInvalidField
	}
	status := r.send(p[off:min(size, off+4*n)])
	if status == statusOK && c.dword(10)&retainEvent == 0 && kind != none {
		d.logRead(kind)
	}
	return status
}

// health is the SMART log.
func (d *Device) health(p []byte) {
	le := binary.LittleEndian
	d.mu.Lock()
	if d.features.beyond() {
		p[0] = wantTemperature
	}
	d.mu.Unlock()
	le.PutUint16(p[1:], temperature)
	p[3], p[4] = 100, 10 // spare, and from where on it warns, in per cent
	account := func(units, commands []byte, n block.Counts) {
		le.PutUint64(units, (uint64(n.Bytes)+512*1000-1)/(512*1000))
		le.PutUint64(commands, uint64(n.Ops))
	}
	account(p[32:], p[64:], d.backend.Stats().Counts(block.AcctRead))
	account(p[48:], p[80:], d.backend.Stats().Counts(block.AcctWrite))
}

// effects is the log of which commands there are, and what they do.
func effects(p []byte) {
	const supported, changes, io = 1, 1 << 1, 1024
	put := func(at int, ops []int, effect uint32) {
		for _, op := range ops {
			binary.LittleEndian.PutUint32(p[at+4*op:], effect)
		}
	}
	put(0, []int{
		adminDeleteSQ, adminCreateSQ, adminGetLog, adminDeleteCQ, adminCreateCQ, adminIdentify, adminAbort,
		adminSetFeatures, adminGetFeatures, adminAsyncEvent,
	}, supported)
	put(io, []int{ioFlush, ioRead, ioVerify}, supported)
	put(io, []int{ioWrite, ioWriteZeroes, ioDSM}, supported|changes)
}
