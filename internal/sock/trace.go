package sock

import "govmd/internal/trace"

// Trace points; see docs/tracing.md.
var (
	traceDial   = trace.New2[string, error]("sock_dial", "address %s error %v")
	traceListen = trace.New2[string, error]("sock_listen", "address %s error %v")
	traceAccept = trace.New1[string]("sock_accept", "listener %s")
)
