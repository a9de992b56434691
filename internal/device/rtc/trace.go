package rtc

import "govmd/internal/trace"

// Trace points; see docs/tracing.md.
var (
	traceRead  = trace.New1[uint8]("rtc_read", "register %#x")
	traceWrite = trace.New2[uint8, uint8]("rtc_write", "register %#x value %#x")
	traceSet   = trace.New2[int64, int64]("rtc_set_time", "seconds %d offset %d")
)
