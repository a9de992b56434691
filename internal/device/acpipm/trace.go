package acpipm

import "govmd/internal/trace"

// Trace points; see docs/tracing.md.
var (
	traceWrite = trace.New3[uint64, int, uint64]("acpi_pm_write", "offset %#x size %d value %#x")
	traceGPE   = trace.New1[int]("acpi_gpe_raise", "event %d")
)
