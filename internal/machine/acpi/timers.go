package acpi

// HPETBase is where the event timer's registers are.
const HPETBase = 0xfed00000

// hpet describes the first timer block (IA-PC HPET 1.0a, section 3.2.4) by the id
// that its capabilities register has in the low half.
func hpet(id uint32) Table {
	b := le.AppendUint32(nil, id)
	b = append(b, make([]byte, 16)...)
	gas{inMemory, 64, 0, HPETBase}.put(b[4:])
	return Table{"HPET", 1, b}
}

// waet tells Windows which devices behave better than hardware does (Windows
// ACPI Emulated Devices Table): the PM timer needs only be read once.
func waet() Table {
	const pmTimerGood = 1 << 1
	return Table{"WAET", 1, le.AppendUint32(nil, pmTimerGood)}
}
