package serial

import "govmd/internal/trace"

// Trace points; see docs/tracing.md.
var (
	traceRead  = trace.New2[uint64, uint64]("serial_read", "register %d value %#x")
	traceWrite = trace.New2[uint64, uint64]("serial_write", "register %d value %#x")
)
