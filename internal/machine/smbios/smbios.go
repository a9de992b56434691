// Package smbios builds the System Management BIOS tables (DMTF DSP0134, 2.8
// and 3.0) by which a machine tells its guests what it is: its maker and serial
// numbers, its processors and memory.
//
// A Config has what the machine knows; what the user asked for with -smbios is
// added by Config.Add. Build encodes both as Tables, which become guest memory
// in one of two ways: Files gives the fw_cfg files for firmware, Place an entry
// point and a table for fixed addresses.
package smbios

import (
	"encoding/binary"
	"fmt"
)

var le = binary.LittleEndian

// EntryPoint is the form of the structure by which systems find the table.
type EntryPoint int

// The entry points.
const (
	Entry32 EntryPoint = iota // 2.8: a table of at most 64 KiB below 4 GiB
	Entry64                   // 3.0
)

// Range is a range of guest-physical RAM.
type Range struct{ Base, Size uint64 }

// Config is what goes into the tables.
type Config struct {
	Entry EntryPoint

	// UUID is the machine's, in the order of its text form; all zero is none.
	UUID [16]byte

	// What the machine is called, where the user says nothing else.
	Manufacturer, Product, Version string

	// BIOS has the tables say something about firmware even if the user did
	// not ask: for machines without. Firmware adds its own.
	BIOS bool

	// Sockets, and Cores and Threads (all of a socket's) in each.
	Sockets, Cores, Threads int
	// ProcessorID is what CPUID leaf 1 returns in EAX (low half) and EDX.
	ProcessorID uint64

	// Memory are the ranges of RAM from address 0 on.
	Memory []Range

	// PCIDevice finds a device by its id for the user's type 41 entries.
	PCIDevice func(id string) (bus, devfn uint8, ok bool)

	user options
}

// Tables are encoded structures and the entry point to them, without addresses.
type Tables struct {
	entry EntryPoint
	table []byte
	count int
	max   int // size of the largest structure
}

// The fw_cfg files from which firmware sets the tables up.
const (
	TableFile  = "etc/smbios/smbios-tables"
	AnchorFile = "etc/smbios/smbios-anchor"
)

// File is a fw_cfg file.
type File struct {
	Name string
	Data []byte
}

// Files returns the fw_cfg files for a machine that starts firmware, which
// copies the table, and puts its address and new checksums into the anchor.
func (t *Tables) Files() []File {
	return []File{{TableFile, append([]byte(nil), t.table...)}, {AnchorFile, t.anchor(0)}}
}

// Size is how many bytes of memory the table takes.
func (t *Tables) Size() int { return len(t.table) }

// The part of the BIOS area in which systems look for the entry point.
const (
	searchFirst = 0xf0000
	searchLast  = 0xfffff
)

// Placed is the entry point and the table, made for fixed addresses.
type Placed struct {
	AnchorAddr uint64
	Anchor     []byte
	TableAddr  uint64
	Table      []byte
}

// Place makes the entry point for a machine without firmware: at anchor, within
// 0xf0000-0xfffff and on a 16-byte boundary, where systems search for it; the
// table at an address below 4 GiB.
func (t *Tables) Place(anchor, table uint64) (Placed, error) {
	a := t.anchor(table)
	p := Placed{anchor, a, table, append([]byte(nil), t.table...)}
	anchorEnd, tableEnd := anchor+uint64(len(a)), table+uint64(len(t.table))
	switch {
	case anchor < searchFirst || anchor > searchLast || anchorEnd > searchLast+1 || anchor%16 != 0:
		return p, fmt.Errorf("SMBIOS entry point cannot be at %#x: it has to be 16-byte aligned within %#x-%#x",
			anchor, searchFirst, searchLast)
	case table == 0 || tableEnd > 1<<32 || tableEnd < table:
		return p, fmt.Errorf("SMBIOS table (%d bytes) cannot be at %#x: not below 4 GiB", len(t.table), table)
	case table < anchorEnd && anchor < tableEnd:
		return p, fmt.Errorf("SMBIOS table and entry point overlap")
	}
	return p, nil
}

// anchor is the entry point structure for a table at addr (sections 5.2.1 and
// 5.2.2).
func (t *Tables) anchor(addr uint64) []byte {
	if t.entry == Entry64 {
		b := make([]byte, 24)
		copy(b, "_SM3_")
		b[6], b[7], b[8], b[10] = 24, 3, 0, 1
		le.PutUint32(b[12:], uint32(len(t.table)))
		le.PutUint64(b[16:], addr)
		b[5] = -sum(b)
		return b
	}
	b := make([]byte, 31)
	copy(b, "_SM_")
	b[5], b[6], b[7] = 31, 2, 8
	le.PutUint16(b[8:], uint16(t.max))
	copy(b[16:], "_DMI_")
	le.PutUint16(b[22:], uint16(len(t.table)))
	le.PutUint32(b[24:], uint32(addr))
	le.PutUint16(b[28:], uint16(t.count))
	b[30] = 0x28
	b[21] = -sum(b[16:])
	b[4] = -sum(b)
	return b
}

func sum(b []byte) (s byte) {
	for _, c := range b {
		s += c
	}
	return s
}
