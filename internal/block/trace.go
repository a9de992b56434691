package block

import "govmd/internal/trace"

// Trace points; see docs/tracing.md.
var (
	traceOpen   = trace.New3[string, string, error]("block_node_open", "node %q driver %s error %v")
	traceClose  = trace.New1[string]("block_node_close", "node %q")
	traceSubmit = trace.New4[*Request, Op, int64, int64]("block_request_submit", "request %p op %v offset %d length %d")
	traceDone   = trace.New2[*Request, error]("block_request_done", "request %p error %v")
)
