package server

import (
	"govmd/internal/block/nbd/wire"
	"govmd/internal/trace"
)

// Trace points; see docs/tracing.md.
var (
	traceConnect    = trace.New1[string]("nbd_server_connect", "client %q")
	traceNegotiated = trace.New3[string, bool, error]("nbd_server_negotiated", "export %q structured %v error %v")
	traceRequest    = trace.New4[wire.Command, uint16, uint64, uint32]("nbd_server_request", "command %d flags 0x%x offset %d length %d")
)
