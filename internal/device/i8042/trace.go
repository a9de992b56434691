package i8042

import "govmd/internal/trace"

// Trace points; see docs/tracing.md.
var (
	traceCommand = trace.New1[uint8]("i8042_command", "command %#x")
)
