package kvm

import "govmd/internal/trace"

// Trace points; see docs/tracing.md.
var (
	traceExit = trace.NewVCPU1[Exit]("kvm_exit", "vcpu %d reason %s")
	traceIO   = trace.NewVCPU3[uint16, int, string]("kvm_io", "vcpu %d port %#x size %d %s")
	traceMMIO = trace.NewVCPU3[uint64, int, string]("kvm_mmio", "vcpu %d addr %#x size %d %s")
	traceStop = trace.NewVCPU1[string]("kvm_stop", "vcpu %d %s")
	traceKick = trace.New1[string]("kvm_kick", "thread %s")
)
