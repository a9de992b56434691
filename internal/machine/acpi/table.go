// Package acpi builds the ACPI tables of the boards (ACPI 6.5): the root
// pointer, RSDT and XSDT, FADT, FACS, DSDT, MADT, HPET and WAET.
//
// NewPC and NewMicroVM describe a machine as a Tables value, in which the tables
// still refer to each other by offset. It becomes guest memory in one of two
// ways: LoaderFiles gives the fw_cfg files from which firmware places and links
// the tables itself; Place does the same for a machine without firmware.
package acpi

import (
	"encoding/binary"
	"fmt"
)

// OEM names whose tables these are. Systems show it, and use it to recognise
// tables with known faults.
type OEM struct {
	ID       string // at most 6 bytes
	TableID  string // at most 8 bytes
	Revision uint32
}

// DefaultOEM is used for what an OEM leaves empty.
var DefaultOEM = OEM{ID: "GOVMD", TableID: "GOVMDPC", Revision: 1}

func (o OEM) withDefaults() (OEM, error) {
	if o.ID == "" {
		o.ID = DefaultOEM.ID
	}
	if o.TableID == "" {
		o.TableID = DefaultOEM.TableID
	}
	if o.Revision == 0 {
		o.Revision = DefaultOEM.Revision
	}
	if len(o.ID) > 6 {
		return o, fmt.Errorf("ACPI OEM id %q has more than 6 characters", o.ID)
	}
	if len(o.TableID) > 8 {
		return o, fmt.Errorf("ACPI OEM table id %q has more than 8 characters", o.TableID)
	}
	return o, nil
}

// Table is one system description table without the header fields that are
// computed.
type Table struct {
	Signature string // 4 bytes
	Revision  uint8
	Body      []byte // what follows the header
}

const (
	headerLen      = 36 // section 5.2.6
	checksumOffset = 9

	creatorID       = "GVMD"
	creatorRevision = 1
)

var le = binary.LittleEndian

// encode puts the header before the body. The checksum is left 0.
func (t Table) encode(oem OEM) []byte {
	b := make([]byte, headerLen, headerLen+len(t.Body))
	copy(b[0:4], t.Signature)
	le.PutUint32(b[4:], uint32(headerLen+len(t.Body)))
	b[8] = t.Revision
	padded(b[10:16], oem.ID)
	padded(b[16:24], oem.TableID)
	le.PutUint32(b[24:], oem.Revision)
	copy(b[28:32], creatorID)
	le.PutUint32(b[32:], creatorRevision)
	return append(b, t.Body...)
}

func padded(dst []byte, s string) {
	for i := copy(dst, s); i < len(dst); i++ {
		dst[i] = ' '
	}
}

// sum adds up bytes: 0 for a table whose checksum is right.
func sum(b []byte) (s byte) {
	for _, c := range b {
		s += c
	}
	return s
}

// addressSpace is the first byte of a generic address structure (5.2.3.2).
type addressSpace byte

const (
	inMemory addressSpace = 0
	inIO     addressSpace = 1
)

// gas is a generic address structure.
type gas struct {
	space  addressSpace
	bits   uint8
	access uint8 // 1 byte, 2 word, 3 dword, 4 qword
	addr   uint64
}

func (g gas) put(b []byte) {
	b[0], b[1], b[2], b[3] = byte(g.space), g.bits, 0, g.access
	le.PutUint64(b[4:], g.addr)
}
