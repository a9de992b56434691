package machine

import (
	"strconv"
	"strings"

	"govmd/internal/machine/acpi"
)

// nodeOf returns the node of a CPU: as given, or, when none is, by its socket.
func (m *Machine) nodeOf(index int) int {
	n := &m.NUMA
	switch {
	case len(n.Nodes) == 0:
		return 0
	case len(n.cpus) == 0:
		return m.topology().Location(index).Socket % len(n.Nodes)
	}
	return n.cpus[index]
}

// warnOfCPUs tells of CPUs that no node has.
func (m *Machine) warnOfCPUs() {
	n := &m.NUMA
	if len(n.cpus) == 0 {
		return
	}
	var missing []string
	for i := range m.SMP.MaxCPUs {
		if _, ok := n.cpus[i]; !ok {
			missing = append(missing, strconv.Itoa(i))
		}
	}
	if len(missing) > 0 {
		m.log().Warnf("CPU(s) not present in any NUMA nodes: %s; node 0 has them", strings.Join(missing, ", "))
	}
}

// numaTables returns the ACPI tables that describe the nodes.
func (m *Machine) numaTables(l layout) []acpi.Table {
	if len(m.NUMA.Nodes) == 0 {
		return nil
	}
	var a acpi.Affinity
	for i := range m.SMP.MaxCPUs {
		a.CPUs = append(a.CPUs, acpi.CPUAffinity{APICID: m.topology().APICID(i), Node: uint32(m.nodeOf(i))})
	}
	var at uint64 // in RAM
	for id, node := range m.NUMA.Nodes {
		for _, r := range l.physical(at, node.Size) {
			a.Memory = append(a.Memory, acpi.MemoryAffinity{Base: r[0], Size: r[1], Node: uint32(id)})
		}
		at += node.Size
	}
	tables := []acpi.Table{acpi.SRAT(a)}
	if m.NUMA.distances != nil {
		tables = append(tables, acpi.SLIT(len(m.NUMA.Nodes), func(from, to int) uint8 { return m.NUMA.distances[[2]int{from, to}] }))
	}
	return tables
}

// The legacy area of a PC, which is no RAM.
const (
	legacyStart = 640 << 10
	legacyEnd   = 1 << 20
)

// physical returns where size bytes of RAM from off on are for the guest, as
// pairs of address and size.
func (l *layout) physical(off, size uint64) (ranges [][2]uint64) {
	add := func(first, end uint64) {
		if first < end {
			ranges = append(ranges, [2]uint64{first, end - first})
		}
	}
	low := min(off+size, l.below)
	add(off, min(low, legacyStart))
	add(max(off, legacyEnd), low)
	if end := off + size; end > l.below {
		start := max(off, l.below)
		add(fourGiB+start-l.below, fourGiB+end-l.below)
	}
	return ranges
}

// numaWords is what firmware is told of the nodes: how many there are, the node
// of each CPU by its APIC ID, and the memory of each node.
func (m *Machine) numaWords(limit int) []uint64 {
	words := make([]uint64, 1+limit, 1+limit+len(m.NUMA.Nodes))
	words[0] = uint64(len(m.NUMA.Nodes))
	for i := range m.SMP.MaxCPUs {
		words[1+m.topology().APICID(i)] = uint64(m.nodeOf(i))
	}
	for _, node := range m.NUMA.Nodes {
		words = append(words, node.Size)
	}
	return words
}
