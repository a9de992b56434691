package cpu

import "math/bits"

// Topology is how a machine's CPUs, present or pluggable, are grouped: the
// numbers are of what is in the level above, and at least 1.
type Topology struct {
	Sockets, Dies, Cores, Threads int
}

// normal replaces what is less than 1.
func (t Topology) normal() Topology {
	return Topology{max(t.Sockets, 1), max(t.Dies, 1), max(t.Cores, 1), max(t.Threads, 1)}
}

// CPUs returns how many CPUs the topology has room for.
func (t Topology) CPUs() int {
	t = t.normal()
	return t.Sockets * t.Dies * t.Cores * t.Threads
}

// perPackage is the number of logical processors in a socket.
func (t Topology) perPackage() int { return t.Dies * t.Cores * t.Threads }

// Location is the place of a CPU.
type Location struct {
	Socket, Die, Core, Thread int
}

// Location returns the place of the CPU with the given index, threads counting
// fastest.
func (t Topology) Location(index int) (l Location) {
	t = t.normal()
	l.Thread, index = index%t.Threads, index/t.Threads
	l.Core, index = index%t.Cores, index/t.Cores
	l.Die, l.Socket = index%t.Dies, index/t.Dies
	return l
}

// An APIC id is made of fields, each as wide as its level needs: thread, core,
// die, and the socket above. These are where the fields begin.
func (t Topology) coreShift() int    { return width(t.Threads) }
func (t Topology) dieShift() int     { return t.coreShift() + width(t.Cores) }
func (t Topology) packageShift() int { return t.dieShift() + width(t.Dies) }

// width is the number of bits that tell n things apart.
func width(n int) int { return bits.Len(uint(n - 1)) }

// APICID returns the APIC id of the CPU with the given index.
func (t Topology) APICID(index int) uint32 {
	t = t.normal()
	l := t.Location(index)
	return uint32(l.Socket<<t.packageShift() | l.Die<<t.dieShift() | l.Core<<t.coreShift() | l.Thread)
}

// MaxAPICID returns the highest APIC id that a CPU can have.
func (t Topology) MaxAPICID() uint32 { return t.APICID(t.CPUs() - 1) }
