package acpi

import "govmd/internal/machine/acpi/aml"

// PCI interrupts reach the PIIX on four wires, PIRQA to PIRQD. A register for
// each names the ISA interrupt it raises; bit 7 cuts it off. Every wire is a
// link device whose setting the system reads and changes through the register.

// SlotPIRQ returns which of the wires, 0 to 3, pin of a slot on bus 0 is
// connected to. Pins are counted from 0, INTA.
func SlotPIRQ(slot, pin int) int { return (slot + pin - 1) & 3 }

// pciLinks are the link devices LNKA to LNKD, and LNKS for the power management
// function, whose interrupt is wired to the SCI.
func pciLinks() aml.Term {
	var out aml.Term
	for i, wire := range []string{"A", "B", "C", "D"} {
		reg := aml.Ref(`\_SB.PCI0.ISA.PRQ` + wire)
		disabled := aml.And(reg, aml.Int(0x80))
		out = append(out, aml.Device("LNK"+wire,
			aml.Name("_HID", aml.EISAID("PNP0C0F")),
			aml.Name("_UID", aml.Int(uint64(i+1))),
			aml.Name("_PRS", aml.Resources(aml.Interrupt(aml.Shared, 5, 10, 11))),
			aml.Method("_STA", 0, false,
				aml.If(disabled, aml.Return(aml.Int(staDisabled))),
				aml.Return(aml.Int(staHidden))),
			aml.Method("_DIS", 0, false,
				aml.Or(reg, aml.Int(0x80), reg)),
			aml.Name("NOW", aml.Resources(aml.Interrupt(aml.Shared, 0))),
			aml.Method("_CRS", 0, true,
				aml.CreateDWordField(aml.Ref("NOW"), aml.InterruptNumberOffset, "IRQN"),
				aml.Store(aml.Int(0), aml.Ref("IRQN")), // it has what it was last time
				aml.If(aml.LogicalNot(disabled),
					aml.And(reg, aml.Int(0xf), aml.Ref("IRQN"))),
				aml.Return(aml.Ref("NOW"))),
			aml.Method("_SRS", 1, true,
				aml.CreateDWordField(aml.Arg(0), aml.InterruptNumberOffset, "IRQN"),
				aml.Store(aml.Ref("IRQN"), reg)),
		)...)
	}
	sci := aml.Resources(aml.Interrupt(aml.Shared, 9))
	return append(out, aml.Device("LNKS",
		aml.Name("_HID", aml.EISAID("PNP0C0F")),
		aml.Name("_UID", aml.Int(5)),
		aml.Name("_STA", aml.Int(staHidden)),
		aml.Name("_PRS", sci),
		aml.Name("_CRS", sci),
		// Nothing can be set, but the methods have to be there.
		aml.Method("_DIS", 0, false),
		aml.Method("_SRS", 1, false),
	)...)
}

// pciRouting is the list of which pin of which slot is on which link.
func pciRouting() aml.Term {
	links := []string{"LNKA", "LNKB", "LNKC", "LNKD"}
	var list []aml.Term
	for slot := range 32 {
		for pin := range 4 {
			link := links[SlotPIRQ(slot, pin)]
			if slot == 1 && pin == 0 {
				link = "LNKS"
			}
			list = append(list, aml.Package(
				aml.Int(uint64(slot)<<16|0xffff), aml.Int(uint64(pin)), aml.Ref(`\_SB.`+link), aml.Int(0)))
		}
	}
	return aml.Package(list...)
}
