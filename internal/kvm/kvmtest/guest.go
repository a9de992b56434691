package kvmtest

import (
	"encoding/binary"
	"testing"

	"golang.org/x/sys/unix"

	"govmd/internal/kvm"
)

// Where things are in a Guest's memory.
const (
	GDT      = 0x500   // null, flat 32-bit code (0x08), flat data (0x10)
	IDT      = 0x1000  // 256 gates of 8 bytes
	StackTop = 0x8000  // of the first vCPU
	Org      = 0x10000 // the program
	Data     = 0x20000 // scratch, zeroed

	CodeSel = 0x08
	DataSel = 0x10
)

// Guest is a virtual machine with in-kernel interrupt controllers and one
// memory slot, for programs that run in flat 32-bit protected mode.
type Guest struct {
	VM  *kvm.VM
	Mem []byte // guest memory from address 0
}

// NewGuest makes a machine with size bytes of memory, at least 1 MiB.
func NewGuest(t testing.TB, sys *kvm.System, size int) *Guest {
	t.Helper()
	vm, err := sys.CreateVM(0)
	Check(t, err)
	t.Cleanup(func() { _ = vm.Close() })
	Check(t, vm.SetIdentityMapAddr(0xfeffc000))
	Check(t, vm.SetTSSAddr(0xfeffd000))
	Check(t, vm.CreateIRQChip())
	mem, err := unix.Mmap(-1, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	Check(t, err)
	t.Cleanup(func() { _ = unix.Munmap(mem) })
	g := &Guest{VM: vm, Mem: mem}
	Check(t, vm.SetUserMemoryRegion(g.Slot(0)))
	le := binary.LittleEndian
	le.PutUint64(mem[GDT+8:], 0x00cf9b000000ffff)
	le.PutUint64(mem[GDT+16:], 0x00cf93000000ffff)
	return g
}

// Slot describes slot 0 with the given flags.
func (g *Guest) Slot(flags uint32) *kvm.MemoryRegion {
	return &kvm.MemoryRegion{Flags: flags, Size: uint64(len(g.Mem)), UserAddr: addrOf(g.Mem)}
}

// Load puts a program's code in place.
func (g *Guest) Load(a *Asm) { copy(g.Mem[a.org:], a.Code()) }

// Gate makes vector lead to an interrupt handler at addr.
func (g *Guest) Gate(vector int, addr uint32) {
	e := uint64(addr&0xffff) | CodeSel<<16 | 0x8e00<<32 | uint64(addr>>16)<<48
	binary.LittleEndian.PutUint64(g.Mem[IDT+8*vector:], e)
}

// U32 reads a 32-bit word of guest memory.
func (g *Guest) U32(addr uint32) uint32 { return binary.LittleEndian.Uint32(g.Mem[addr:]) }

// PutU32 writes a 32-bit word of guest memory.
func (g *Guest) PutU32(addr, v uint32) { binary.LittleEndian.PutUint32(g.Mem[addr:], v) }

// NewVCPU makes a vCPU. Number 0 is ready to run at Org; others wait for SIPI.
func (g *Guest) NewVCPU(t testing.TB, id int) *kvm.VCPU {
	t.Helper()
	v, err := g.VM.CreateVCPU(id)
	Check(t, err)
	t.Cleanup(func() { _ = v.Close() })
	if id == 0 {
		g.Flat(t, v, Org)
	}
	return v
}

// Flat puts v into flat 32-bit mode at rip, interrupts disabled.
func (g *Guest) Flat(t testing.TB, v *kvm.VCPU, rip uint32) {
	t.Helper()
	var s kvm.Sregs
	Check(t, v.Sregs(&s))
	code := kvm.Segment{Limit: 0xffffffff, Selector: CodeSel, Type: 11, Present: 1, DB: 1, S: 1, G: 1}
	data := code
	data.Selector, data.Type = DataSel, 3
	s.CS = code
	s.DS, s.ES, s.FS, s.GS, s.SS = data, data, data, data, data
	s.GDT = kvm.DTable{Base: GDT, Limit: 23}
	s.IDT = kvm.DTable{Base: IDT, Limit: 256*8 - 1}
	s.CR0 = 0x11 // PE, ET
	Check(t, v.SetSregs(&s))
	Check(t, v.SetRegs(&kvm.Regs{RIP: uint64(rip), RSP: StackTop, RFLAGS: 2}))
}

// Check fails the test if err is not nil.
func Check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// EventFD returns a new eventfd in non-blocking mode.
func EventFD(t testing.TB) int {
	t.Helper()
	fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	Check(t, err)
	t.Cleanup(func() { _ = unix.Close(fd) })
	return fd
}

// Signal adds 1 to an eventfd.
func Signal(t testing.TB, fd int) {
	t.Helper()
	_, err := unix.Write(fd, []byte{1, 0, 0, 0, 0, 0, 0, 0})
	Check(t, err)
}

// Drain returns an eventfd's count and resets it.
func Drain(t testing.TB, fd int) uint64 {
	t.Helper()
	var b [8]byte
	if _, err := unix.Read(fd, b[:]); err != nil {
		if err == unix.EAGAIN {
			return 0
		}
		t.Fatal(err)
	}
	return binary.LittleEndian.Uint64(b[:])
}
