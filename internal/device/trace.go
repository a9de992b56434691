package device

import "govmd/internal/trace"

// Trace points; see docs/tracing.md.
var (
	tracePlug   = trace.New2[string, error]("device_plug", "device %s error %v")
	traceUnplug = trace.New1[string]("device_unplug", "device %s")
	traceLine   = trace.New2[string, bool]("device_line", "line %q high %t")
)
