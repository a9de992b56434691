package kvm

import (
	"reflect"
	"testing"
)

// The kernel copies as many bytes as the ioctl number says.
func TestLayoutMatchesRequest(t *testing.T) {
	for _, c := range []struct {
		req request
		typ reflect.Type
	}{
		{reqSetUserMemoryRegion, reflect.TypeFor[MemoryRegion]()},
		{reqGetDirtyLog, reflect.TypeFor[dirtyLog]()},
		{reqClearDirtyLog, reflect.TypeFor[clearDirtyLog]()},
		{reqSetIdentityMapAddr, reflect.TypeFor[uint64]()},
		{reqIRQLine, reflect.TypeFor[irqLevel]()},
		{reqGetIRQChip, reflect.TypeFor[irqChip]()},
		{reqSetIRQChip, reflect.TypeFor[irqChip]()},
		{reqIRQFD, reflect.TypeFor[irqfd]()},
		{reqCreatePIT2, reflect.TypeFor[pitConfig]()},
		{reqIOEventFD, reflect.TypeFor[ioEventFD]()},
		{reqGetClock, reflect.TypeFor[Clock]()},
		{reqSetClock, reflect.TypeFor[Clock]()},
		{reqGetPIT2, reflect.TypeFor[PITState]()},
		{reqSetPIT2, reflect.TypeFor[PITState]()},
		{reqSignalMSI, reflect.TypeFor[msi]()},
		{reqEnableCap, reflect.TypeFor[enableCap]()},
		{reqGetRegs, reflect.TypeFor[Regs]()},
		{reqSetRegs, reflect.TypeFor[Regs]()},
		{reqGetSregs, reflect.TypeFor[Sregs]()},
		{reqSetSregs, reflect.TypeFor[Sregs]()},
		{reqGetSregs2, reflect.TypeFor[Sregs2]()},
		{reqSetSregs2, reflect.TypeFor[Sregs2]()},
		{reqTranslate, reflect.TypeFor[translation]()},
		{reqGetFPU, reflect.TypeFor[FPU]()},
		{reqSetFPU, reflect.TypeFor[FPU]()},
		{reqGetLAPIC, reflect.TypeFor[LAPIC]()},
		{reqSetLAPIC, reflect.TypeFor[LAPIC]()},
		{reqGetMPState, reflect.TypeFor[MPState]()},
		{reqSetMPState, reflect.TypeFor[MPState]()},
		{reqSetGuestDebug, reflect.TypeFor[GuestDebug]()},
		{reqSetupMCE, reflect.TypeFor[uint64]()},
		{reqSetMCE, reflect.TypeFor[MCE]()},
		{reqGetVCPUEvents, reflect.TypeFor[VCPUEvents]()},
		{reqSetVCPUEvents, reflect.TypeFor[VCPUEvents]()},
		{reqGetDebugRegs, reflect.TypeFor[DebugRegs]()},
		{reqSetDebugRegs, reflect.TypeFor[DebugRegs]()},
		{reqGetXCRs, reflect.TypeFor[xcrs]()},
		{reqSetXCRs, reflect.TypeFor[xcrs]()},
		{reqGetDeviceAttr, reflect.TypeFor[deviceAttr]()},
		{reqSetDeviceAttr, reflect.TypeFor[deviceAttr]()},
		{reqHasDeviceAttr, reflect.TypeFor[deviceAttr]()},
	} {
		if got, want := c.typ.Size(), c.req.size(); got != want {
			t.Errorf("%v: %v has %d bytes, the kernel's has %d", c.req, c.typ, got, want)
		}
	}
}

// Structures that are only a part of what a call copies: sizes from the headers.
func TestLayoutOfParts(t *testing.T) {
	for _, c := range []struct {
		typ  reflect.Type
		want uintptr
	}{
		{reflect.TypeFor[Segment](), 24},
		{reflect.TypeFor[DTable](), 16},
		{reflect.TypeFor[PITChannel](), 24},
		{reflect.TypeFor[PICState](), 16},
		{reflect.TypeFor[CPUIDEntry](), 40},
		{reflect.TypeFor[xcr](), 16},
		{reflect.TypeFor[reinjectControl](), 32},
	} {
		if got := c.typ.Size(); got != c.want {
			t.Errorf("%v has %d bytes, want %d", c.typ, got, c.want)
		}
	}
}

func TestEveryRequestHasAName(t *testing.T) {
	for r, name := range requestNames {
		if r>>8&0xff != 0xae || name == "" {
			t.Errorf("request %#x %q is not one of KVM's", uintptr(r), name)
		}
	}
	if got := request(0xaeff).String(); got != "KVM ioctl 0xaeff" {
		t.Errorf("unknown request is called %q", got)
	}
}
