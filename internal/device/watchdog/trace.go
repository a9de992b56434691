package watchdog

import (
	"time"

	"govmd/internal/trace"
)

// Trace points; see docs/tracing.md.
var (
	traceStart   = trace.New2[string, time.Duration]("watchdog_start", "%s: %s")
	traceExpired = trace.New1[string]("watchdog_expired", "%s")
)
