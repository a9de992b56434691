package aml

import (
	"encoding/binary"
	"fmt"
)

// A Resource is one resource descriptor (section 6.4).
type Resource []byte

// Resources is a resource template: descriptors and the end tag. The tag's
// checksum byte is 0, which stands for "not computed".
func Resources(list ...Resource) Term {
	var data []byte
	for _, r := range list {
		data = append(data, r...)
	}
	return Buffer(append(data, 0x79, 0))
}

var le = binary.LittleEndian

// IO is a range of length ports whose base lies between low and high, decoded in
// 16 bits.
func IO(low, high uint16, align, length uint8) Resource {
	r := Resource{0x47, 1}
	r = le.AppendUint16(r, low)
	r = le.AppendUint16(r, high)
	return append(r, align, length)
}

// IRQNoFlags is an edge-triggered active-high exclusive ISA interrupt: any one
// of those listed.
func IRQNoFlags(irqs ...uint8) Resource {
	var mask uint16
	for _, n := range irqs {
		mask |= 1 << n
	}
	return le.AppendUint16(Resource{0x22}, mask)
}

// DMA is an ISA DMA channel, any one of those listed: compatibility timing,
// 8-bit transfers, no bus master.
func DMA(channels ...uint8) Resource {
	var mask uint8
	for _, n := range channels {
		mask |= 1 << n
	}
	return Resource{0x2a, mask, 0}
}

// Trigger says how an interrupt is signalled, as bits of its descriptor.
type Trigger uint8

// The bits of Trigger. None of them is: level, active high, exclusive.
const (
	Edge      Trigger = 1 << 1
	ActiveLow Trigger = 1 << 2
	Shared    Trigger = 1 << 3
	WakeUp    Trigger = 1 << 4
)

// InterruptNumberOffset is where in a template whose first descriptor is an
// Interrupt the first interrupt number stands: four bytes.
const InterruptNumberOffset = 5

// Interrupt is an extended interrupt descriptor: any one of the given global
// system interrupts.
func Interrupt(t Trigger, gsis ...uint32) Resource {
	if len(gsis) == 0 || len(gsis) > 255 {
		panic(fmt.Sprintf("aml: interrupt descriptor with %d interrupts", len(gsis)))
	}
	r := Resource{0x89}
	r = le.AppendUint16(r, uint16(2+4*len(gsis)))
	r = append(r, 1|byte(t), byte(len(gsis))) // bit 0: consumer
	for _, n := range gsis {
		r = le.AppendUint32(r, n)
	}
	return r
}

// Memory32Fixed is length bytes of memory at base.
func Memory32Fixed(writable bool, base, length uint32) Resource {
	r := Resource{0x86, 9, 0, 0}
	if writable {
		r[3] = 1
	}
	r = le.AppendUint32(r, base)
	return le.AppendUint32(r, length)
}

// Resource types and flags of address space descriptors (section 6.4.3.5).
const (
	rangeMemory = 0
	rangeIO     = 1
	rangeBus    = 2

	producerFixed = 1<<2 | 1<<3 // both ends fixed; positive decode; producer
	entireRange   = 3           // I/O: ISA and non-ISA addresses
	readWrite     = 1
	cacheable     = 1 << 1
)

func space(tag byte, size int, kind, flags byte, values ...uint64) Resource {
	r := Resource{tag}
	r = le.AppendUint16(r, uint16(3+len(values)*size))
	r = append(r, kind, producerFixed, flags)
	for _, v := range values {
		switch size {
		case 2:
			r = le.AppendUint16(r, uint16(v))
		case 4:
			r = le.AppendUint32(r, uint32(v))
		default:
			r = le.AppendUint64(r, v)
		}
	}
	return r
}

func checkRange(first, last uint64) {
	if last < first {
		panic(fmt.Sprintf("aml: address range %#x-%#x is empty", first, last))
	}
}

// WordBusNumber is a range of bus numbers that a bridge passes on, both ends
// included.
func WordBusNumber(first, last uint16) Resource {
	checkRange(uint64(first), uint64(last))
	return space(0x88, 2, rangeBus, 0, 0, uint64(first), uint64(last), 0, uint64(last)-uint64(first)+1)
}

// WordIO is a range of ports that a bridge passes on, both ends included.
func WordIO(first, last uint16) Resource {
	checkRange(uint64(first), uint64(last))
	return space(0x88, 2, rangeIO, entireRange, 0, uint64(first), uint64(last), 0, uint64(last)-uint64(first)+1)
}

// DWordMemory is a range of memory addresses that a bridge passes on, both ends
// included.
func DWordMemory(caches bool, first, last uint32) Resource {
	checkRange(uint64(first), uint64(last))
	return space(0x87, 4, rangeMemory, memoryFlags(caches), 0, uint64(first), uint64(last), 0, uint64(last)-uint64(first)+1)
}

// QWordMemory is DWordMemory for addresses above 4 GiB.
func QWordMemory(caches bool, first, last uint64) Resource {
	checkRange(first, last)
	return space(0x8a, 8, rangeMemory, memoryFlags(caches), 0, first, last, 0, last-first+1)
}

func memoryFlags(caches bool) byte {
	if caches {
		return readWrite | cacheable
	}
	return readWrite
}
