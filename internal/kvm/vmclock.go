package kvm

// Flags of Clock.
const (
	ClockTSCStable uint32 = 1 << 1 // the value is the same on all vCPUs
	ClockRealtime  uint32 = 1 << 2 // Realtime is valid
	ClockHostTSC   uint32 = 1 << 3 // HostTSC is valid
)

// Clock is struct kvm_clock_data: the guest's paravirtual clock.
type Clock struct {
	Nanoseconds uint64 // since the machine's start
	Flags       uint32
	_           uint32
	Realtime    uint64 // the host's wall clock at the same moment, ns since 1970
	HostTSC     uint64 // the host's TSC at the same moment
	_           [4]uint32
}

// Clock reads the paravirtual clock.
func (m *VM) Clock() (Clock, error) {
	var c Clock
	if _, err := ioctlPtr(m.fd, reqGetClock, &c); err != nil {
		return c, opError(reqGetClock, err)
	}
	return c, nil
}

// SetClock sets the paravirtual clock. With ClockRealtime in Flags KVM adds the
// wall-clock time that has passed since c.Realtime; other flags are not
// accepted and are left out.
func (m *VM) SetClock(c *Clock) error {
	arg := *c
	arg.Flags &= ClockRealtime
	if _, err := ioctlPtr(m.fd, reqSetClock, &arg); err != nil {
		return opError(reqSetClock, err)
	}
	return nil
}

// SetDefaultTSCKHz sets the TSC frequency of vCPUs made later (CapVMTSCControl).
func (m *VM) SetDefaultTSCKHz(khz uint32) error {
	if _, err := ioctl(m.fd, reqSetTSCKHz, uintptr(khz)); err != nil {
		return opError(reqSetTSCKHz, err)
	}
	return nil
}
