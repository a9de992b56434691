package kvm

import "strconv"

// request is an ioctl number: direction in bits 30-31, size of the argument in
// 16-29, KVM's type byte 0xae in 8-15, the command in 0-7.
type request uintptr

const (
	reqGetAPIVersion          request = 0xae00
	reqCreateVM               request = 0xae01
	reqGetMSRIndexList        request = 0xc004ae02
	reqCheckExtension         request = 0xae03
	reqGetVCPUMmapSize        request = 0xae04
	reqGetSupportedCPUID      request = 0xc008ae05
	reqGetMSRFeatureIndexList request = 0xc004ae0a

	reqCreateVCPU          request = 0xae41
	reqGetDirtyLog         request = 0x4010ae42
	reqSetUserMemoryRegion request = 0x4020ae46
	reqSetTSSAddr          request = 0xae47
	reqSetIdentityMapAddr  request = 0x4008ae48
	reqCreateIRQChip       request = 0xae60
	reqIRQLine             request = 0x4008ae61
	reqGetIRQChip          request = 0xc208ae62
	reqSetIRQChip          request = 0x8208ae63
	reqSetGSIRouting       request = 0x4008ae6a
	reqReinjectControl     request = 0xae71
	reqIRQFD               request = 0x4020ae76
	reqCreatePIT2          request = 0x4040ae77
	reqSetBootCPUID        request = 0xae78
	reqIOEventFD           request = 0x4040ae79
	reqSetClock            request = 0x4030ae7b
	reqGetClock            request = 0x8030ae7c
	reqGetPIT2             request = 0x8070ae9f
	reqSetPIT2             request = 0x4070aea0
	reqSignalMSI           request = 0x4020aea5
	reqClearDirtyLog       request = 0xc018aec0

	reqRun            request = 0xae80
	reqGetRegs        request = 0x8090ae81
	reqSetRegs        request = 0x4090ae82
	reqGetSregs       request = 0x8138ae83
	reqSetSregs       request = 0x4138ae84
	reqTranslate      request = 0xc018ae85
	reqGetMSRs        request = 0xc008ae88
	reqSetMSRs        request = 0x4008ae89
	reqGetFPU         request = 0x81a0ae8c
	reqSetFPU         request = 0x41a0ae8d
	reqGetLAPIC       request = 0x8400ae8e
	reqSetLAPIC       request = 0x4400ae8f
	reqSetCPUID2      request = 0x4008ae90
	reqGetCPUID2      request = 0xc008ae91
	reqGetMPState     request = 0x8004ae98
	reqSetMPState     request = 0x4004ae99
	reqNMI            request = 0xae9a
	reqSetGuestDebug  request = 0x4048ae9b
	reqSetupMCE       request = 0x4008ae9c
	reqGetMCECap      request = 0x8008ae9d
	reqSetMCE         request = 0x4040ae9e
	reqGetVCPUEvents  request = 0x8040ae9f
	reqSetVCPUEvents  request = 0x4040aea0
	reqGetDebugRegs   request = 0x8080aea1
	reqSetDebugRegs   request = 0x4080aea2
	reqSetTSCKHz      request = 0xaea2
	reqGetTSCKHz      request = 0xaea3
	reqEnableCap      request = 0x4068aea3
	reqGetXSave       request = 0x9000aea4
	reqSetXSave       request = 0x5000aea5
	reqGetXCRs        request = 0x8188aea6
	reqSetXCRs        request = 0x4188aea7
	reqKVMClockCtrl   request = 0xaead
	reqGetNestedState request = 0xc080aebe
	reqSetNestedState request = 0x4080aebf
	reqGetSregs2      request = 0x8140aecc
	reqSetSregs2      request = 0x4140aecd
	reqGetXSave2      request = 0x9000aecf
	reqSetDeviceAttr  request = 0x4018aee1
	reqGetDeviceAttr  request = 0x4018aee2
	reqHasDeviceAttr  request = 0x4018aee3
)

var requestNames = map[request]string{
	reqGetAPIVersion:          "KVM_GET_API_VERSION",
	reqCreateVM:               "KVM_CREATE_VM",
	reqGetMSRIndexList:        "KVM_GET_MSR_INDEX_LIST",
	reqCheckExtension:         "KVM_CHECK_EXTENSION",
	reqGetVCPUMmapSize:        "KVM_GET_VCPU_MMAP_SIZE",
	reqGetSupportedCPUID:      "KVM_GET_SUPPORTED_CPUID",
	reqGetMSRFeatureIndexList: "KVM_GET_MSR_FEATURE_INDEX_LIST",
	reqCreateVCPU:             "KVM_CREATE_VCPU",
	reqGetDirtyLog:            "KVM_GET_DIRTY_LOG",
	reqSetUserMemoryRegion:    "KVM_SET_USER_MEMORY_REGION",
	reqSetTSSAddr:             "KVM_SET_TSS_ADDR",
	reqSetIdentityMapAddr:     "KVM_SET_IDENTITY_MAP_ADDR",
	reqCreateIRQChip:          "KVM_CREATE_IRQCHIP",
	reqIRQLine:                "KVM_IRQ_LINE",
	reqGetIRQChip:             "KVM_GET_IRQCHIP",
	reqSetIRQChip:             "KVM_SET_IRQCHIP",
	reqSetGSIRouting:          "KVM_SET_GSI_ROUTING",
	reqReinjectControl:        "KVM_REINJECT_CONTROL",
	reqIRQFD:                  "KVM_IRQFD",
	reqCreatePIT2:             "KVM_CREATE_PIT2",
	reqSetBootCPUID:           "KVM_SET_BOOT_CPU_ID",
	reqIOEventFD:              "KVM_IOEVENTFD",
	reqSetClock:               "KVM_SET_CLOCK",
	reqGetClock:               "KVM_GET_CLOCK",
	reqGetPIT2:                "KVM_GET_PIT2",
	reqSetPIT2:                "KVM_SET_PIT2",
	reqSignalMSI:              "KVM_SIGNAL_MSI",
	reqClearDirtyLog:          "KVM_CLEAR_DIRTY_LOG",
	reqRun:                    "KVM_RUN",
	reqGetRegs:                "KVM_GET_REGS",
	reqSetRegs:                "KVM_SET_REGS",
	reqGetSregs:               "KVM_GET_SREGS",
	reqSetSregs:               "KVM_SET_SREGS",
	reqTranslate:              "KVM_TRANSLATE",
	reqGetMSRs:                "KVM_GET_MSRS",
	reqSetMSRs:                "KVM_SET_MSRS",
	reqGetFPU:                 "KVM_GET_FPU",
	reqSetFPU:                 "KVM_SET_FPU",
	reqGetLAPIC:               "KVM_GET_LAPIC",
	reqSetLAPIC:               "KVM_SET_LAPIC",
	reqSetCPUID2:              "KVM_SET_CPUID2",
	reqGetCPUID2:              "KVM_GET_CPUID2",
	reqGetMPState:             "KVM_GET_MP_STATE",
	reqSetMPState:             "KVM_SET_MP_STATE",
	reqNMI:                    "KVM_NMI",
	reqSetGuestDebug:          "KVM_SET_GUEST_DEBUG",
	reqSetupMCE:               "KVM_X86_SETUP_MCE",
	reqGetMCECap:              "KVM_X86_GET_MCE_CAP_SUPPORTED",
	reqSetMCE:                 "KVM_X86_SET_MCE",
	reqGetVCPUEvents:          "KVM_GET_VCPU_EVENTS",
	reqSetVCPUEvents:          "KVM_SET_VCPU_EVENTS",
	reqGetDebugRegs:           "KVM_GET_DEBUGREGS",
	reqSetDebugRegs:           "KVM_SET_DEBUGREGS",
	reqSetTSCKHz:              "KVM_SET_TSC_KHZ",
	reqGetTSCKHz:              "KVM_GET_TSC_KHZ",
	reqEnableCap:              "KVM_ENABLE_CAP",
	reqGetXSave:               "KVM_GET_XSAVE",
	reqSetXSave:               "KVM_SET_XSAVE",
	reqGetXCRs:                "KVM_GET_XCRS",
	reqSetXCRs:                "KVM_SET_XCRS",
	reqKVMClockCtrl:           "KVM_KVMCLOCK_CTRL",
	reqGetNestedState:         "KVM_GET_NESTED_STATE",
	reqSetNestedState:         "KVM_SET_NESTED_STATE",
	reqGetSregs2:              "KVM_GET_SREGS2",
	reqSetSregs2:              "KVM_SET_SREGS2",
	reqGetXSave2:              "KVM_GET_XSAVE2",
	reqSetDeviceAttr:          "KVM_SET_DEVICE_ATTR",
	reqGetDeviceAttr:          "KVM_GET_DEVICE_ATTR",
	reqHasDeviceAttr:          "KVM_HAS_DEVICE_ATTR",
}

// String returns the kernel's name of the call.
func (r request) String() string {
	if s, ok := requestNames[r]; ok {
		return s
	}
	return "KVM ioctl 0x" + strconv.FormatUint(uint64(r), 16)
}

// size returns how many bytes the kernel copies to or from the argument. For
// calls with a variable tail it is that of the fixed head.
func (r request) size() uintptr { return uintptr(r>>16) & 0x3fff }
