package chardev

import "govmd/internal/trace"

// Trace points; see docs/tracing.md.
var (
	traceOpen      = trace.New2[string, string]("chardev_open", "id %q kind %s")
	traceClose     = trace.New1[string]("chardev_close", "id %q")
	traceConnected = trace.New2[string, bool]("chardev_connected", "id %q connected %t")
	traceInput     = trace.New2[string, int]("chardev_input", "id %q bytes %d")
	traceOutput    = trace.New2[string, int]("chardev_output", "id %q bytes %d")
	traceEvent     = trace.New2[string, Event]("chardev_event", "id %q event %v")
)
