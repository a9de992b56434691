package cpu

import (
	"errors"
	"fmt"

	"govmd/internal/kvm"
)

// StateVersion is the version of State's format.
const StateVersion = 1

// State is the saved state of a vCPU. The register structures are those of the
// kernel's interface, which do not change.
type State struct {
	Regs      kvm.Regs
	Sregs     kvm.Sregs
	XSave     []byte // as in leaf 0xd of the machine's CPUID
	XCR0      uint64
	DebugRegs kvm.DebugRegs
	LAPIC     []byte
	MSRs      []MSR // in the order in which they are loaded
	Events    kvm.VCPUEvents
	MPState   uint32
	TSCKHz    int
	Nested    []byte // what KVM saves of the guest's own virtual machines
}

// MSR is a model-specific register and its value.
type MSR struct {
	Index uint32
	Value uint64
}

// maxSavedMSRs bounds what Load takes; KVM has about 400.
const maxSavedMSRs = 4096

// Save returns the vCPU's state. Like all methods it runs on the vCPU's thread,
// out of the guest (kvm.Thread.Do).
func (c *VCPU) Save() (*State, error) {
	v := c.vcpu
	s := &State{XSave: make([]byte, v.XSaveSize())}
	// First, for reading it lets a pending INIT or SIPI take effect.
	mp, err := v.MPState()
	if err != nil {
		return nil, err
	}
	s.MPState = uint32(mp)
	if err := v.Regs(&s.Regs); err != nil {
		return nil, err
	}
	if err := v.Sregs(&s.Sregs); err != nil {
		return nil, err
	}
	if err := v.XSave(s.XSave); err != nil {
		return nil, err
	}
	if c.model.xcr0 != 0 {
		if s.XCR0, err = v.XCR0(); err != nil {
			return nil, err
		}
	}
	if err := v.DebugRegs(&s.DebugRegs); err != nil {
		return nil, err
	}
	var lapic kvm.LAPIC
	if err := v.LAPIC(&lapic); err != nil {
		return nil, err
	}
	s.LAPIC = lapic[:]
	if s.MSRs, err = c.msrs.read(v); err != nil {
		return nil, err
	}
	c.tsc.put(s.MSRs)
	if err := v.Events(&s.Events); err != nil {
		return nil, err
	}
	if s.TSCKHz, err = v.TSCKHz(); err != nil {
		s.TSCKHz = 0 // a host without a stable TSC has none to tell
	}
	if s.Nested, err = v.NestedState(c.nestedMax); err != nil {
		return nil, err
	}
	return s, nil
}

func (c *VCPU) checkState(s *State) error {
	switch {
	case len(s.XSave) != c.vcpu.XSaveSize():
		return fmt.Errorf("extended state of %d bytes, this host's is %d: the hosts' processors differ", len(s.XSave), c.vcpu.XSaveSize())
	case len(s.LAPIC) != len(kvm.LAPIC{}):
		return fmt.Errorf("local APIC state of %d bytes", len(s.LAPIC))
	case len(s.MSRs) > maxSavedMSRs:
		return fmt.Errorf("%d MSRs", len(s.MSRs))
	case s.MPState > uint32(kvm.MPSIPIReceived):
		return fmt.Errorf("multiprocessing state %d", s.MPState)
	case s.TSCKHz < 0:
		return errors.New("negative TSC frequency")
	case len(s.Nested) > 0 && c.nestedMax == 0:
		return errors.New("the guest runs virtual machines, which this host cannot continue")
	case len(s.Nested) > max(c.nestedMax, 0):
		return fmt.Errorf("%d bytes of nested state, more than this host's %d", len(s.Nested), c.nestedMax)
	}
	return nil
}

// Load puts the vCPU into a saved state. KVM checks what it is given; after an
// error the vCPU must be reset.
func (c *VCPU) Load(s *State) error {
	if err := c.checkState(s); err != nil {
		return fmt.Errorf("vCPU %d: %w", c.index, err)
	}
	if s.TSCKHz != 0 {
		c.loadTSCFrequency(s.TSCKHz)
	}
	return c.load(s)
}

// loadTSCFrequency gives the guest's TSC the frequency that it had. Small
// differences are those of calibration, and no matter.
func (c *VCPU) loadTSCFrequency(khz int) {
	now, err := c.vcpu.TSCKHz()
	if err != nil || now == khz {
		return
	}
	if c.model.host.TSCControl && c.vcpu.SetTSCKHz(khz) == nil {
		return
	}
	const ppm = 250
	if d := int64(khz) - int64(now); d*1e6 > ppm*int64(khz) || -d*1e6 > ppm*int64(khz) {
		c.log.Warnf("vCPU %d: the saved TSC runs at %d kHz, this host's at %d kHz and cannot be changed", c.index, khz, now)
	}
}

// load is what Load and Reset share. The order matters: system registers before
// the local APIC, which lives at the base they name; general registers before
// events, which writing them drops; the local APIC before MSRs, among which is
// the timer's deadline.
func (c *VCPU) load(s *State) error {
	v := c.vcpu
	if c.model.Features.Has("vmx") {
		// Ends the guest's own use of VMX, if it was in the middle of it.
		for _, m := range s.MSRs {
			if m.Index == msrFeatureControl {
				if err := c.msrs.write(v, []MSR{m}); err != nil {
					return err
				}
			}
		}
	}
	if err := v.SetSregs(&s.Sregs); err != nil {
		return err
	}
	if len(s.Nested) > 0 {
		if err := v.SetNestedState(s.Nested); err != nil {
			return err
		}
	}
	if err := v.SetRegs(&s.Regs); err != nil {
		return err
	}
	if err := v.SetXSave(s.XSave); err != nil {
		return err
	}
	if c.model.xcr0 != 0 {
		if err := v.SetXCR0(s.XCR0); err != nil {
			return err
		}
	}
	if err := v.SetDebugRegs(&s.DebugRegs); err != nil {
		return err
	}
	var lapic kvm.LAPIC
	copy(lapic[:], s.LAPIC)
	if err := v.SetLAPIC(&lapic); err != nil {
		return err
	}
	if err := c.msrs.write(v, s.MSRs); err != nil {
		return err
	}
	c.tsc.take(s.MSRs)
	events := s.Events
	events.Flags &= c.eventFlags
	if err := v.SetEvents(&events); err != nil {
		return err
	}
	return v.SetMPState(kvm.MPState(s.MPState))
}
