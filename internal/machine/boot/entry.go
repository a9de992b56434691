// Package boot brings a guest to its first instruction without firmware: it
// loads Linux kernels (bzImage by the 64-bit boot protocol, ELF images by that
// of PVH) and what -device loader names, makes the memory map, and knows what
// firmware would have told a PC's chip set.
//
// Loading is described by a Plan: what to copy to where, and the state in which
// the first processor then starts. A plan is executed at every reset.
package boot

// Mode is the state of the processor in which an entry point is called.
type Mode int

// The modes.
const (
	Real        Mode = iota // 16-bit
	Protected32             // 32-bit segments, no paging
	Long64                  // 64-bit, paging on
)

// SegmentRegister is a segment register with its hidden part.
type SegmentRegister struct {
	Selector uint16
	Base     uint64
	Limit    uint32
	Type     uint8 // as in a descriptor: 0xb executable, 0x3 writable, 0xb with System a busy TSS
	System   bool  // a task state segment, not code or data
	Long     bool  // 64-bit code
	Big      bool  // 32-bit code or data
	Granular bool  // the limit counts pages
}

// TableRegister is GDTR or IDTR.
type TableRegister struct {
	Base  uint64
	Limit uint16
}

// Bits of the registers in an Entry.
const (
	cr0PE, cr0ET, cr0NE, cr0WP, cr0PG = 1 << 0, 1 << 4, 1 << 5, 1 << 16, 1 << 31
	cr4PAE                            = 1 << 5
	eferLME, eferLMA                  = 1 << 8, 1 << 10
	rflagsReserved                    = 1 << 1
)

// Entry is the state in which the first processor starts. What is not named
// here is as after a reset, or 0.
type Entry struct {
	Mode                Mode
	RIP, RSP, RBX, RSI  uint64
	RFLAGS              uint64
	CR0, CR3, CR4, EFER uint64
	CS, Data, TR        SegmentRegister // Data is DS, ES, FS, GS and SS
	GDT, IDT            TableRegister
}

// Descriptors that both protocols of direct boot want, and where in the table:
// the Linux boot protocol names 0x10 and 0x18.
const (
	codeSelector = 0x10
	dataSelector = 0x18
	taskSelector = 0x20
)

// gdt is the table that the segments of an Entry come from.
func gdt(long bool) []byte {
	code := uint64(0x00cf9b000000ffff) // 32-bit, base 0, 4 GiB, accessed
	if long {
		code = 0x00af9b000000ffff
	}
	b := make([]byte, 0, 40)
	for _, d := range []uint64{0, 0, code, 0x00cf93000000ffff, 0x00008b0000000067} {
		b = le.AppendUint64(b, d)
	}
	return b
}

// flat fills in the segments that gdt describes.
func (e *Entry) flat(long bool) {
	e.CS = SegmentRegister{Selector: codeSelector, Limit: 0xffffffff, Type: 0xb, Long: long, Big: !long, Granular: true}
	e.Data = SegmentRegister{Selector: dataSelector, Limit: 0xffffffff, Type: 0x3, Big: true, Granular: true}
	e.TR = SegmentRegister{Selector: taskSelector, Limit: 0x67, Type: 0xb, System: true}
	e.GDT = TableRegister{Base: gdtAddr, Limit: 39}
	e.RFLAGS = rflagsReserved
}

// protected32 is the state that the PVH boot protocol describes.
func protected32(ip, startInfo uint64) Entry {
	e := Entry{Mode: Protected32, RIP: ip, RBX: startInfo, RSP: stackTop, CR0: cr0PE | cr0ET}
	e.flat(false)
	return e
}

// long64 is the state that the 64-bit boot protocol of Linux describes.
func long64(ip, params uint64) Entry {
	e := Entry{Mode: Long64, RIP: ip, RSI: params, RSP: stackTop,
		CR0: cr0PE | cr0ET | cr0NE | cr0WP | cr0PG, CR3: pageTablesAddr, CR4: cr4PAE, EFER: eferLME | eferLMA}
	e.flat(true)
	return e
}

// realMode is an entry at a physical address below 1 MiB: the segment has its
// upper bits, the offset the lowest four.
func realMode(addr uint32) Entry {
	seg := SegmentRegister{Limit: 0xffff, Type: 0x3}
	cs := seg
	cs.Type, cs.Selector, cs.Base = 0xb, uint16(addr>>4), uint64(addr)&^0xf
	return Entry{Mode: Real, RIP: uint64(addr & 0xf), RFLAGS: rflagsReserved, CR0: cr0ET,
		CS: cs, Data: seg, IDT: TableRegister{Limit: 0x3ff}, GDT: TableRegister{Limit: 0xffff}}
}

// identityPages maps the first 4 GiB one to one in pages of 2 MiB: tables for
// pageTablesAddr.
func identityPages() []byte {
	const present, writable, large = 1, 2, 1 << 7
	b := make([]byte, pageTablesLen)
	put := func(page, i int, v uint64) { le.PutUint64(b[page*4096+i*8:], v) }
	put(0, 0, pageTablesAddr+4096|present|writable)
	for i := range 4 {
		put(1, i, pageTablesAddr+4096*uint64(2+i)|present|writable)
		for j := range 512 {
			put(2+i, j, uint64(i)<<30|uint64(j)<<21|present|writable|large)
		}
	}
	return b
}

// Where the loader puts what a kernel reads while it starts. All of it is free
// again once the kernel has taken it over.
const (
	gdtAddr        = 0x1000
	stackTop       = 0x2000 // grows down towards the GDT
	startInfoAddr  = 0x2000 // PVH: up to pageTablesAddr
	zeroPageAddr   = 0x7000
	pageTablesAddr = 0x9000
	pageTablesLen  = 6 * 4096
	setupDataAddr  = 0x10000
	setupDataLen   = 0x10000
	cmdlineAddr    = 0x20000
	cmdlineMax     = 0x10000
	lowAreaEnd     = cmdlineAddr + cmdlineMax
)
