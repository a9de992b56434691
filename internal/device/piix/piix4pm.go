package piix

import (
	"sync"

	"govmd/internal/device"
	"govmd/internal/device/acpipm"
	"govmd/internal/device/pci"
	"govmd/internal/device/sysbus"
	"govmd/internal/memory"
	"govmd/internal/object"
	"govmd/internal/runstate"
	"govmd/internal/state"
)

const (
	regPMBase   = 0x40
	regDevActB  = 0x58 // device activity; its bit 25 enables SMIs by the command port
	regPMMisc   = 0x80
	regSMBBase  = 0x90
	regSMBHost  = 0xd2
	pmBaseMask  = 0xffc0
	smbBaseMask = 0xfff0
	isIO        = 1 // of both base registers
	enabled     = 1 // of the two other registers

	apmcEnabled = 1 << 25

	pmRegion   = 64
	smbRegion  = 16
	gpeBase    = 0xafe0 // not Intel's: where the ACPI tables of such machines have it
	gpes       = 16
	apmPort    = 0xb2
	acpiEnable = 0xf1 // values of the command port that the ACPI tables name
	acpiLegacy = 0xf0

	sleepS5 = 0
	sleepS3 = 1
)

// PIIX4PM is the device "PIIX4_PM", the power-management function 8086:7113. The
// board creates it, sets the exported fields, gives it its place (01.3) and plugs
// it into the root bus. Firmware programs where its ports are; without firmware
// the board does, by SetPMBase. The board calls PowerButton and Wake from its
// run-state hooks.
type PIIX4PM struct {
	pci.Device

	// SCI is the input of the interrupt controllers that the SCI drives: number 9.
	SCI *device.Pin
	// ACPIOnly says that the ACPI tables name no command port to leave legacy mode by.
	ACPIOnly bool
	// Serial1, Serial2 and Parallel say which ports there are; the firmware
	// finds that in configuration space.
	Serial1, Serial2, Parallel bool

	// properties
	disableS3, disableS4, s4Value uint8
	smbIOBase                     uint32
	smm                           bool

	pm      *acpipm.Block
	pmPorts *memory.Region
	smb     *smbus

	mu  sync.Mutex // guards what follows
	apm [2]uint8   // command and status port
}

// Realize implements device.Device.
func (p *PIIX4PM) Realize() error {
	err := p.Setup(pci.Identity{Vendor: pci.VendorIntel, Device: 0x7113, Revision: 3, Class: 0x068000, InterruptPin: 1})
	if err != nil {
		return err
	}
	p.registers()
	env := p.Env()
	sci := p.SCI.Connect(p.Describe() + " SCI")
	p.Defer(sci.Disconnect)
	p.pm = acpipm.New(acpipm.Config{
		Name: "PM timer", Clock: env.Clock.Virtual, SCI: sci, Sleep: p.sleep, Wakeup: env.Run.RequestWakeup, ACPIOnly: p.ACPIOnly, GPEs: gpes,
	})
	p.Defer(p.pm.Close)

	io := p.PCIBus().IO()
	p.pmPorts = env.Memory.NewIO("piix4-pm", pmRegion, p.pm.Registers(), memory.Spec{Max: 4})
	p.smb = newSMBus(env.Memory)
	p.Defer(func() {
		for _, r := range []*memory.Region{p.pmPorts, p.smb.ports} {
			io.Remove(r)
			r.Quiesce()
		}
	})
	gpe := env.Memory.NewIO("acpi-gpe0", p.pm.GPESize(), p.pm.GPE(), memory.Spec{Max: 4})
	if err := sysbus.MapIO(p, gpeBase, gpe); err != nil {
		return err
	}
	apm := env.Memory.NewIO("apm-io", 2, (*apmPorts)(p), memory.Spec{Max: 1, ImplMax: 1})
	return sysbus.MapIO(p, apmPort, apm)
}

func (p *PIIX4PM) registers() {
	c := p.Config()
	c.Update(pci.RegStatus, 0, pci.StatusFastB2B|pci.StatusDevselMedium)
	c.SetU8(pci.RegInterruptLine, 9)
	c.SetU32(regPMBase, isIO)
	c.Writable(regPMBase, 4, pmBaseMask)
	for off := 0x44; off < 0x7c; off++ { // counters and device activity: plain storage
		c.Writable(off, 1, 0xff)
	}
	if !p.smm {
		// Firmware takes this for its own work, and lets system management mode be.
		c.SetU32(regDevActB, apmcEnabled)
	}
	c.SetU8(0x5f, 0x10|flag(p.Parallel, 0x80))
	c.SetU8(0x63, 0x60)
	c.SetU8(0x67, flag(p.Serial1, 0x08)|flag(p.Serial2, 0x90))
	c.Writable(regPMMisc, 1, enabled)
	c.SetU32(regSMBBase, isIO)
	c.Writable(regSMBBase, 4, smbBaseMask)
	c.Writable(regSMBHost, 4, 0xffffff0f)
	if p.smbIOBase != 0 {
		c.SetU32(regSMBBase, p.smbIOBase&smbBaseMask|isIO)
		c.SetU8(regSMBHost, enabled|8)
	}
}

func flag(on bool, v uint8) uint8 {
	if on {
		return v
	}
	return 0
}

// SetPMBase puts the power-management ports at base, a multiple of 64, as firmware does.
func (p *PIIX4PM) SetPMBase(base uint16) {
	p.ConfigWrite(regPMBase, 4, uint32(base))
	p.ConfigWrite(regPMMisc, 1, enabled)
}

// remap maps the ports where the registers say.
func (p *PIIX4PM) remap() {
	c := p.Config()
	p.Env().Memory.Update(func() {
		p.place(p.pmPorts, c.U32(regPMBase)&pmBaseMask, c.U8(regPMMisc)&enabled != 0)
		p.place(p.smb.ports, c.U32(regSMBBase)&smbBaseMask, c.U8(regSMBHost)&enabled != 0)
	})
}

func (p *PIIX4PM) place(r *memory.Region, base uint32, on bool) {
	io := p.PCIBus().IO()
	on = on && base != 0
	switch mapped := r.Parent() != nil; {
	case on && !mapped:
		_ = io.AddOverlap(uint64(base), r, portsPriority) // r has no place, and holds nothing
	case on:
		r.SetOffset(uint64(base))
	case mapped:
		io.Remove(r)
	}
}

// portsPriority is that of BARs: over what else is in the port space.
const portsPriority = 1

// ConfigWritten implements pci.ConfigWriter.
func (p *PIIX4PM) ConfigWritten(off, size int) {
	if off+size > regPMBase {
		p.remap()
	}
}

// ConfigReloaded implements pci.ConfigReloader.
func (p *PIIX4PM) ConfigReloaded() { p.remap() }

// ResetEnter implements device.ResetEnterer.
func (p *PIIX4PM) ResetEnter() {
	p.Device.ResetEnter()
	p.pm.Reset()
	p.smb.reset()
	p.mu.Lock()
	p.apm = [2]uint8{}
	p.mu.Unlock()
}

// PowerButton presses the power button.
func (p *PIIX4PM) PowerButton() { p.pm.PowerButton() }

// Wake tells the guest what has woken it, after the reset that does so.
func (p *PIIX4PM) Wake(r runstate.WakeReason) { p.pm.Wake(r) }

// RTCAlarm is what the board calls at an alarm of the real-time clock.
func (p *PIIX4PM) RTCAlarm() { p.pm.RTCAlarm() }

// RaiseGPE raises a general-purpose event.
func (p *PIIX4PM) RaiseGPE(n int) { p.pm.RaiseGPE(n) }

// SystemStates returns the contents of fw_cfg's "etc/system-states": for each
// of S0 to S5 the value of its sleep type, and bit 7 where the state is there.
func (p *PIIX4PM) SystemStates() []byte {
	s := []byte{0x80, 0, 0, sleepS3, p.s4Value, 0x80 | sleepS5}
	if p.disableS3 == 0 {
		s[3] |= 0x80
	}
	if p.disableS4 == 0 {
		s[4] |= 0x80
	}
	return s
}

// sleep acts on the sleep types of the board's ACPI tables.
func (p *PIIX4PM) sleep(typ uint8) {
	run := p.Env().Run
	switch {
	case typ == sleepS5:
		run.RequestShutdown(runstate.CauseGuestShutdown)
	case typ == sleepS3:
		if p.disableS3 == 0 {
			run.RequestSuspend()
			if r := p.pm.Pending(); r != "" {
				run.RequestWakeup(r)
			}
		}
	case typ == p.s4Value:
		if p.disableS4 == 0 {
			p.Env().Events.Publish(runstate.SuspendDiskEvent{})
			run.RequestShutdown(runstate.CauseGuestShutdown)
		}
	default:
		p.GuestErrorf("there is no sleep type %d", typ)
	}
}

// apmPorts are the SMI command and status ports. There is no system management
// mode; what its code would do for ACPI is done here.
type apmPorts PIIX4PM

func (a *apmPorts) ReadIO(off uint64, _ int) uint64 {
	a.mu.Lock()
	defer a.mu.Unlock()
	return uint64(a.apm[off&1])
}

func (a *apmPorts) WriteIO(off uint64, _ int, v uint64) {
	a.mu.Lock()
	a.apm[off&1] = uint8(v)
	a.mu.Unlock()
	if off&1 == 0 && (v == acpiEnable || v == acpiLegacy) {
		a.pm.EnableACPI(v == acpiEnable)
	}
}

type savedPIIX4PM struct {
	PM  acpipm.Saved `cbor:"pm"`
	APM []byte       `cbor:"apm"`
	SMB []byte       `cbor:"smbus"`
}

// States implements device.Stater.
func (p *PIIX4PM) States() []state.Entry {
	return []state.Entry{state.Of("", 1, p.save, p.load)}
}

func (p *PIIX4PM) save() savedPIIX4PM {
	p.mu.Lock()
	defer p.mu.Unlock()
	return savedPIIX4PM{PM: p.pm.Save(), APM: append([]byte{}, p.apm[:]...), SMB: p.smb.save()}
}

func (p *PIIX4PM) load(s *savedPIIX4PM) error {
	if len(s.APM) != len(p.apm) {
		return errBadState
	}
	if err := p.smb.load(s.SMB); err != nil {
		return err
	}
	p.mu.Lock()
	copy(p.apm[:], s.APM)
	p.mu.Unlock()
	return p.pm.Load(s.PM)
}

func init() {
	pci.Register(object.Type{
		Name: "PIIX4_PM", Description: "PM",
		Props: []object.Property{
			object.Int("disable_s3", func(p *PIIX4PM) *uint8 { return &p.disableS3 }, 0, "1: no suspend to RAM"),
			object.Int("disable_s4", func(p *PIIX4PM) *uint8 { return &p.disableS4 }, 0, "1: no suspend to disk"),
			object.Int("s4_val", func(p *PIIX4PM) *uint8 { return &p.s4Value }, 2, "sleep type of S4"),
			object.Int("smb_io_base", func(p *PIIX4PM) *uint32 { return &p.smbIOBase }, 0,
				"ports of the SMBus controller until firmware moves them; 0: none"),
			object.Bool("smm-enabled", func(p *PIIX4PM) *bool { return &p.smm }, false, "whether there is system management mode"),
		},
		New: func() object.Object { return &PIIX4PM{} },
	})
}
