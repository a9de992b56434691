package state

import "govmd/internal/trace"

// Trace points; see docs/tracing.md.
var (
	traceSave = trace.New2[string, int]("state_save", "entry %q bytes %d")
	traceLoad = trace.New3[string, int, int]("state_load", "entry %q version %d bytes %d")
)
