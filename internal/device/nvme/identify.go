package nvme

import (
	"encoding/binary"
	"math/bits"

	"github.com/google/uuid"

	"govmd/internal/device/drive"
)

const (
	identifySize = 4096

	model    = "QEMU NVMe Ctrl"
	firmware = "1.0     "
)

// What IDENTIFY is asked for (section 5.15.1).
const (
	identifyNamespace   = 0x00
	identifyController  = 0x01
	identifyActive      = 0x02
	identifyDescriptors = 0x03
)

// identify is IDENTIFY.
func (d *Device) identify(r *request) uint16 {
	var p [identifySize]byte
	c := &r.command
	switch byte(c.dword(10)) {
	case identifyNamespace:
		if c.nsid() != namespaceID {
			return statusInvalidNamespace
		}
		d.namespace(p[:])
	case identifyController:
		d.controller(p[:])
	case identifyActive:
		if c.nsid() >= allNamespaces-1 {
			return statusInvalidNamespace
		}
		if c.nsid() < namespaceID {
			p[0] = namespaceID
		}
	case identifyDescriptors:
		if c.nsid() != namespaceID {
			return statusInvalidNamespace
		}
		id := d.uuid()
		p[0], p[1] = 3, byte(len(id))
		copy(p[4:], id[:])
	default:
		return statusInvalidField
	}
	return r.send(p[:])
}

// uuid names the namespace: the same for the same serial number.
func (d *Device) uuid() uuid.UUID {
	return uuid.NewSHA1(uuid.NameSpaceOID, []byte("nvme:"+d.conf.Serial))
}

// controller is the identification of the controller (section 5.15.2.2).
func (d *Device) controller(p []byte) {
	le := binary.LittleEndian
	le.PutUint16(p[0:], vendorID)
	le.PutUint16(p[2:], subsystemVendor)
	pad(p[4:24], d.conf.Serial)
	pad(p[24:64], model)
	pad(p[64:72], firmware)
	p[72] = 6 // commands that are best arbitrated together, as a power of two
	p[77] = d.mdts
	le.PutUint32(p[80:], version)
	le.PutUint32(p[92:], wantNamespace) // events that there are
	p[111] = 1                          // an I/O controller
	p[258] = 3                          // ABORTs at once, less one
	p[259] = d.aerLimit
	p[260] = 0x03 // one slot for firmware, read-only
	p[261] = 0x06 // logs: effects, and offsets
	le.PutUint16(p[266:], warning)
	le.PutUint16(p[268:], critical)
	p[512], p[513] = 0x66, 0x44 // sizes of entries
	le.PutUint32(p[516:], namespaceID)
	le.PutUint16(p[520:], 1<<2|1<<3|1<<6|1<<7) // DATASET MANAGEMENT, WRITE ZEROES, a timestamp, VERIFY
	p[525] = 1 | 3<<1                          // a write cache; all namespaces can be flushed at once
	copy(p[768:1024], "nqn.2014-08.org.nvmexpress:uuid:"+d.uuid().String())
	le.PutUint16(p[2048:], 2500) // its only power state: 25 W
	le.PutUint32(p[2052:], 16)   // us to enter and leave
	le.PutUint32(p[2056:], 4)
}

func pad(p []byte, s string) {
	for i := range p {
		p[i] = ' '
	}
	copy(p, s)
}

// namespace is the identification of the namespace (section 5.15.2.1).
func (d *Device) namespace(p []byte) {
	le := binary.LittleEndian
	n, size := d.blocks(), d.conf.LogicalBlock
	le.PutUint64(p[0:], n)
	le.PutUint64(p[8:], n)
	le.PutUint64(p[16:], n)
	p[24] = 1 << 4   // what is best is told
	p[33] = 1 | 1<<3 // what is deallocated reads as zeroes; WRITE ZEROES can do that
	granularity := max(size, 4096)
	if d.conf.Discard != drive.NoDiscard && d.conf.Discard > 0 {
		granularity = d.conf.Discard
	}
	less := func(v uint64) uint16 { return uint16(min(max(v/size, 1), 1<<16) - 1) }
	le.PutUint16(p[64:], less(max(d.conf.MinIO, d.conf.PhysicalBlock))) // granularity and alignment of writes
	le.PutUint16(p[66:], less(d.conf.PhysicalBlock))
	le.PutUint16(p[68:], less(granularity)) // and of deallocations
	le.PutUint16(p[70:], less(granularity))
	le.PutUint16(p[72:], less(max(d.conf.OptIO, d.conf.MinIO, d.conf.PhysicalBlock))) // the best size of writes
	if d.backend.ReadOnly() {
		p[99] = 1
	}
	p[130] = byte(bits.TrailingZeros64(size))
}
