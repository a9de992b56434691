package boot

import (
	"fmt"

	"govmd/internal/machine/acpi"
	"govmd/internal/machine/smbios"
)

// Tables is where the tables of a machine without firmware are.
type Tables struct {
	Segments []Segment
	RSDP     uint64
	FACS     uint64 // 0 for none
}

// The BIOS area as the tables share it: ACPI below, SMBIOS above; each root
// first.
const (
	rsdpAddr        = biosAddr
	acpiTablesAddr  = biosAddr + 0x40
	smbiosAddr      = 0xf0000
	smbiosTableAddr = smbiosAddr + 0x20
	resetVector     = 0xffff0
)

// ResetStub is what belongs at the reset vector where there is no firmware.
// Kernels jump there in real mode when they know no better way to restart, as
// Linux does on hardware-reduced ACPI: with no interrupt vectors the undefined
// instruction is a triple fault, which resets the machine.
func ResetStub() Segment {
	code := []byte{
		0x2e, 0x0f, 0x01, 0x1e, 0xf8, 0xff, // lidt cs:[0xfff8]
		0x0f, 0x0b, // ud2
		0, 0, 0, 0, 0, 0, // limit 0, base 0
	}
	return Segment{Name: "reset vector", Addr: resetVector, Size: uint64(len(code)), Data: code}
}

// PlaceTables puts the tables into the BIOS area, 0xe0000-0xfffff, which has to
// be writable RAM (the guest writes its waking vector there). Those too large
// for it go to the end of RAM below 4 GiB, and are entered in the map. Either
// set may be nil.
func PlaceTables(m *MemoryMap, a *acpi.Tables, s *smbios.Tables) (*Tables, error) {
	t := &Tables{}
	add := func(name string, addr uint64, b []byte) {
		t.Segments = append(t.Segments, Segment{Name: name, Addr: addr, Size: uint64(len(b)), Data: b})
	}
	at := func(what string, addr, end uint64, size int, kind MemoryType) (uint64, error) {
		if addr+uint64(size) <= end {
			return addr, nil
		}
		high, ok := m.highest(uint64(size), pageSize, fourGiB)
		if !ok || high < oneMiB {
			return 0, fmt.Errorf("%s tables (%d bytes) do not fit in RAM", what, size)
		}
		// In whole pages, so that what is beside them stays usable.
		m.Set(high, (uint64(size)+pageSize-1)&^(pageSize-1), kind)
		return high, nil
	}
	if a != nil {
		addr, err := at("ACPI", acpiTablesAddr, smbiosAddr, a.Size(), ACPIData)
		if err != nil {
			return nil, err
		}
		p, err := a.Place(addr, rsdpAddr)
		if err != nil {
			return nil, err
		}
		add("ACPI root pointer", p.RSDPAddr, p.RSDP)
		add("ACPI tables", p.TablesAddr, p.Tables)
		t.RSDP, t.FACS = p.RSDPAddr, p.FACSAddr
	}
	if s != nil {
		addr, err := at("SMBIOS", smbiosTableAddr, resetVector, s.Size(), Reserved)
		if err != nil {
			return nil, err
		}
		p, err := s.Place(smbiosAddr, addr)
		if err != nil {
			return nil, err
		}
		add("SMBIOS entry point", p.AnchorAddr, p.Anchor)
		add("SMBIOS table", p.TableAddr, p.Table)
	}
	return t, nil
}
