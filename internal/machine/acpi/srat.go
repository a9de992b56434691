package acpi

// Affinity says to which nodes processors and memory belong.
type Affinity struct {
	CPUs   []CPUAffinity
	Memory []MemoryAffinity
}

// CPUAffinity is a processor's node.
type CPUAffinity struct {
	APICID, Node uint32
}

// MemoryAffinity is the node of a range of memory.
type MemoryAffinity struct {
	Base, Size uint64
	Node       uint32
}

// Entries of the SRAT (section 5.2.16).
const (
	sratLocalAPIC   = 0
	sratMemory      = 1
	sratLocalX2APIC = 2

	sratEnabled = 1
)

// SRAT is the system resource affinity table.
func SRAT(a Affinity) Table {
	b := le.AppendUint32(nil, 1) // for systems that expect it
	b = le.AppendUint64(b, 0)
	for _, c := range a.CPUs {
		if c.APICID < firstX2APICID {
			b = append(b, sratLocalAPIC, 16, byte(c.Node), byte(c.APICID))
			b = le.AppendUint32(b, sratEnabled)
			b = append(b, 0, byte(c.Node>>8), byte(c.Node>>16), byte(c.Node>>24))
			b = le.AppendUint32(b, 0) // clock domain
			continue
		}
		b = append(b, sratLocalX2APIC, 24, 0, 0)
		for _, v := range []uint32{c.Node, c.APICID, sratEnabled, 0, 0} {
			b = le.AppendUint32(b, v)
		}
	}
	for _, m := range a.Memory {
		b = append(b, sratMemory, 40)
		b = le.AppendUint32(b, m.Node)
		b = le.AppendUint16(b, 0)
		b = le.AppendUint64(b, m.Base)
		b = le.AppendUint64(b, m.Size)
		b = le.AppendUint32(b, 0)
		b = le.AppendUint32(b, sratEnabled)
		b = le.AppendUint64(b, 0)
	}
	return Table{"SRAT", 1, b}
}

// SLIT is the system locality information table (section 5.2.17): the distances
// between n nodes, 10 being that to itself.
func SLIT(n int, distance func(from, to int) uint8) Table {
	b := le.AppendUint64(nil, uint64(n))
	for i := range n {
		for j := range n {
			b = append(b, distance(i, j))
		}
	}
	return Table{"SLIT", 1, b}
}
