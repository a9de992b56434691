package cpu

import (
	"encoding/binary"
	"fmt"
	"strings"

	"govmd/internal/kvm"
)

// Bits of registers that decide how others are shown.
const (
	cr0Protected = 1 << 0
	eferActive   = 1 << 10
)

// Registers are a vCPU's registers as people look at them.
type Registers struct {
	Regs   kvm.Regs
	Sregs  kvm.Sregs
	Debug  kvm.DebugRegs
	XSave  []byte
	XCR0   uint64
	Shadow bool // interrupts wait for the instruction after this one
	SMM    bool
	Halted bool
	layout xsaveLayout
}

// xsaveLayout is where components of the XSAVE area are; 0 for those that the
// processor does not have.
type xsaveLayout struct{ ymm, opmask, zmmHigh, zmm16 int }

// Registers reads all that `info registers` shows. It runs on the vCPU's thread.
func (c *VCPU) Registers() (*Registers, error) {
	v := c.vcpu
	r := &Registers{XSave: make([]byte, v.XSaveSize()), XCR0: 1}
	mp, err := v.MPState()
	if err != nil {
		return nil, err
	}
	// A processor that waits for its start-up message has not halted.
	r.Halted = mp == kvm.MPHalted
	for _, err := range []error{v.Regs(&r.Regs), v.Sregs(&r.Sregs), v.DebugRegs(&r.Debug), v.XSave(r.XSave)} {
		if err != nil {
			return nil, err
		}
	}
	if c.model.xcr0 != 0 {
		if r.XCR0, err = v.XCR0(); err != nil {
			return nil, err
		}
	}
	var e kvm.VCPUEvents
	if err := v.Events(&e); err != nil {
		return nil, err
	}
	r.Shadow, r.SMM = e.InterruptShadow != 0, e.SMM != 0
	for _, f := range []struct {
		component uint32
		offset    *int
		size      int
	}{{2, &r.layout.ymm, 256}, {5, &r.layout.opmask, 64}, {6, &r.layout.zmmHigh, 512}, {7, &r.layout.zmm16, 1024}} {
		if off := int(c.model.host.leaf(0xd, f.component).EBX); off+f.size <= len(r.XSave) {
			*f.offset = off
		}
	}
	return r, nil
}

// busyTSS is what the task register refers to after power-on: a task-state segment
// that is in use.
const busyTSS = 0xb

// PowerOn returns the registers after power-on, of a vCPU that never executes
// (SDM volume 3, table 10-1).
func (m *Model) PowerOn() *Registers {
	const system, code = 0x2, 0xb
	data := kvm.Segment{Limit: 0xffff, Type: 3, Present: 1, S: 1}
	r := &Registers{XSave: make([]byte, legacyArea), XCR0: 1}
	r.Regs.RIP, r.Regs.RDX, r.Regs.RFLAGS = 0xfff0, uint64(m.signature), 2
	s := &r.Sregs
	s.CS = kvm.Segment{Base: 0xffff0000, Limit: 0xffff, Selector: 0xf000, Type: code, Present: 1, S: 1}
	s.DS, s.ES, s.FS, s.GS, s.SS = data, data, data, data, data
	s.LDT = kvm.Segment{Limit: 0xffff, Type: system, Present: 1}
	s.TR = kvm.Segment{Limit: 0xffff, Type: busyTSS, Present: 1}
	s.GDT.Limit, s.IDT.Limit = 0xffff, 0xffff
	s.CR0 = 0x60000010
	r.Debug.DR6, r.Debug.DR7 = 0xffff0ff0, 0x400
	binary.LittleEndian.PutUint16(r.XSave, 0x37f)
	binary.LittleEndian.PutUint32(r.XSave[24:], 0x1f80)
	return r
}

// Long reports whether the processor executes 64-bit code.
func (r *Registers) Long() bool { return r.Sregs.EFER&eferActive != 0 && r.Sregs.CS.L != 0 }

// Mode returns the operand and address size of code: 16, 32 or 64.
func (r *Registers) Mode() int {
	switch {
	case r.Long():
		return 64
	case r.Sregs.CS.DB != 0:
		return 32
	}
	return 16
}

// Register returns a register by the name that expressions have for it.
func (r *Registers) Register(name string) (value uint64, known bool) {
	g := &r.Regs
	for i, p := range []*uint64{&g.RAX, &g.RBX, &g.RCX, &g.RDX, &g.RSI, &g.RDI, &g.RBP, &g.RSP, &g.RIP,
		&g.R8, &g.R9, &g.R10, &g.R11, &g.R12, &g.R13, &g.R14, &g.R15, &g.RFLAGS} {
		for _, n := range registerNames[i] {
			if n == name {
				return *p, true
			}
		}
	}
	x := &r.Sregs
	if v, ok := map[string]uint64{
		"pc": g.RIP + x.CS.Base, "cr0": x.CR0, "cr2": x.CR2, "cr3": x.CR3, "cr4": x.CR4, "cr8": x.CR8, "efer": x.EFER,
	}[name]; ok {
		return v, true
	}
	seg, part, _ := strings.Cut(name, ".")
	for _, s := range r.segments() {
		if strings.ToLower(strings.TrimSpace(s.name)) != seg {
			continue
		}
		switch part {
		case "":
			return uint64(s.seg.Selector), true
		case "base":
			return s.seg.Base, true
		case "limit":
			return uint64(s.seg.Limit), true
		}
	}
	return 0, false
}

var registerNames = [][]string{
	{"eax", "rax"}, {"ebx", "rbx"}, {"ecx", "rcx"}, {"edx", "rdx"}, {"esi", "rsi"}, {"edi", "rdi"},
	{"ebp", "rbp", "fp"}, {"esp", "rsp", "sp"}, {"eip", "rip"}, {"r8"}, {"r9"}, {"r10"}, {"r11"}, {"r12"}, {"r13"}, {"r14"}, {"r15"},
	{"eflags", "rflags"},
}

type namedSegment struct {
	name string
	seg  *kvm.Segment
}

// segments are the segment registers that code uses.
func (r *Registers) segments() []namedSegment {
	s := &r.Sregs
	return []namedSegment{{"ES ", &s.ES}, {"CS ", &s.CS}, {"SS ", &s.SS}, {"DS ", &s.DS}, {"FS ", &s.FS}, {"GS ", &s.GS}}
}

// flags is the second double word of the segment's descriptor, but for the bits
// of base and limit.
func flags(s *kvm.Segment) uint32 {
	if s.Unusable != 0 {
		return 0
	}
	return uint32(s.Type)<<8 | uint32(s.S)<<12 | uint32(s.DPL)<<13 | uint32(s.Present)<<15 |
		uint32(s.AVL)<<20 | uint32(s.L)<<21 | uint32(s.DB)<<22 | uint32(s.G)<<23
}

// le64 reads a little-endian number.
func le64(p []byte) uint64 { return binary.LittleEndian.Uint64(p) }

// String returns the registers in the form of `info registers`.
func (r *Registers) String() string {
	var b strings.Builder
	r.general(&b)
	for _, s := range r.segments() {
		r.segment(&b, s)
	}
	r.segment(&b, namedSegment{"LDT", &r.Sregs.LDT})
	r.segment(&b, namedSegment{"TR ", &r.Sregs.TR})
	r.control(&b)
	r.x87(&b)
	r.vectors(&b)
	return b.String()
}

func (r *Registers) general(b *strings.Builder) {
	g := &r.Regs
	if r.Long() {
		fmt.Fprintf(b, "RAX=%016x RBX=%016x RCX=%016x RDX=%016x\n", g.RAX, g.RBX, g.RCX, g.RDX)
		fmt.Fprintf(b, "RSI=%016x RDI=%016x RBP=%016x RSP=%016x\n", g.RSI, g.RDI, g.RBP, g.RSP)
		fmt.Fprintf(b, "R8 =%016x R9 =%016x R10=%016x R11=%016x\n", g.R8, g.R9, g.R10, g.R11)
		fmt.Fprintf(b, "R12=%016x R13=%016x R14=%016x R15=%016x\n", g.R12, g.R13, g.R14, g.R15)
		fmt.Fprintf(b, "RIP=%016x RFL=%08x", g.RIP, uint32(g.RFLAGS))
	} else {
		fmt.Fprintf(b, "EAX=%08x EBX=%08x ECX=%08x EDX=%08x\n", uint32(g.RAX), uint32(g.RBX), uint32(g.RCX), uint32(g.RDX))
		fmt.Fprintf(b, "ESI=%08x EDI=%08x EBP=%08x ESP=%08x\n", uint32(g.RSI), uint32(g.RDI), uint32(g.RBP), uint32(g.RSP))
		fmt.Fprintf(b, "EIP=%08x EFL=%08x", uint32(g.RIP), uint32(g.RFLAGS))
	}
	letters := []byte("-------")
	for i, f := range []struct {
		bit    int
		letter byte
	}{{10, 'D'}, {11, 'O'}, {7, 'S'}, {6, 'Z'}, {4, 'A'}, {2, 'P'}, {0, 'C'}} {
		if g.RFLAGS>>f.bit&1 != 0 {
			letters[i] = f.letter
		}
	}
	fmt.Fprintf(b, " [%s] CPL=%d II=%d A20=1 SMM=%d HLT=%d\n", letters, r.Sregs.SS.DPL, one(r.Shadow), one(r.SMM), one(r.Halted))
}

func one(on bool) int {
	if on {
		return 1
	}
	return 0
}

// systemTypes are the kinds of system descriptors (SDM volume 3, table 3-2),
// outside and within IA-32e mode.
var systemTypes = [2][16]string{
	{"Reserved", "TSS16-avl", "LDT", "TSS16-busy", "CallGate16", "TaskGate", "IntGate16", "TrapGate16",
		"Reserved", "TSS32-avl", "Reserved", "TSS32-busy", "CallGate32", "Reserved", "IntGate32", "TrapGate32"},
	{"<hiword>", "Reserved", "LDT", "Reserved", "Reserved", "Reserved", "Reserved", "Reserved",
		"Reserved", "TSS64-avl", "Reserved", "TSS64-busy", "CallGate64", "Reserved", "IntGate64", "TrapGate64"},
}

func (r *Registers) segment(b *strings.Builder, s namedSegment) {
	if r.Long() {
		fmt.Fprintf(b, "%s=%04x %016x %08x %08x", s.name, s.seg.Selector, s.seg.Base, s.seg.Limit, flags(s.seg))
	} else {
		fmt.Fprintf(b, "%s=%04x %08x %08x %08x", s.name, s.seg.Selector, uint32(s.seg.Base), s.seg.Limit, flags(s.seg))
	}
	if g := s.seg; r.Sregs.CR0&cr0Protected != 0 && g.Present != 0 && g.Unusable == 0 {
		fmt.Fprintf(b, " DPL=%d %s", g.DPL, r.kind(g))
	}
	b.WriteByte('\n')
}

// kind says what kind of segment it is and what may be done with it.
func (r *Registers) kind(g *kvm.Segment) string {
	lma := r.Sregs.EFER&eferActive != 0
	if g.S == 0 {
		return systemTypes[one(lma)][g.Type&15]
	}
	mark := func(bit uint8, letter string) string {
		if g.Type&bit != 0 {
			return letter
		}
		return "-"
	}
	if g.Type&8 != 0 {
		name := "CS16"
		switch {
		case lma && g.L != 0:
			name = "CS64"
		case g.DB != 0:
			name = "CS32"
		}
		return fmt.Sprintf("%s [%s%s%s]", name, mark(4, "C"), mark(2, "R"), mark(1, "A"))
	}
	name := "DS16"
	if g.DB != 0 || lma {
		name = "DS  "
	}
	return fmt.Sprintf("%s [%s%s%s]", name, mark(4, "E"), mark(2, "W"), mark(1, "A"))
}

func (r *Registers) control(b *strings.Builder) {
	s := &r.Sregs
	for _, t := range []struct {
		name string
		t    kvm.DTable
	}{{"GDT", s.GDT}, {"IDT", s.IDT}} {
		if r.Sregs.EFER&eferActive != 0 {
			fmt.Fprintf(b, "%s=     %016x %08x\n", t.name, t.t.Base, t.t.Limit)
		} else {
			fmt.Fprintf(b, "%s=     %08x %08x\n", t.name, uint32(t.t.Base), t.t.Limit)
		}
	}
	if r.Sregs.EFER&eferActive != 0 {
		fmt.Fprintf(b, "CR0=%08x CR2=%016x CR3=%016x CR4=%08x\n", uint32(s.CR0), s.CR2, s.CR3, uint32(s.CR4))
	} else {
		fmt.Fprintf(b, "CR0=%08x CR2=%08x CR3=%08x CR4=%08x\n", uint32(s.CR0), uint32(s.CR2), uint32(s.CR3), uint32(s.CR4))
	}
	d := &r.Debug
	for i := range 4 {
		fmt.Fprintf(b, "DR%d=%016x ", i, d.DB[i])
	}
	fmt.Fprintf(b, "\nDR6=%016x DR7=%016x\nEFER=%016x\n", d.DR6, d.DR7, s.EFER)
}

// x87 shows the legacy part of the XSAVE area (SDM volume 1, table 10-2).
func (r *Registers) x87(b *strings.Builder) {
	x := r.XSave
	le := binary.LittleEndian
	fsw := le.Uint16(x[2:])
	fmt.Fprintf(b, "FCW=%04x FSW=%04x [ST=%d] FTW=%02x MXCSR=%08x\n", le.Uint16(x), fsw, fsw>>11&7, x[4], le.Uint32(x[24:]))
	for i := range 8 {
		// The registers are saved from the top of the stack on, and shown by their numbers.
		st := x[32+16*((i-int(fsw>>11&7))&7):]
		fmt.Fprintf(b, "FPR%d=%016x %04x%s", i, le64(st), le.Uint16(st[8:]), ending(i, 2))
	}
}

// ending is what follows column i of n.
func ending(i, n int) string {
	if i%n == n-1 {
		return "\n"
	}
	return " "
}

// vectors shows the widest vector registers that the guest has turned on.
func (r *Registers) vectors(b *strings.Builder) {
	n := 8
	if r.Long() {
		n = 16
	}
	xmm := func(i int) []byte { return r.XSave[160+16*i:] }
	l := &r.layout
	switch {
	case r.XCR0&xcr0AVX512 == xcr0AVX512 && l.ymm != 0 && l.opmask != 0 && l.zmmHigh != 0 && l.zmm16 != 0:
		for i := range 8 {
			fmt.Fprintf(b, "Opmask%02d=%016x%s", i, le64(r.XSave[l.opmask+8*i:]), ending(i, 4))
		}
		if r.Long() {
			n = 32
		}
		for i := range n {
			var z [64]byte
			if i < 16 {
				copy(z[:16], xmm(i))
				copy(z[16:32], r.XSave[l.ymm+16*i:])
				copy(z[32:], r.XSave[l.zmmHigh+32*i:])
			} else {
				copy(z[:], r.XSave[l.zmm16+64*(i-16):])
			}
			fmt.Fprintf(b, "ZMM%02d=", i)
			for q := 7; q >= 0; q-- {
				fmt.Fprintf(b, "%016x%s", le64(z[8*q:]), ending(7-q, 8))
			}
		}
	case r.XCR0&xcr0AVX != 0 && l.ymm != 0:
		for i := range n {
			high := r.XSave[l.ymm+16*i:]
			fmt.Fprintf(b, "YMM%02d=%016x %016x %016x %016x\n", i, le64(high[8:]), le64(high), le64(xmm(i)[8:]), le64(xmm(i)))
		}
	default:
		for i := range n {
			fmt.Fprintf(b, "XMM%02d=%016x %016x%s", i, le64(xmm(i)[8:]), le64(xmm(i)), ending(i, 2))
		}
	}
}
