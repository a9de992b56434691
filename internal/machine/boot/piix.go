package boot

import "govmd/internal/machine/acpi"

// Firmware leaves an i440FX/PIIX4 chip set set up in a way that systems rely
// on. Where there is none the board does these writes itself, after each reset.

// ConfigWrite is a write to PCI configuration space.
type ConfigWrite struct {
	Bus, Slot, Func uint8
	Offset          uint8
	Size            int // 1, 2 or 4 bytes
	Value           uint32
}

// PortWrite is a write of a byte to a port.
type PortWrite struct {
	Port  uint16
	Value uint8
}

// PCIFunction is a function on bus 0 whose interrupt is to be routed. Pin is as
// in its configuration space: 1 is INTA, 0 none.
type PCIFunction struct{ Slot, Func, Pin uint8 }

// pirqIRQs are the ISA interrupts of PIRQA to PIRQD.
var pirqIRQs = [4]uint8{10, 10, 11, 11}

// pmSlot and pmFunction are where the power management function is.
const (
	hostBridgeSlot = 0
	pmSlot         = 1
	ideFunction    = 1
	pmFunction     = 3

	interruptLine = 0x3c
)

// InterruptLine is the ISA interrupt of pin (from 1 on) of a slot on bus 0, as
// ChipSetup routes it; 0 for pin 0.
func InterruptLine(slot, pin uint8) uint8 {
	if pin == 0 || pin > 4 {
		return 0
	}
	return pirqIRQs[acpi.SlotPIRQ(int(slot), int(pin)-1)]
}

// ChipSetup is what firmware would write to the chip set: shadow RAM readable
// and writable at 0xc0000-0xfffff, where the tables are, and where a system that
// looks for option ROMs would otherwise leave the guest at each access; PIRQ
// routing and the trigger mode of the interrupts used; the addresses of the power management
// function; the IDE channels; and each function's interrupt line.
func ChipSetup(pm acpi.PM, functions []PCIFunction) ([]ConfigWrite, []PortWrite) {
	var c []ConfigWrite
	add := func(slot, function, offset uint8, size int, value uint32) {
		c = append(c, ConfigWrite{0, slot, function, offset, size, value})
	}
	// Programmable attribute map: reads and writes go to RAM.
	add(hostBridgeSlot, 0, 0x59, 1, 0x30)
	for register := uint8(0x5a); register <= 0x5f; register++ {
		add(hostBridgeSlot, 0, register, 1, 0x33)
	}

	var levels uint16
	for i, irq := range pirqIRQs {
		add(pmSlot, 0, 0x60+uint8(i), 1, uint32(irq))
		levels |= 1 << irq
	}
	for _, f := range functions {
		if f.Pin == 0 {
			continue
		}
		line := InterruptLine(f.Slot, f.Pin)
		if f.Slot == pmSlot && f.Func == pmFunction {
			line = pm.SCI
		}
		add(f.Slot, f.Func, interruptLine, 1, uint32(line))
	}
	for _, f := range functions {
		switch {
		case f.Slot != pmSlot:
		case f.Func == ideFunction:
			add(pmSlot, ideFunction, 0x40, 2, 0x8000) // both channels decode
			add(pmSlot, ideFunction, 0x42, 2, 0x8000)
		case f.Func == pmFunction:
			add(pmSlot, pmFunction, 0x40, 4, uint32(pm.Base)|1)
			add(pmSlot, pmFunction, 0x80, 1, 1)
			if pm.SMBus != 0 {
				add(pmSlot, pmFunction, 0x90, 4, uint32(pm.SMBus)|1)
				add(pmSlot, pmFunction, 0xd2, 1, 0x09)
			}
		}
	}
	return c, []PortWrite{{0x4d0, uint8(levels)}, {0x4d1, uint8(levels >> 8)}}
}
