package job

import "govmd/internal/trace"

// Trace points; see docs/tracing.md.
var (
	traceStatus = trace.New3[string, Status, Status]("job_status", "job %q from %s to %s")
)
