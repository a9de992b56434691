// Package memory is the guest's physical address space: RAM, ROM, dispatch of
// port and memory-mapped I/O, access by devices (DMA), and dirty pages.
//
// A System is one machine's memory. It has address spaces (Space), each made
// from a tree of regions (Region) that is rendered into an immutable, flat
// table. Accesses look things up in the table, which takes no lock and
// allocates nothing; a change of the tree makes a new table, swaps it in, and
// tells the space's listeners what is different. RAM itself is a Block.
//
// Locking. The tree is guarded by the System's topology lock. It is re-entrant
// for the goroutine that holds it, so that what runs in Update may use every
// method, and it is never held while a Handler runs: handlers may change the
// tree. A device's mutex may be held while the tree changes; so neither
// listeners nor functions given to Update may take device mutexes. Order:
// device mutex, topology lock, a listener's own lock, nothing.
package memory

import "math/bits"

// Handler serves accesses to an I/O region. Its methods are called from vCPU
// threads and device goroutines, several at once; off is relative to the region,
// size is 1, 2, 4 or 8 as the region's Spec allows. What ReadIO returns above
// size bytes is ignored, and what WriteIO gets there is zero.
type Handler interface {
	ReadIO(off uint64, size int) uint64
	WriteIO(off uint64, size int, v uint64)
}

// Spec says which accesses a region takes from the guest and which its handler
// implements. Zero values mean 1 to 8 bytes taken, and 1 to 8 implemented.
//
// An access that is larger than Max is split, as a bus does it that is narrower
// than the processor's; so is one that is not aligned to its size, unless the
// region takes those. Then what is smaller than Min reads as all ones and is not
// written. What remains reaches the handler: if
// larger than ImplMax in pieces, lowest first; if smaller than ImplMin as a part
// of the aligned ImplMin bytes around it, the others being written as zero.
// Multi-byte values are little-endian.
type Spec struct {
	Min, Max         int  // sizes that the guest may use, 1, 2, 4 or 8
	ImplMin, ImplMax int  // sizes that the handler takes, 1, 2, 4 or 8
	Unaligned        bool // whether accesses need not be aligned to their size
}

// normal returns the spec with its zero values filled in and all sizes powers of two from 1 to 8.
func (s Spec) normal() Spec {
	s.Min, s.Max = sizeRange(s.Min, s.Max)
	s.ImplMin, s.ImplMax = sizeRange(s.ImplMin, s.ImplMax)
	return s
}

func sizeRange(lo, hi int) (int, int) {
	if hi <= 0 || hi > 8 {
		hi = 8
	}
	lo = min(max(lo, 1), hi)
	return floorPow2(lo), floorPow2(hi)
}

func floorPow2(n int) int { return 1 << (bits.Len(uint(n)) - 1) }
