package lane

import "govmd/internal/trace"

// Trace points; see docs/tracing.md.
var (
	tracePost  = trace.New1[int]("lane_post", "length %d")
	traceTask  = trace.New0("lane_task", "scheduled")
	traceClose = trace.New0("lane_close", "no more functions are taken")
)
