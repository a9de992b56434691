package acpi

import (
	"errors"
	"fmt"
)

// Range is a range of addresses, both ends included.
type Range struct{ First, Last uint64 }

// ResetPort is the port and value by which the system resets the machine.
type ResetPort struct {
	Port  uint16
	Value uint8
}

// PIIXReset is the reset control register of the PIIX: a hard reset.
var PIIXReset = ResetPort{0xcf9, 0x06}

// PC describes an i440FX/PIIX4 board. Fields left zero stand for what the board
// does not have.
type PC struct {
	OEM  OEM
	CPUs []CPU

	// PCIWindows are the memory ranges below 4 GiB that PCI devices may be
	// given, PCIWindow64 the one above.
	PCIWindows  []Range
	PCIWindow64 Range

	PM PM
	// Reset is left out of the tables if its port is 0.
	Reset ResetPort

	// HPET is the id of the event timer, the low half of its capabilities; 0 for none.
	HPET     uint32
	VGA      bool // a display that answers at the VGA addresses
	Keyboard bool
	Mouse    bool
	Floppy   bool
	Serial   [4]bool // COM1 to COM4
	Parallel bool    // LPT1

	// FWCfgPorts is how many ports fw_cfg has from 0x510 on: 12 with DMA, 10
	// without, 0 for no device in the tables.
	FWCfgPorts uint8
	// PVPanicPort is 0 for none.
	PVPanicPort uint16

	// S3 and S4 say whether the machine can suspend to RAM and to disk.
	S3, S4 bool
	// S4Type is the sleep type of S4. Zero is 2.
	S4Type uint8

	// XSDT makes the root pointer one of revision 2, for 64-bit systems;
	// without, it is of revision 0, which every system reads.
	XSDT bool

	// Extra are further tables: those of other devices, or of the user.
	Extra []Table
}

// PM is the power management function of the PIIX4.
type PM struct {
	Base    uint16 // event, control and timer registers, 64 ports
	SMBus   uint16 // 16 ports, 0 for none
	GPE     uint16 // 4 ports
	SCI     uint8
	APMPort uint16 // where ACPI is enabled; 0: it is from the start

	// APMEnable and APMDisable are what the system writes to APMPort.
	APMEnable, APMDisable uint8
}

// DefaultPM has the addresses that PC firmware gives the function and the
// values that it answers to.
var DefaultPM = PM{Base: 0x600, SMBus: 0x700, GPE: 0xafe0, SCI: 9, APMPort: 0xb2, APMEnable: 0xf1, APMDisable: 0xf0}

// Sleep types of the PIIX4 (PM1a control, bits 10-12) as the tables state them.
const (
	SleepTypeS3        = 1
	SleepTypeS5        = 0
	DefaultSleepTypeS4 = 2
)

const gpe0Len = 4

func (c *PC) check() error {
	if err := checkCPUs(c.CPUs); err != nil {
		return err
	}
	for _, w := range c.PCIWindows {
		if w.Last < w.First || w.Last >= 1<<32 {
			return fmt.Errorf("PCI window %#x-%#x is not a range below 4 GiB", w.First, w.Last)
		}
	}
	if w := c.PCIWindow64; w != (Range{}) && (w.Last < w.First || w.First < 1<<32) {
		return fmt.Errorf("PCI window %#x-%#x is not a range above 4 GiB", w.First, w.Last)
	}
	if c.PM.Base == 0 || c.PM.GPE == 0 {
		return errors.New("ACPI tables of a PC need the addresses of its power management registers")
	}
	return nil
}

// NewPC builds the tables of an i440FX/PIIX4 board.
func NewPC(c PC) (*Tables, error) {
	oem, err := c.OEM.withDefaults()
	if err == nil {
		err = c.check()
	}
	if err != nil {
		return nil, err
	}
	b := &builder{oem: oem, t: Tables{facs: -1}}
	facs := b.addFACS()
	dsdt := b.add(Table{"DSDT", 1, c.dsdt()})

	f := fadt{
		revision: 3, model: 1,
		sci: uint16(c.PM.SCI), smiCommand: uint32(c.PM.APMPort),
		pm1Event: c.PM.Base, pm1Ctl: c.PM.Base + 4, pmTimer: c.PM.Base + 8,
		gpe0: c.PM.GPE, gpe0Len: gpe0Len,
		c2Latency: 0xfff, c3Latency: 0xfff,
		century:  0x32,
		bootArch: bootLegacyDevices,
		flags:    flagWBINVD | flagC1 | flagNoFixedSleep | flagPlatformClock,
	}
	if c.PM.APMPort != 0 {
		f.enable, f.disable = c.PM.APMEnable, c.PM.APMDisable
	}
	if c.Keyboard || c.Mouse {
		f.bootArch |= boot8042
	}
	if !c.VGA {
		f.bootArch |= bootNoVGA
	}
	if c.S4 {
		f.flags |= flagRTCS4
	}
	if len(c.CPUs) > 8 {
		f.flags |= flagAPICClusterModel
	}
	if c.Reset.Port != 0 {
		f.flags |= flagReset
		f.reset = gas{inIO, 8, 1, uint64(c.Reset.Port)}
		f.resetValue = c.Reset.Value
	}
	b.addFADT(f, facs, dsdt)

	// The timer's interrupt is wired to pin 2. The interrupts that PCI uses
	// come in at their ISA numbers, as levels.
	over := []override{{0, 2, asBus}}
	for _, irq := range []uint8{5, 9, 10, 11} {
		over = append(over, override{irq, uint32(irq), levelActiveHigh})
	}
	b.addListed(madt(c.CPUs, []IOAPIC{DefaultIOAPIC}, over, true))
	if c.HPET != 0 {
		b.addListed(hpet(c.HPET))
	}
	b.addListed(waet())
	for _, t := range c.Extra {
		b.addListed(t)
	}
	return b.finish(c.XSDT), nil
}
