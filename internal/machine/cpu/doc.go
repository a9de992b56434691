// Package cpu decides what processor a guest sees: CPU models and their
// features (-cpu), CPUID leaves and topology, the registers after a reset and at
// a direct entry, and what makes up a vCPU's saved state.
//
// The order of use: Parse reads the option; Resolve matches it with what the
// host's KVM can do, which gives a Model for all vCPUs; Prepare gets the machine
// ready and gives a Set; Set.Setup turns each new kvm.VCPU into a VCPU that can
// be reset, saved, loaded and sent to an entry point.
//
// Leaves and registers are those of Intel's Software Developer's Manual (SDM)
// and AMD's Architecture Programmer's Manual (APM).
package cpu
