// Package accel is what executes a machine's vCPUs and carries its interrupts:
// KVM, or qtest, under which nothing executes and tests drive the devices.
package accel

import (
	"govmd/internal/device"
	"govmd/internal/memory"
	"govmd/internal/runstate"
)

// GSIs is the number of global system interrupts of a PC's I/O APIC.
const GSIs = 24

// Accel is an accelerator of one machine.
type Accel interface {
	// Name is "kvm" or "qtest".
	Name() string
	// Wire has the accelerator follow the guest's memory map and ports. It is
	// called once, before anything is mapped. refused is told, by whoever changes
	// the map, of what the host does not take; it must not wait.
	Wire(sys *memory.System, mem, io *memory.Space, refused func(*MapError)) error
	// Pins are the global system interrupts: 0 to 15 are the ISA interrupts,
	// which reach the PICs and the I/O APIC both.
	Pins() [GSIs]*device.Pin
	// MSI takes message-signalled interrupts.
	MSI() device.MSIController
	// PlugChips makes the interrupt controllers part of the machine; pic and pit
	// say whether PICs and an interval timer are among them, and prepare sets the
	// properties of each before it is plugged.
	PlugChips(env *device.Env, pic, pit bool, prepare func(device.Device) error) error
	// SetELCR sets which ISA interrupts are level-triggered (bit n for
	// interrupt n), as firmware does.
	SetELCR(levels uint16) error
	// MaskPICs masks all inputs of the PICs, as firmware leaves them to a
	// kernel. One that finds its interrupts by other means never looks at them,
	// and would take the timer's for a divide error: after a reset nothing is
	// masked, and their first vector is 0.
	MaskPICs() error
	// SetHPETLegacy takes the timer interrupt from the interval timer and gives
	// it to the HPET, or back.
	SetHPETLegacy(on bool)
	// VCPUs pause and resume together.
	runstate.VCPUs
	// Close ends all vCPUs and gives back what the accelerator holds.
	Close()
}
