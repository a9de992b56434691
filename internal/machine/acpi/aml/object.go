package aml

import (
	"encoding/binary"
	"fmt"
)

// Name declares an object and its value.
func Name(path string, value Term) Term {
	return Join(Term{opName}, Ref(path), value)
}

// Scope adds objects to a scope that exists already.
func Scope(path string, body ...Term) Term {
	return pkg(Term{opScope}, Ref(path), Join(body...))
}

// Device declares a device and what belongs to it.
func Device(path string, body ...Term) Term {
	return pkg(Term{opExt, 0x82}, Ref(path), Join(body...))
}

// Processor declares a processor object, the form that systems older than ACPI
// 6.0 understand. It has no register block.
func Processor(path string, id uint8, body ...Term) Term {
	return pkg(Term{opExt, 0x83}, Ref(path), Term{id, 0, 0, 0, 0, 0}, Join(body...))
}

// Method declares a control method that takes argc arguments, 0 to 7. A method
// that creates named objects has to be serialized.
func Method(path string, argc int, serialized bool, body ...Term) Term {
	if argc < 0 || argc > 7 {
		panic(fmt.Sprintf("aml: method %s with %d arguments", path, argc))
	}
	flags := byte(argc)
	if serialized {
		flags |= 1 << 3
	}
	return pkg(Term{opMethod}, Ref(path), Term{flags}, Join(body...))
}

// Mutex declares a mutex of sync level 0.
func Mutex(path string) Term {
	return Join(Term{opExt, 0x01}, Ref(path), Term{0})
}

// RegionSpace is the address space of an operation region.
type RegionSpace byte

// The address spaces in use.
const (
	SystemMemory RegionSpace = 0
	SystemIO     RegionSpace = 1
	PCIConfig    RegionSpace = 2
)

// OpRegion declares an operation region of length bytes at offset.
func OpRegion(path string, space RegionSpace, offset, length uint64) Term {
	return Join(Term{opExt, 0x80}, Ref(path), Term{byte(space)}, Int(offset), Int(length))
}

// FieldAccess is the width in which the fields of a region are read and written.
type FieldAccess byte

// The access widths.
const (
	AnyAccess   FieldAccess = 0
	ByteAccess  FieldAccess = 1
	WordAccess  FieldAccess = 2
	DWordAccess FieldAccess = 3
	QWordAccess FieldAccess = 4
)

// FieldUpdate says what is written to those bits of an access unit that the
// field does not cover.
type FieldUpdate byte

// The update rules.
const (
	Preserve     FieldUpdate = 0
	WriteAsOnes  FieldUpdate = 1
	WriteAsZeros FieldUpdate = 2
)

// A FieldUnit is one element of a field list.
type FieldUnit struct {
	name string // empty: a gap
	bits int
}

// Bits is a named field of n bits.
func Bits(name string, n int) FieldUnit { return FieldUnit{name, n} }

// Gap skips n bits.
func Gap(n int) FieldUnit { return FieldUnit{"", n} }

// Field declares the fields of a region, from bit 0 upwards.
func Field(region string, access FieldAccess, update FieldUpdate, units ...FieldUnit) Term {
	body := Join(Ref(region), Term{byte(access) | byte(update)<<5})
	for _, u := range units {
		if u.name == "" {
			body = append(body, 0)
		} else {
			body = append(body, nameSeg(u.name)...)
		}
		body = append(body, fieldLength(u.bits)...)
	}
	return pkg(Term{opExt, 0x81}, body)
}

// CreateDWordField declares name as the 32 bits at a byte offset in a buffer.
func CreateDWordField(buffer Term, offset int, name string) Term {
	return Join(Term{0x8a}, buffer, Int(uint64(offset)), Ref(name))
}

// CreateQWordField declares name as the 64 bits at a byte offset in a buffer.
func CreateQWordField(buffer Term, offset int, name string) Term {
	return Join(Term{0x8f}, buffer, Int(uint64(offset)), Ref(name))
}

// UUID is a buffer that holds a UUID in the byte order of ToUUID (section
// 19.6.142): the first three groups are little-endian. Each byte of id is one
// byte of the text form.
func UUID(id [16]byte) Term {
	out := make([]byte, 0, 16)
	out = binary.LittleEndian.AppendUint32(out, binary.BigEndian.Uint32(id[0:]))
	out = binary.LittleEndian.AppendUint16(out, binary.BigEndian.Uint16(id[4:]))
	out = binary.LittleEndian.AppendUint16(out, binary.BigEndian.Uint16(id[6:]))
	return Buffer(append(out, id[8:]...))
}
