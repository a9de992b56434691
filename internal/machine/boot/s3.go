package boot

import (
	"errors"
	"fmt"
	"io"
)

// The firmware ACPI control structure, as far as waking up needs it (ACPI 6.5,
// section 5.2.10).
const (
	facsLen      = 64
	facsVector   = 12
	facsVector64 = 24
	facsVersion  = 32
)

// ErrNoVector says that the guest has left no address to be woken at.
var ErrNoVector = errors.New("the guest has set no ACPI waking vector")

// Wake returns the state in which the first processor goes on after suspend to
// RAM: what the guest has put into the FACS at addr. Memory stays as it is.
//
// A vector of 32 bits is entered in real mode, one of 64 bits in protected mode
// with paging off and segments that cover everything. 64-bit mode is not
// offered by the tables, since it would need page tables in the guest's memory.
func Wake(mem io.ReaderAt, addr uint64) (*Entry, error) {
	b := make([]byte, facsLen)
	if _, err := mem.ReadAt(b, int64(addr)); err != nil {
		return nil, fmt.Errorf("no FACS at %#x: %w", addr, err)
	}
	if n := le.Uint32(b[4:]); string(b[:4]) != "FACS" || n < facsLen {
		return nil, fmt.Errorf("no FACS at %#x: the guest has overwritten it", addr)
	}
	if long := le.Uint64(b[facsVector64:]); long != 0 && b[facsVersion] >= 1 {
		if long >= fourGiB {
			return nil, fmt.Errorf("ACPI waking vector %#x is not below 4 GiB", long)
		}
		e := protected32(long, 0)
		// Nothing of the guest's may be used: it has no stack and no table.
		e.RSP, e.GDT = 0, TableRegister{}
		return &e, nil
	}
	short := le.Uint32(b[facsVector:])
	switch {
	case short == 0:
		return nil, ErrNoVector
	case short >= oneMiB:
		return nil, fmt.Errorf("ACPI waking vector %#x is not below 1 MiB", short)
	}
	e := realMode(short)
	return &e, nil
}
