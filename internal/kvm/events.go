package kvm

import "fmt"

// MPState is the multiprocessing state of a vCPU.
type MPState uint32

// The states of x86.
const (
	MPRunnable      MPState = 0
	MPUninitialized MPState = 1 // waits for INIT and SIPI
	MPInitReceived  MPState = 2 // waits for SIPI
	MPHalted        MPState = 3 // in HLT
	MPSIPIReceived  MPState = 4
)

var mpStateNames = [...]string{"runnable", "uninitialized", "init-received", "halted", "sipi-received"}

// String returns a word for the state.
func (s MPState) String() string {
	if int(s) < len(mpStateNames) {
		return mpStateNames[s]
	}
	return fmt.Sprintf("state %d", uint32(s))
}

// MPState reads the multiprocessing state. It lets a pending INIT or SIPI take
// effect, so read it before the registers.
func (v *VCPU) MPState() (MPState, error) {
	var s MPState
	_, err := ioctlPtr(v.fd, reqGetMPState, &s)
	return s, v.fail(reqGetMPState, err)
}

// SetMPState sets the multiprocessing state.
func (v *VCPU) SetMPState(s MPState) error {
	_, err := ioctlPtr(v.fd, reqSetMPState, &s)
	return v.fail(reqSetMPState, err)
}

// Flags of VCPUEvents: which optional members are valid.
const (
	EventNMIPendingValid  uint32 = 1 << 0
	EventSIPIVectorValid  uint32 = 1 << 1
	EventShadowValid      uint32 = 1 << 2
	EventSMMValid         uint32 = 1 << 3
	EventPayloadValid     uint32 = 1 << 4
	EventTripleFaultValid uint32 = 1 << 5
)

// VCPUEvents is struct kvm_vcpu_events: exceptions and interrupts that are
// pending or half delivered.
type VCPUEvents struct {
	ExceptionInjected  uint8
	ExceptionNr        uint8
	ExceptionHasError  uint8
	ExceptionPending   uint8
	ExceptionErrorCode uint32

	InterruptInjected uint8
	InterruptNr       uint8
	InterruptSoft     uint8
	InterruptShadow   uint8

	NMIInjected uint8
	NMIPending  uint8
	NMIMasked   uint8
	_           uint8

	SIPIVector uint32
	Flags      uint32

	SMM          uint8
	SMIPending   uint8
	SMMInsideNMI uint8
	LatchedInit  uint8

	TripleFaultPending uint8
	_                  [26]uint8

	ExceptionHasPayload uint8
	ExceptionPayload    uint64
}

// Events reads pending events.
func (v *VCPU) Events(e *VCPUEvents) error {
	return transfer(v, reqGetVCPUEvents, e)
}

// SetEvents loads pending events. It must follow SetRegs, which drops them.
func (v *VCPU) SetEvents(e *VCPUEvents) error {
	return transfer(v, reqSetVCPUEvents, e)
}
