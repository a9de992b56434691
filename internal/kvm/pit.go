package kvm

// PITSpeakerDummy, for CreatePIT2: KVM answers port 0x61 as well.
const PITSpeakerDummy uint32 = 1

// pitConfig is struct kvm_pit_config.
type pitConfig struct {
	flags uint32
	_     [15]uint32
}

// PITChannel is struct kvm_pit_channel_state, one counter of the 8254.
type PITChannel struct {
	Count         uint32 // can be 65536
	LatchedCount  uint16
	CountLatched  uint8
	StatusLatched uint8
	Status        uint8
	ReadState     uint8
	WriteState    uint8
	WriteLatch    uint8
	RWMode        uint8
	Mode          uint8
	BCD           uint8
	Gate          uint8
	CountLoadTime int64 // nanoseconds of the host's monotonic clock
}

// Flags of PITState.
const (
	PITHPETLegacy    uint32 = 1 << 0 // channel 0's interrupt is off: HPET has taken it
	PITSpeakerDataOn uint32 = 1 << 1 // bit 1 of port 0x61
)

// PITState is struct kvm_pit_state2.
type PITState struct {
	Channels [3]PITChannel
	Flags    uint32
	_        [9]uint32
}

// CreatePIT2 makes the in-kernel 8254; CreateIRQChip must precede it.
func (m *VM) CreatePIT2(flags uint32) error {
	arg := pitConfig{flags: flags}
	if _, err := ioctlPtr(m.fd, reqCreatePIT2, &arg); err != nil {
		return opError(reqCreatePIT2, err)
	}
	return nil
}

// PIT returns the state of the in-kernel 8254.
func (m *VM) PIT() (PITState, error) {
	var s PITState
	if _, err := ioctlPtr(m.fd, reqGetPIT2, &s); err != nil {
		return s, opError(reqGetPIT2, err)
	}
	return s, nil
}

// SetPIT loads the state of the in-kernel 8254. The channels' load times are
// ignored: counting begins anew.
func (m *VM) SetPIT(s *PITState) error {
	if _, err := ioctlPtr(m.fd, reqSetPIT2, s); err != nil {
		return opError(reqSetPIT2, err)
	}
	return nil
}

// reinjectControl is struct kvm_reinject_control.
type reinjectControl struct {
	on uint8
	_  [31]byte
}

// SetPITReinject says whether timer interrupts that the guest was too slow to
// take are delivered late (the default) or lost.
func (m *VM) SetPITReinject(on bool) error {
	var arg reinjectControl
	if on {
		arg.on = 1
	}
	if _, err := ioctlPtr(m.fd, reqReinjectControl, &arg); err != nil {
		return opError(reqReinjectControl, err)
	}
	return nil
}
