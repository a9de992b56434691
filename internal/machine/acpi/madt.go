package acpi

import "fmt"

// CPU is a processor that is or may later be plugged in. Its number in a list
// of CPUs is its ACPI processor id.
type CPU struct {
	APICID  uint32
	Present bool
}

// IOAPIC is an I/O interrupt controller.
type IOAPIC struct {
	ID      uint8
	Addr    uint32
	GSIBase uint32
}

// DefaultIOAPIC is the first I/O APIC of every board.
var DefaultIOAPIC = IOAPIC{ID: 0, Addr: 0xfec00000, GSIBase: 0}

const localAPICAddr = 0xfee00000

// override maps an ISA interrupt to a global one.
type override struct {
	irq   uint8
	gsi   uint32
	flags uint16
}

// Interrupt flags of the MADT (table 5.23).
const (
	asBus           = 0
	levelActiveHigh = 3<<2 | 1
)

// Entry types of the MADT (table 5.21).
const (
	madtLocalAPIC   = 0
	madtIOAPIC      = 1
	madtOverride    = 2
	madtLocalNMI    = 4
	madtLocalX2APIC = 9
	madtX2APICNMI   = 10
)

// firstX2APICID is the lowest APIC id that needs the x2APIC form: 255 is the
// broadcast id of the older one.
const firstX2APICID = 255

// maxCPUs bounds lists of CPUs, so that names and table sizes stay in range.
const maxCPUs = 4096

func checkCPUs(cpus []CPU) error {
	if len(cpus) == 0 {
		return fmt.Errorf("ACPI tables need at least one CPU")
	}
	if len(cpus) > maxCPUs {
		return fmt.Errorf("ACPI tables for %d CPUs: at most %d", len(cpus), maxCPUs)
	}
	return nil
}

// localAPICEntry is the MADT entry of CPU n, which its _MAT holds too.
func localAPICEntry(n int, c CPU, enabled bool) []byte {
	var flags uint32
	if enabled {
		flags = 1
	}
	if c.APICID < firstX2APICID && n < 255 {
		return le.AppendUint32([]byte{madtLocalAPIC, 8, byte(n), byte(c.APICID)}, flags)
	}
	b := le.AppendUint32([]byte{madtLocalX2APIC, 16, 0, 0}, c.APICID)
	b = le.AppendUint32(b, flags)
	return le.AppendUint32(b, uint32(n))
}

// madt is the multiple APIC description table (section 5.2.12). pic says that
// the two 8259 are there too.
func madt(cpus []CPU, ioapics []IOAPIC, overrides []override, pic bool) Table {
	b := le.AppendUint32(nil, localAPICAddr)
	var flags uint32
	if pic {
		flags = 1
	}
	b = le.AppendUint32(b, flags)
	x2apic := false
	for i, c := range cpus {
		e := localAPICEntry(i, c, c.Present)
		x2apic = x2apic || e[0] == madtLocalX2APIC
		b = append(b, e...)
	}
	for _, io := range ioapics {
		b = append(b, madtIOAPIC, 12, io.ID, 0)
		b = le.AppendUint32(b, io.Addr)
		b = le.AppendUint32(b, io.GSIBase)
	}
	for _, o := range overrides {
		b = append(b, madtOverride, 10, 0, o.irq)
		b = le.AppendUint32(b, o.gsi)
		b = le.AppendUint16(b, o.flags)
	}
	// NMI arrives at LINT1 of every processor.
	b = append(b, madtLocalNMI, 6, 0xff, 0, 0, 1)
	if x2apic {
		b = append(b, madtX2APICNMI, 12, 0, 0, 0xff, 0xff, 0xff, 0xff, 1, 0, 0, 0)
	}
	return Table{"APIC", 3, b}
}
