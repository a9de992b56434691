package kvm

import (
	"fmt"
	"strings"
)

// Cap is the number of a KVM capability.
type Cap uint32

// Capabilities that govmd knows by name.
const (
	CapIRQChip                Cap = 0
	CapHLT                    Cap = 1
	CapUserMemory             Cap = 3
	CapSetTSSAddr             Cap = 4
	CapExtCPUID               Cap = 7
	CapClockSource            Cap = 8
	CapNrVCPUs                Cap = 9
	CapNrMemSlots             Cap = 10
	CapMPState                Cap = 14
	CapCoalescedMMIO          Cap = 15
	CapSyncMMU                Cap = 16
	CapDestroyMemRegionWorks  Cap = 21
	CapUserNMI                Cap = 22
	CapSetGuestDebug          Cap = 23
	CapReinjectControl        Cap = 24
	CapIRQRouting             Cap = 25
	CapJoinMemoryRegionsWorks Cap = 30
	CapMCE                    Cap = 31
	CapIRQFD                  Cap = 32
	CapPIT2                   Cap = 33
	CapPITState2              Cap = 35
	CapIOEventFD              Cap = 36
	CapSetIdentityMapAddr     Cap = 37
	CapAdjustClock            Cap = 39
	CapInternalErrorData      Cap = 40
	CapVCPUEvents             Cap = 41
	CapDebugRegs              Cap = 50
	CapEnableCap              Cap = 54
	CapXSave                  Cap = 55
	CapXCRs                   Cap = 56
	CapTSCControl             Cap = 60
	CapGetTSCKHz              Cap = 61
	CapMaxVCPUs               Cap = 66
	CapTSCDeadlineTimer       Cap = 72
	CapKVMClockCtrl           Cap = 76
	CapSignalMSI              Cap = 77
	CapReadonlyMem            Cap = 81
	CapIRQFDResample          Cap = 82
	CapEnableCapVM            Cap = 98
	CapIOEventFDNoLength      Cap = 100
	CapCheckExtensionVM       Cap = 105
	CapX86SMM                 Cap = 117
	CapSplitIRQChip           Cap = 121
	CapIOEventFDAnyLength     Cap = 122
	CapVCPUAttributes         Cap = 127
	CapMaxVCPUID              Cap = 128
	CapX2APICAPI              Cap = 129
	CapImmediateExit          Cap = 136
	CapX86DisableExits        Cap = 143
	CapGetMSRFeatures         Cap = 153
	CapNestedState            Cap = 157
	CapExceptionPayload       Cap = 164
	CapManualDirtyLogProtect2 Cap = 168
	CapHaltPoll               Cap = 182
	CapX86UserSpaceMSR        Cap = 188
	CapEnforcePVFeatureCPUID  Cap = 190
	CapDirtyLogRing           Cap = 192
	CapSregs2                 Cap = 200
	CapExitHypercall          Cap = 201
	CapExitOnEmulationFailure Cap = 204
	CapXSave2                 Cap = 208
	CapPMUCapability          Cap = 212
	CapVMTSCControl           Cap = 214
	CapTripleFaultEvent       Cap = 218
	CapDirtyLogRingAcqRel     Cap = 223
)

var capNames = map[Cap]string{
	CapIRQChip:                "KVM_CAP_IRQCHIP",
	CapHLT:                    "KVM_CAP_HLT",
	CapUserMemory:             "KVM_CAP_USER_MEMORY",
	CapSetTSSAddr:             "KVM_CAP_SET_TSS_ADDR",
	CapExtCPUID:               "KVM_CAP_EXT_CPUID",
	CapClockSource:            "KVM_CAP_CLOCKSOURCE",
	CapNrVCPUs:                "KVM_CAP_NR_VCPUS",
	CapNrMemSlots:             "KVM_CAP_NR_MEMSLOTS",
	CapMPState:                "KVM_CAP_MP_STATE",
	CapCoalescedMMIO:          "KVM_CAP_COALESCED_MMIO",
	CapSyncMMU:                "KVM_CAP_SYNC_MMU",
	CapDestroyMemRegionWorks:  "KVM_CAP_DESTROY_MEMORY_REGION_WORKS",
	CapUserNMI:                "KVM_CAP_USER_NMI",
	CapSetGuestDebug:          "KVM_CAP_SET_GUEST_DEBUG",
	CapReinjectControl:        "KVM_CAP_REINJECT_CONTROL",
	CapIRQRouting:             "KVM_CAP_IRQ_ROUTING",
	CapJoinMemoryRegionsWorks: "KVM_CAP_JOIN_MEMORY_REGIONS_WORKS",
	CapMCE:                    "KVM_CAP_MCE",
	CapIRQFD:                  "KVM_CAP_IRQFD",
	CapPIT2:                   "KVM_CAP_PIT2",
	CapPITState2:              "KVM_CAP_PIT_STATE2",
	CapIOEventFD:              "KVM_CAP_IOEVENTFD",
	CapSetIdentityMapAddr:     "KVM_CAP_SET_IDENTITY_MAP_ADDR",
	CapAdjustClock:            "KVM_CAP_ADJUST_CLOCK",
	CapInternalErrorData:      "KVM_CAP_INTERNAL_ERROR_DATA",
	CapVCPUEvents:             "KVM_CAP_VCPU_EVENTS",
	CapDebugRegs:              "KVM_CAP_DEBUGREGS",
	CapEnableCap:              "KVM_CAP_ENABLE_CAP",
	CapXSave:                  "KVM_CAP_XSAVE",
	CapXCRs:                   "KVM_CAP_XCRS",
	CapTSCControl:             "KVM_CAP_TSC_CONTROL",
	CapGetTSCKHz:              "KVM_CAP_GET_TSC_KHZ",
	CapMaxVCPUs:               "KVM_CAP_MAX_VCPUS",
	CapTSCDeadlineTimer:       "KVM_CAP_TSC_DEADLINE_TIMER",
	CapKVMClockCtrl:           "KVM_CAP_KVMCLOCK_CTRL",
	CapSignalMSI:              "KVM_CAP_SIGNAL_MSI",
	CapReadonlyMem:            "KVM_CAP_READONLY_MEM",
	CapIRQFDResample:          "KVM_CAP_IRQFD_RESAMPLE",
	CapEnableCapVM:            "KVM_CAP_ENABLE_CAP_VM",
	CapIOEventFDNoLength:      "KVM_CAP_IOEVENTFD_NO_LENGTH",
	CapCheckExtensionVM:       "KVM_CAP_CHECK_EXTENSION_VM",
	CapX86SMM:                 "KVM_CAP_X86_SMM",
	CapSplitIRQChip:           "KVM_CAP_SPLIT_IRQCHIP",
	CapIOEventFDAnyLength:     "KVM_CAP_IOEVENTFD_ANY_LENGTH",
	CapVCPUAttributes:         "KVM_CAP_VCPU_ATTRIBUTES",
	CapMaxVCPUID:              "KVM_CAP_MAX_VCPU_ID",
	CapX2APICAPI:              "KVM_CAP_X2APIC_API",
	CapImmediateExit:          "KVM_CAP_IMMEDIATE_EXIT",
	CapX86DisableExits:        "KVM_CAP_X86_DISABLE_EXITS",
	CapGetMSRFeatures:         "KVM_CAP_GET_MSR_FEATURES",
	CapNestedState:            "KVM_CAP_NESTED_STATE",
	CapExceptionPayload:       "KVM_CAP_EXCEPTION_PAYLOAD",
	CapManualDirtyLogProtect2: "KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2",
	CapHaltPoll:               "KVM_CAP_HALT_POLL",
	CapX86UserSpaceMSR:        "KVM_CAP_X86_USER_SPACE_MSR",
	CapEnforcePVFeatureCPUID:  "KVM_CAP_ENFORCE_PV_FEATURE_CPUID",
	CapDirtyLogRing:           "KVM_CAP_DIRTY_LOG_RING",
	CapSregs2:                 "KVM_CAP_SREGS2",
	CapExitHypercall:          "KVM_CAP_EXIT_HYPERCALL",
	CapExitOnEmulationFailure: "KVM_CAP_EXIT_ON_EMULATION_FAILURE",
	CapXSave2:                 "KVM_CAP_XSAVE2",
	CapPMUCapability:          "KVM_CAP_PMU_CAPABILITY",
	CapVMTSCControl:           "KVM_CAP_VM_TSC_CONTROL",
	CapTripleFaultEvent:       "KVM_CAP_X86_TRIPLE_FAULT_EVENT",
	CapDirtyLogRingAcqRel:     "KVM_CAP_DIRTY_LOG_RING_ACQ_REL",
}

// String returns the kernel's name of the capability.
func (c Cap) String() string {
	if s, ok := capNames[c]; ok {
		return s
	}
	return fmt.Sprintf("KVM_CAP_%d", uint32(c))
}

// Need is a capability together with what it is needed for, in words that
// complete "needed for".
type Need struct {
	Cap Cap
	For string
}

// Basics are the capabilities without which this package cannot run a vCPU.
var Basics = []Need{
	{CapUserMemory, "guest memory"},
	{CapDestroyMemRegionWorks, "changing the memory map"},
	{CapJoinMemoryRegionsWorks, "changing the memory map"},
	{CapSyncMMU, "guest memory that the host may page"},
	{CapExtCPUID, "CPU models"},
	{CapMPState, "resetting and saving vCPUs"},
	{CapVCPUEvents, "saving vCPUs"},
	{CapImmediateExit, "pausing vCPUs"},
	{CapInternalErrorData, "reporting what KVM cannot run"},
}

// MissingError lists needed capabilities that the host's KVM does not have.
type MissingError struct {
	Missing []Need
}

// Error has one line for each missing capability.
func (e *MissingError) Error() string {
	lines := make([]string, len(e.Missing))
	for i, n := range e.Missing {
		lines[i] = fmt.Sprintf("KVM capability %s is missing: needed for %s", n.Cap, n.For)
	}
	return strings.Join(lines, "\n")
}

func missing(check func(Cap) int, needs [][]Need) error {
	var e MissingError
	for _, list := range needs {
		for _, n := range list {
			if check(n.Cap) == 0 {
				e.Missing = append(e.Missing, n)
			}
		}
	}
	if len(e.Missing) == 0 {
		return nil
	}
	return &e
}
