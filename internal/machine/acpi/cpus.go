package acpi

import (
	"fmt"

	"govmd/internal/machine/acpi/aml"
)

// cpuDevices are the processors, those present and those that may be plugged
// in, in a container. With legacy those with an 8-bit APIC id are Processor
// objects, which systems older than ACPI 6.0 need; else all are devices.
func cpuDevices(cpus []CPU, legacy bool) aml.Term {
	body := []aml.Term{
		aml.Name("_HID", aml.String("ACPI0010")),
		aml.Name("_CID", aml.EISAID("PNP0A05")),
	}
	for i, c := range cpus {
		name := fmt.Sprintf("C%03X", i)
		var sta uint64
		if c.Present {
			sta = staEnabled
		}
		inside := aml.Join(
			aml.Name("_STA", aml.Int(sta)),
			aml.Name("_MAT", aml.Buffer(localAPICEntry(i, c, true))))
		if entry := localAPICEntry(i, c, true); legacy && entry[0] == madtLocalAPIC {
			body = append(body, aml.Processor(name, uint8(i), inside))
			continue
		}
		body = append(body, aml.Device(name,
			aml.Name("_HID", aml.String("ACPI0007")),
			aml.Name("_UID", aml.Int(uint64(i))),
			inside))
	}
	return aml.Device("CPUS", body...)
}
