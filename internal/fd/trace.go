package fd

import "govmd/internal/trace"

// Trace points; see docs/tracing.md.
var (
	traceName      = trace.New3[uint64, string, int]("fd_name", "session %d name %q fd %d")
	traceTake      = trace.New3[uint64, string, int]("fd_take", "session %d name %q fd %d")
	traceSetAdd    = trace.New2[int, int]("fd_set_add", "set %d fd %d")
	traceSetRemove = trace.New1[string]("fd_set_remove", "%s")
)
