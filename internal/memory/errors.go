package memory

import "fmt"

// Fault is the reason of an AccessError.
type Fault uint8

// The reasons.
const (
	FaultUnassigned Fault = iota + 1 // nothing is there
	FaultNotRAM                      // a device's registers are there, which DMA does not reach
	FaultReadOnly                    // it is ROM
	FaultCrosses                     // it is not one piece
	FaultDisabled                    // the device may not master its bus
	FaultMisaligned                  // the address is not a multiple of the size
	FaultGone                        // the RAM was unplugged, or its backing file or hugepage is missing
	FaultRange                       // outside the block or window
)

func (f Fault) String() string {
	switch f {
	case FaultUnassigned:
		return "nothing is mapped there"
	case FaultNotRAM:
		return "it is not RAM"
	case FaultReadOnly:
		return "it is read-only"
	case FaultCrosses:
		return "it is not one piece of RAM"
	case FaultDisabled:
		return "bus mastering is off"
	case FaultMisaligned:
		return "the address is not aligned"
	case FaultGone:
		return "the memory behind it is gone"
	case FaultRange:
		return "it is out of range"
	}
	return "unknown fault"
}

// AccessError is why memory could not be accessed. It is the only kind of error
// that accesses return.
type AccessError struct {
	Who   string // the space, DMA space or block
	Addr  uint64 // start of the access
	Size  uint64 // its size in bytes
	Write bool
	Fault Fault
}

func (e *AccessError) Error() string {
	op := "read"
	if e.Write {
		op = "write"
	}
	return fmt.Sprintf("%s: cannot %s %d bytes at %#x: %s", e.Who, op, e.Size, e.Addr, e.Fault)
}

// SizeError is a backing file that is too short.
type SizeError struct {
	File         string
	Size, Needed uint64 // in bytes
}

func (e *SizeError) Error() string {
	return fmt.Sprintf("%s: it has %d bytes, but %d are needed", e.File, e.Size, e.Needed)
}
