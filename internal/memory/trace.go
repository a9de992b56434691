package memory

import "govmd/internal/trace"

// Trace points; see docs/tracing.md.
var (
	traceRead  = trace.New4[string, uint64, int, uint64]("memory_region_ops_read", "region %q addr %#x size %d value %#x")
	traceWrite = trace.New4[string, uint64, int, uint64]("memory_region_ops_write", "region %q addr %#x size %d value %#x")
	traceMap   = trace.New4[string, string, uint64, uint64]("memory_map_change", "region %q %s %#x-%#x")
)

// traceChange reports what changes in a space's map.
func (sp *Space) traceChange(c Change) {
	if !traceMap.On() {
		return
	}
	for _, s := range c.Removed {
		traceMap.Emit(s.Region.name, "removed", s.Addr, s.Last())
	}
	for _, s := range c.Added {
		traceMap.Emit(s.Region.name, "added", s.Addr, s.Last())
	}
}
