package runstate

import "govmd/internal/trace"

// Trace points; see docs/tracing.md.
var (
	traceState   = trace.New2[State, State]("runstate_set", "from %s to %s")
	traceRequest = trace.New0("runstate_request", "a request is to be served")
	traceReset   = trace.New1[Cause]("runstate_reset", "cause %s")
	traceEnd     = trace.New1[Cause]("runstate_end", "cause %s")
)
