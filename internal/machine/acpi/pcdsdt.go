package acpi

import (
	"fmt"

	"govmd/internal/machine/acpi/aml"
)

// Values of _STA (section 6.3.7).
const (
	staEnabled  = 0xf // present, enabled, shown, working
	staHidden   = 0xb // the same, not shown
	staDisabled = 0x9 // present and working, not enabled
)

// dsdt is the byte code of the board's DSDT.
func (c *PC) dsdt() []byte {
	return aml.Join(
		aml.Scope(`\_SB`,
			aml.Device("PCI0",
				aml.Name("_HID", aml.EISAID("PNP0A03")),
				aml.Name("_UID", aml.Int(0)),
				aml.Name("_CRS", c.hostBridgeResources()),
				c.isaBridge(),
				c.platformResources(),
			),
			pciLinks(),
			// After the links, for systems that resolve a package's names
			// while they load it.
			aml.Scope("PCI0", aml.Name("_PRT", pciRouting())),
			c.hpetDevice(),
			cpuDevices(c.CPUs, true),
		),
		aml.Scope(`\_GPE`, aml.Name("_HID", aml.String("ACPI0006"))),
		c.sleepStates(),
	)
}

// hostBridgeResources are what the host bridge passes on to the bus, and the
// configuration ports, which it keeps.
func (c *PC) hostBridgeResources() aml.Term {
	list := []aml.Resource{
		aml.WordBusNumber(0, 255),
		aml.IO(0xcf8, 0xcf8, 1, 8),
		aml.WordIO(0, 0xcf7),
		aml.WordIO(0xd00, 0xffff),
		aml.DWordMemory(true, 0xa0000, 0xbffff),
	}
	for _, w := range c.PCIWindows {
		list = append(list, aml.DWordMemory(false, uint32(w.First), uint32(w.Last)))
	}
	if w := c.PCIWindow64; w != (Range{}) {
		list = append(list, aml.QWordMemory(true, w.First, w.Last))
	}
	return aml.Resources(list...)
}

// isaBridge is function 0 of slot 1, with the PIRQ registers and the devices
// behind it.
func (c *PC) isaBridge() aml.Term {
	body := []aml.Term{
		aml.Name("_ADR", aml.Int(1<<16)),
		aml.OpRegion("PIRC", aml.PCIConfig, 0x60, 4),
		aml.Field("PIRC", aml.ByteAccess, aml.Preserve,
			aml.Bits("PRQA", 8), aml.Bits("PRQB", 8), aml.Bits("PRQC", 8), aml.Bits("PRQD", 8)),
		rtcDevice(),
	}
	if c.Keyboard {
		body = append(body, device("KBD", "PNP0303", staEnabled,
			aml.IO(0x60, 0x60, 1, 1), aml.IO(0x64, 0x64, 1, 1), aml.IRQNoFlags(1)))
	}
	if c.Mouse {
		body = append(body, device("MOU", "PNP0F13", staEnabled, aml.IRQNoFlags(12)))
	}
	if c.Floppy {
		body = append(body, device("FDC0", "PNP0700", staEnabled,
			aml.IO(0x3f2, 0x3f2, 1, 4), aml.IO(0x3f7, 0x3f7, 1, 1), aml.IRQNoFlags(6), aml.DMA(2)))
	}
	if c.Parallel {
		body = append(body, device("LPT1", "PNP0400", staEnabled,
			aml.IO(0x378, 0x378, 8, 8), aml.IRQNoFlags(7)))
	}
	body = append(body, serialDevices(c.Serial))
	return aml.Device("ISA", body...)
}

// rtcDevice has a name of its own on both boards.
func rtcDevice() aml.Term {
	return device("RTC", "PNP0B00", staEnabled, aml.IO(0x70, 0x70, 1, 8), aml.IRQNoFlags(8))
}

// serialDevices are those of the four COM ports that exist.
func serialDevices(present [4]bool) aml.Term {
	ports := [4]struct {
		base uint16
		irq  uint8
	}{{0x3f8, 4}, {0x2f8, 3}, {0x3e8, 4}, {0x2e8, 3}}
	var out aml.Term
	for i, p := range ports {
		if !present[i] {
			continue
		}
		out = append(out, aml.Device(fmt.Sprintf("COM%d", i+1),
			aml.Name("_HID", aml.EISAID("PNP0501")),
			aml.Name("_UID", aml.Int(uint64(i+1))),
			aml.Name("_STA", aml.Int(staEnabled)),
			aml.Name("_CRS", aml.Resources(aml.IO(p.base, p.base, 8, 8), aml.IRQNoFlags(p.irq))))...)
	}
	return out
}

// device is a plug-and-play device of fixed resources.
func device(name, eisaID string, sta uint64, resources ...aml.Resource) aml.Term {
	return aml.Device(name,
		aml.Name("_HID", aml.EISAID(eisaID)),
		aml.Name("_STA", aml.Int(sta)),
		aml.Name("_CRS", aml.Resources(resources...)))
}

// platformResources are the ports that belong to no device the system drives,
// and the devices of the hypervisor.
func (c *PC) platformResources() aml.Term {
	used := []aml.Resource{
		aml.IO(c.PM.GPE, c.PM.GPE, 1, gpe0Len),
		aml.IO(c.PM.Base, c.PM.Base, 1, 64),
	}
	if c.PM.SMBus != 0 {
		used = append(used, aml.IO(c.PM.SMBus, c.PM.SMBus, 1, 16))
	}
	if c.PM.APMPort != 0 {
		used = append(used, aml.IO(c.PM.APMPort, c.PM.APMPort, 1, 2))
	}
	out := device("SYSR", "PNP0C02", staHidden, used...)
	out = append(out, fwCfgDevice(c.FWCfgPorts)...)
	if c.PVPanicPort != 0 {
		out = append(out, aml.Device("PEVT",
			aml.Name("_HID", aml.String("QEMU0001")),
			aml.Name("_STA", aml.Int(staEnabled)),
			aml.Name("_CRS", aml.Resources(aml.IO(c.PVPanicPort, c.PVPanicPort, 1, 1))))...)
	}
	return out
}

// fwCfgDevice is empty for no ports.
func fwCfgDevice(ports uint8) aml.Term {
	if ports == 0 {
		return nil
	}
	return aml.Device("FWCF",
		aml.Name("_HID", aml.String("QEMU0002")),
		aml.Name("_STA", aml.Int(staHidden)),
		aml.Name("_CRS", aml.Resources(aml.IO(0x510, 0x510, 1, ports))))
}

// hpetDevice is a memory range: the table of the same name says the rest.
func (c *PC) hpetDevice() aml.Term {
	if c.HPET == 0 {
		return nil
	}
	return aml.Device("HPET",
		aml.Name("_HID", aml.EISAID("PNP0103")),
		aml.Name("_UID", aml.Int(0)),
		aml.Name("_STA", aml.Int(staEnabled)),
		aml.Name("_CRS", aml.Resources(aml.Memory32Fixed(false, HPETBase, 0x400))))
}

// sleepStates are the packages that name the sleep types (section 7.4.2).
func (c *PC) sleepStates() aml.Term {
	state := func(name string, kind uint8) aml.Term {
		v := aml.Int(uint64(kind))
		return aml.Name(name, aml.Package(v, v, aml.Int(0), aml.Int(0)))
	}
	var out aml.Term
	if c.S3 {
		out = append(out, state(`\_S3`, SleepTypeS3)...)
	}
	if c.S4 {
		kind := c.S4Type
		if kind == 0 {
			kind = DefaultSleepTypeS4
		}
		out = append(out, state(`\_S4`, kind)...)
	}
	return append(out, state(`\_S5`, SleepTypeS5)...)
}
