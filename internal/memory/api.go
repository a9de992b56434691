// Package memory is the guest's physical address space: RAM, ROM, dispatch of
// port and memory-mapped I/O, access by devices (DMA), and dirty pages.
package memory

// Handler serves accesses to an I/O region. Its methods are called from vCPU
// threads and device goroutines, several at once; off is relative to the region,
// size is 1, 2, 4 or 8 as the region's Spec allows.
type Handler interface {
	ReadIO(off uint64, size int) uint64
	WriteIO(off uint64, size int, v uint64)
}

// Spec says which accesses a region takes from the guest and which its handler
// implements; others are split, combined or answered with all ones. Zero values
// mean 1 to 8 bytes taken, and 1 to 8 implemented.
type Spec struct {
	Min, Max         int  // sizes that the guest may use; others read as all ones and are not written
	ImplMin, ImplMax int  // sizes that the handler takes; larger ones are split, smaller widened
	Unaligned        bool // whether accesses need not be aligned to their size
}
