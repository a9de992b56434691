package cpu

import (
	"fmt"

	"github.com/sirupsen/logrus"

	"govmd/internal/kvm"
)

// Config is what all vCPUs of a machine share.
type Config struct {
	System *kvm.System
	VM     *kvm.VM
	Log    *logrus.Logger
	Model  *Model
}

// Set makes the vCPUs of one machine.
type Set struct {
	Config
	msrs       *MSRList
	mcgCap     uint64
	nestedMax  int
	eventFlags uint32
}

// Flags of KVM_CAP_X2APIC_API.
const (
	x2apic32BitIDs         = 1 << 0
	x2apicNoBroadcastQuirk = 1 << 1
)

// Prepare gets the machine ready for vCPUs of the model. It must precede the
// first of them.
func Prepare(c Config) (*Set, error) {
	s := &Set{Config: c}
	var err error
	if s.msrs, err = NewMSRList(c.System, c.Log); err != nil {
		return nil, err
	}
	f := &c.Model.Features
	if f.Has("mce") && f.Has("mca") {
		s.mcgCap = mcgCap(c.System)
	}
	if f.Has("vmx") || f.Has("svm") {
		s.nestedMax = c.System.Check(kvm.CapNestedState)
	}
	s.eventFlags = kvm.EventNMIPendingValid | kvm.EventSIPIVectorValid | kvm.EventShadowValid
	if c.VM.Check(kvm.CapX86SMM) != 0 {
		s.eventFlags |= kvm.EventSMMValid
	}
	if !c.Model.PMU && c.VM.Check(kvm.CapPMUCapability)&1 != 0 {
		const disable = 1
		if err := c.VM.EnableCap(kvm.CapPMUCapability, disable); err != nil {
			c.Log.Debugf("%v: the guest may find performance counters", err)
		}
	}
	if max := c.Model.topo.MaxAPICID(); max >= 255 {
		if !f.Has("x2apic") {
			return nil, fmt.Errorf("APIC id %d needs the CPU feature x2apic", max)
		}
		if c.VM.Check(kvm.CapX2APICAPI) == 0 {
			return nil, fmt.Errorf("KVM capability %v is missing: needed for APIC ids above 254", kvm.CapX2APICAPI)
		}
		if err := c.VM.EnableCap(kvm.CapX2APICAPI, x2apic32BitIDs|x2apicNoBroadcastQuirk); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// mcgCap is the value of IA32_MCG_CAP for guests: as many banks as QEMU's.
func mcgCap(sys *kvm.System) uint64 {
	banks := min(sys.Check(kvm.CapMCE), mceBanks)
	if banks <= 0 {
		return 0
	}
	const mcgCtlP, mcgSerP = 1 << 8, 1 << 24
	can, err := sys.MCECap()
	if err != nil {
		return 0
	}
	return can&(mcgCtlP|mcgSerP) | uint64(banks)
}

// VCPU is a kvm.VCPU with a model. All methods run on the vCPU's thread, out of
// the guest: through kvm.Thread.Do.
type VCPU struct {
	vcpu    *kvm.VCPU
	index   int
	powerOn State
	tsc     stoppedTSC
	*Set
	model *Model
	log   *logrus.Logger
}

// Setup gives a new vCPU its CPUID leaves and puts it into the state after
// power-on. index counts the CPUs of the topology; v's id is its APIC id.
func (s *Set) Setup(v *kvm.VCPU, index int) (*VCPU, error) {
	c := &VCPU{vcpu: v, index: index, Set: s, model: s.Model, log: s.Log}
	if want := s.Model.topo.APICID(index); uint32(v.ID()) != want {
		return nil, fmt.Errorf("vCPU %d has APIC id %d, not %d", index, v.ID(), want)
	}
	khz, err := c.tscFrequency()
	if err != nil {
		return nil, err
	}
	if err := v.SetCPUID(s.Model.CPUID(index, khz)); err != nil {
		return nil, err
	}
	if s.mcgCap != 0 {
		if err := v.SetupMCE(s.mcgCap); err != nil {
			return nil, err
		}
	}
	if s.Model.pvEnforce {
		if err := v.EnableCap(kvm.CapEnforcePVFeatureCPUID, 1); err != nil {
			return nil, err
		}
	}
	if s.Model.Features.Has("arch-capabilities") {
		cap := []kvm.MSR{{Index: msrArchCapabilities, Value: uint64(s.Model.Features[wArchCap])}}
		if err := v.SetMSRs(cap); err != nil {
			s.Log.Debugf("%v: the guest sees KVM's own value", err)
		}
	}
	return c, c.capturePowerOn()
}

func (c *VCPU) tscFrequency() (khz int, err error) {
	if hz := c.model.TSCHz; hz != 0 {
		khz = int(hz / 1000)
		now, err := c.vcpu.TSCKHz()
		if err == nil && now == khz {
			return khz, nil
		}
		if !c.model.host.TSCControl {
			return 0, fmt.Errorf("tsc-frequency: the host's KVM cannot run the guest's TSC at another frequency than its own %d kHz", now)
		}
		return khz, c.vcpu.SetTSCKHz(khz)
	}
	if khz, err = c.vcpu.TSCKHz(); err != nil {
		return 0, nil // unknown: the guest measures it
	}
	return khz, nil
}

// capturePowerOn reads the state in which KVM makes vCPUs, which is that of the
// SDM (volume 3, table 10-1) but for what the model decides.
func (c *VCPU) capturePowerOn() error {
	s, err := c.Save()
	if err != nil {
		return err
	}
	s.Regs.RDX = uint64(c.model.signature)
	fast := false
	for i := range s.MSRs {
		switch m := &s.MSRs[i]; m.Index {
		case msrTSC, msrTSCDeadline:
			m.Value = 0
		case msrMiscEnable:
			m.Value |= miscEnableFastStrings
			fast = true
		}
	}
	if !fast {
		c.log.Debugf("vCPU %d: no IA32_MISC_ENABLE", c.index)
	}
	// The task register is of a kind that KVM made up for AMD's processors.
	s.Sregs.TR.Type = busyTSS
	c.powerOn = *s
	return c.Reset()
}

// Reset puts the vCPU into the state after power-on. The bootstrap processor,
// the one with index 0, is then ready to fetch from the reset vector; the others
// wait for INIT and SIPI.
func (c *VCPU) Reset() error {
	s := c.powerOn
	s.MPState = uint32(kvm.MPUninitialized)
	if c.index == 0 {
		s.MPState = uint32(kvm.MPRunnable)
	}
	return c.load(&s)
}

// KVM returns the vCPU underneath.
func (c *VCPU) KVM() *kvm.VCPU { return c.vcpu }

// Index returns the vCPU's index.
func (c *VCPU) Index() int { return c.index }

// SetRegisters changes general and system registers, as an entry point needs
// it: change gets the present ones. It also makes the vCPU runnable.
func (c *VCPU) SetRegisters(change func(*kvm.Regs, *kvm.Sregs)) error {
	var r kvm.Regs
	var s kvm.Sregs
	if err := c.vcpu.Regs(&r); err != nil {
		return err
	}
	if err := c.vcpu.Sregs(&s); err != nil {
		return err
	}
	change(&r, &s)
	if err := c.vcpu.SetSregs(&s); err != nil {
		return err
	}
	if err := c.vcpu.SetRegs(&r); err != nil {
		return err
	}
	return c.vcpu.SetMPState(kvm.MPRunnable)
}

// WithoutFirmware sets up what firmware would have, for a kernel that is
// entered directly: memory is write-back unless a kernel says otherwise, and
// the local APIC passes on the PIC's interrupts and NMI.
func (c *VCPU) WithoutFirmware() error {
	const enable, writeBack = 1 << 11, 6
	if c.model.Features.Has("mtrr") {
		if err := c.msrs.write(c.vcpu, []MSR{{Index: msrMTRRDefType, Value: enable | writeBack}}); err != nil {
			return err
		}
	}
	const extINT, nmi = 7 << 8, 4 << 8
	var l kvm.LAPIC
	if err := c.vcpu.LAPIC(&l); err != nil {
		return err
	}
	if c.index == 0 {
		l.SetReg(kvm.LAPICLVT0, extINT)
	}
	l.SetReg(kvm.LAPICLVT1, nmi)
	return c.vcpu.SetLAPIC(&l)
}
