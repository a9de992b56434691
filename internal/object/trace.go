package object

import "govmd/internal/trace"

// Trace points; see docs/tracing.md.
var (
	traceAdd    = trace.New2[string, string]("object_add", "type %s path %s")
	traceRemove = trace.New2[string, string]("object_remove", "type %s path %s")
)
