package acpi

import (
	"fmt"

	"govmd/internal/machine/acpi/aml"
)

// MicroVM describes a board without PCI and without the PC's power management:
// ACPI in its hardware-reduced form.
type MicroVM struct {
	OEM     OEM
	CPUs    []CPU
	IOAPICs []IOAPIC // none: DefaultIOAPIC alone

	PIC bool // the two 8259 are there
	// TimerOnPin2 says that the timer interrupt arrives at I/O APIC pin 2, as
	// on a PC.
	TimerOnPin2 bool

	GED        GED
	Serial     [4]bool
	RTC        bool
	Keyboard   bool  // an 8042, for its reset line
	FWCfgPorts uint8 // as in PC
	VirtioMMIO []VirtioMMIO

	// Extra are further tables.
	Extra []Table
}

// GED is the generic event device with its power registers.
type GED struct {
	GSI       uint32
	Events    uint32 // address of the register that says what happened, 4 bytes
	Registers uint32 // address of the sleep and reset registers
}

// DefaultGED is the device at its usual addresses.
var DefaultGED = GED{GSI: 9, Events: 0xfea00000, Registers: 0xfea00200}

// What the device has at Registers: the sleep control and status registers of
// section 4.8.3.7 and the reset register, a byte each.
const (
	GEDSleepControl = 0
	GEDSleepStatus  = 1
	GEDReset        = 2

	GEDResetValue  = 0x42 // written to GEDReset
	GEDSleepTypeS5 = 5    // written to bits 2-4 of GEDSleepControl together with bit 5

	// GEDPowerButton is the bit of the event register, which clears on read.
	GEDPowerButton = 1 << 1
)

// VirtioMMIO is a virtio device: its 512 bytes of registers and its interrupt,
// a level, active high.
type VirtioMMIO struct {
	Base uint64 // below 4 GiB
	GSI  uint32
}

const virtioMMIOLen = 0x200

// NewMicroVM builds the tables of a microvm board.
func NewMicroVM(c MicroVM) (*Tables, error) {
	oem, err := c.OEM.withDefaults()
	if err == nil {
		err = checkCPUs(c.CPUs)
	}
	if err != nil {
		return nil, err
	}
	if len(c.VirtioMMIO) > 256 {
		return nil, fmt.Errorf("ACPI tables for %d virtio-mmio devices: at most 256", len(c.VirtioMMIO))
	}
	for _, v := range c.VirtioMMIO {
		if v.Base > 1<<32-virtioMMIOLen {
			return nil, fmt.Errorf("virtio-mmio device at %#x is not below 4 GiB", v.Base)
		}
	}
	if len(c.IOAPICs) == 0 {
		c.IOAPICs = []IOAPIC{DefaultIOAPIC}
	}
	b := &builder{oem: oem, t: Tables{facs: -1}}
	dsdt := b.add(Table{"DSDT", 2, c.dsdt()})

	reg := func(offset uint64) gas { return gas{inMemory, 8, 1, uint64(c.GED.Registers) + offset} }
	f := fadt{
		revision: 6,
		bootArch: bootNoVGA,
		flags:    flagWBINVD | flagC1 | flagNoFixedPower | flagNoFixedSleep | flagReset | flagHardwareReduced,
		reset:    reg(GEDReset), resetValue: GEDResetValue,
		sleepCtl: reg(GEDSleepControl), sleepSts: reg(GEDSleepStatus),
	}
	if c.Keyboard {
		f.bootArch |= boot8042
	}
	if !c.RTC {
		f.bootArch |= bootNoRTC
	}
	b.addFADT(f, -1, dsdt)

	var over []override
	if c.TimerOnPin2 {
		over = []override{{0, 2, asBus}}
	}
	b.addListed(madt(c.CPUs, c.IOAPICs, over, c.PIC))
	b.addListed(waet())
	for _, t := range c.Extra {
		b.addListed(t)
	}
	return b.finish(true), nil
}

func (c *MicroVM) dsdt() []byte {
	body := []aml.Term{
		cpuDevices(c.CPUs, false),
		c.GED.device(),
		aml.Device("PWRB",
			aml.Name("_HID", aml.EISAID("PNP0C0C")),
			aml.Name("_UID", aml.Int(0))),
		serialDevices(c.Serial),
		fwCfgDevice(c.FWCfgPorts),
	}
	if c.RTC {
		body = append(body, rtcDevice())
	}
	if c.Keyboard {
		body = append(body, device("KBD", "PNP0303", staEnabled,
			aml.IO(0x60, 0x60, 1, 1), aml.IO(0x64, 0x64, 1, 1), aml.IRQNoFlags(1)))
	}
	for i, v := range c.VirtioMMIO {
		body = append(body, aml.Device(fmt.Sprintf("VR%02X", i),
			aml.Name("_HID", aml.String("LNRO0005")),
			aml.Name("_UID", aml.Int(uint64(i))),
			aml.Name("_CRS", aml.Resources(
				aml.Memory32Fixed(true, uint32(v.Base), virtioMMIOLen),
				aml.Interrupt(0, v.GSI)))))
	}
	return aml.Join(
		aml.Scope(`\_SB`, body...),
		aml.Name(`\_S5`, aml.Package(aml.Int(GEDSleepTypeS5), aml.Int(0), aml.Int(0), aml.Int(0))))
}

// device reads what happened, which clears it, and passes it on.
func (g GED) device() aml.Term {
	return aml.Device("GED",
		aml.Name("_HID", aml.String("ACPI0013")),
		aml.Name("_UID", aml.Int(0)),
		aml.Name("_CRS", aml.Resources(aml.Interrupt(aml.Edge, g.GSI))),
		aml.OpRegion("EVNT", aml.SystemMemory, uint64(g.Events), 4),
		aml.Field("EVNT", aml.DWordAccess, aml.WriteAsZeros, aml.Bits("WHAT", 32)),
		aml.Method("_EVT", 1, true,
			aml.Store(aml.Ref("WHAT"), aml.Local(0)),
			aml.If(aml.And(aml.Local(0), aml.Int(GEDPowerButton)),
				aml.Notify("PWRB", 0x80))))
}
