package pvpanic

import "govmd/internal/trace"

// Trace points; see docs/tracing.md.
var (
	traceEvent = trace.New1[uint64]("pvpanic_event", "event %#x")
)
