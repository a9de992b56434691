package acpi

import (
	"errors"
	"fmt"
)

// Tables is a complete set of ACPI tables. It does not change once built.
type Tables struct {
	blob  []byte // every table but the root pointer
	rsdp  []byte
	links []link
	sums  []span
	facs  int // offset in blob, -1 for none
}

// link is a pointer to blob[target], in blob or, with inRSDP, in rsdp.
type link struct {
	inRSDP           bool
	at, size, target int
}

// span is a range of bytes that add up to 0 by means of the byte at.
type span struct {
	inRSDP            bool
	start, length, at int
}

// builder collects tables.
type builder struct {
	oem  OEM
	t    Tables
	root []int // offsets of the tables that RSDT and XSDT list
}

// tableAlign is the alignment of each table in the blob, facsAlign that of the
// FACS (section 5.2.10) and so of the blob.
const (
	tableAlign = 16
	facsAlign  = 64
)

func (b *builder) align(n int) {
	for len(b.t.blob)%n != 0 {
		b.t.blob = append(b.t.blob, 0)
	}
}

// add appends a table and returns its offset.
func (b *builder) add(t Table) int {
	b.align(tableAlign)
	at := len(b.t.blob)
	b.t.blob = append(b.t.blob, t.encode(b.oem)...)
	b.t.sums = append(b.t.sums, span{start: at, length: len(b.t.blob) - at, at: at + checksumOffset})
	return at
}

// addListed appends a table that the root table lists.
func (b *builder) addListed(t Table) int {
	at := b.add(t)
	b.root = append(b.root, at)
	return at
}

// addFACS appends the firmware control structure, which has no header of the
// usual form and no checksum.
func (b *builder) addFACS() int {
	b.align(facsAlign)
	b.t.facs = len(b.t.blob)
	facs := make([]byte, facsLen)
	copy(facs, "FACS")
	le.PutUint32(facs[4:], facsLen)
	facs[facsVersionOffset] = 2
	b.t.blob = append(b.t.blob, facs...)
	return b.t.facs
}

func (b *builder) point(at, size, target int) {
	b.t.links = append(b.t.links, link{at: at, size: size, target: target})
}

// finish adds the root tables and the root pointer. With xsdt the root pointer
// is of revision 2 and refers to both, else it is of revision 0 and has the
// RSDT alone.
func (b *builder) finish(xsdt bool) *Tables {
	list := func(signature string, size int) int {
		at := b.add(Table{signature, 1, make([]byte, size*len(b.root))})
		for i, target := range b.root {
			b.point(at+headerLen+i*size, size, target)
		}
		return at
	}
	rsdp := make([]byte, rsdp1Len, rsdp2Len)
	copy(rsdp, "RSD PTR ")
	padded(rsdp[9:15], b.oem.ID)
	b.t.links = append(b.t.links, link{true, rsdpRSDT, 4, list("RSDT", 4)})
	b.t.sums = append(b.t.sums, span{true, 0, rsdp1Len, rsdpChecksum})
	if xsdt {
		rsdp = rsdp[:rsdp2Len]
		rsdp[15] = 2
		le.PutUint32(rsdp[20:], rsdp2Len)
		b.t.links = append(b.t.links, link{true, rsdpXSDT, 8, list("XSDT", 8)})
		b.t.sums = append(b.t.sums, span{true, 0, rsdp2Len, rsdpExtendedChecksum})
	}
	b.t.rsdp = rsdp
	return &b.t
}

// The root system description pointer (section 5.2.5.3).
const (
	rsdp1Len             = 20
	rsdp2Len             = 36
	rsdpChecksum         = 8
	rsdpRSDT             = 16
	rsdpXSDT             = 24
	rsdpExtendedChecksum = 32
)

// The firmware ACPI control structure (section 5.2.10).
const (
	facsLen           = 64
	facsVersionOffset = 32
)

// Size returns how many bytes Place needs for the tables, the root pointer not
// counted. They have to be aligned to 64 bytes.
func (t *Tables) Size() int { return len(t.blob) }

// Placed is a set of tables made for fixed addresses: what to copy where.
type Placed struct {
	TablesAddr uint64
	Tables     []byte
	RSDPAddr   uint64
	RSDP       []byte
	FACSAddr   uint64 // 0 where there is no FACS, as on hardware-reduced machines
}

// The part of the BIOS area in which systems look for the root pointer.
const (
	searchFirst = 0xe0000
	searchLast  = 0xfffff
)

// Place links the tables for a machine without firmware: the root pointer at
// rsdp, within 0xe0000-0xfffff and on a 16-byte boundary, where systems search
// for it; the others at tables, on a 64-byte boundary below 4 GiB.
func (t *Tables) Place(tables, rsdp uint64) (Placed, error) {
	p := Placed{TablesAddr: tables, RSDPAddr: rsdp}
	rsdpEnd := rsdp + uint64(len(t.rsdp))
	tablesEnd := tables + uint64(len(t.blob))
	switch {
	case rsdp < searchFirst || rsdp > searchLast || rsdpEnd > searchLast+1 || rsdp%16 != 0:
		return p, fmt.Errorf("ACPI root pointer cannot be at %#x: it has to be 16-byte aligned within %#x-%#x",
			rsdp, searchFirst, searchLast)
	case tables%facsAlign != 0:
		return p, fmt.Errorf("ACPI tables cannot be at %#x: not %d-byte aligned", tables, facsAlign)
	case tables == 0 || tablesEnd > 1<<32 || tablesEnd < tables:
		return p, fmt.Errorf("ACPI tables (%d bytes) cannot be at %#x: not below 4 GiB", len(t.blob), tables)
	case tables < rsdpEnd && rsdp < tablesEnd:
		return p, errors.New("ACPI tables and root pointer overlap")
	}
	p.Tables = append([]byte(nil), t.blob...)
	p.RSDP = append([]byte(nil), t.rsdp...)
	in := func(inRSDP bool) []byte {
		if inRSDP {
			return p.RSDP
		}
		return p.Tables
	}
	for _, l := range t.links {
		field := in(l.inRSDP)[l.at:]
		le.PutUint32(field, uint32(tables)+uint32(l.target)) // an 8-byte field's upper half stays 0
	}
	for _, s := range t.sums {
		b := in(s.inRSDP)
		b[s.at] -= sum(b[s.start : s.start+s.length])
	}
	if t.facs >= 0 {
		p.FACSAddr = tables + uint64(t.facs)
	}
	return p, nil
}
