package pci

import "govmd/internal/trace"

// Trace points; see docs/tracing.md.
var (
	traceRead  = trace.New4[string, int, int, uint32]("pci_cfg_read", "device %s offset %#x size %d value %#x")
	traceWrite = trace.New4[string, int, int, uint32]("pci_cfg_write", "device %s offset %#x size %d value %#x")
	traceMap   = trace.New3[string, int, uint64]("pci_bar_map", "device %s register %#x addr %#x")
	traceUnmap = trace.New3[string, int, uint64]("pci_bar_unmap", "device %s register %#x addr %#x")
)
