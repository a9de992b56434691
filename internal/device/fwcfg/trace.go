package fwcfg

import "govmd/internal/trace"

// Trace points; see docs/tracing.md.
var (
	traceSelect = trace.New1[uint16]("fw_cfg_select", "key %#x")
	traceDMA    = trace.New2[uint32, uint64]("fw_cfg_dma", "control %#x address %#x")
)
