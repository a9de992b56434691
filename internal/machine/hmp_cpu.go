package machine

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"

	"govmd/internal/kvm"
	"govmd/internal/qmp"
)

// Register returns a register of a vCPU by the name that expressions of the human
// monitor have for it; known is false where there is none. It waits for the vCPU, and
// may be called from any goroutine but the lane's.
func (m *Machine) Register(index int, name string) (value int64, known bool, err error) {
	if index < 0 || index >= len(m.cpus) {
		return 0, false, nil
	}
	var r kvm.Regs
	var s kvm.Sregs
	if err := m.cpus[index].registers(&r, &s); err != nil {
		return 0, false, err
	}
	v, known := registerNamed(name, &r, &s)
	return int64(v), known, nil
}

// CPUs returns how many vCPUs there are. Any goroutine.
func (m *Machine) CPUs() int { return len(m.cpus) }

func (c *VCPU) registers(r *kvm.Regs, s *kvm.Sregs) error {
	return c.do(func(v *kvm.VCPU) error { return errors.Join(v.Regs(r), v.Sregs(s)) })
}

// registerNamed knows general registers by their 32-bit and 64-bit names, of which
// both mean all 64 bits, and segment registers with their hidden parts.
func registerNamed(name string, r *kvm.Regs, s *kvm.Sregs) (uint64, bool) {
	for i, n := range []string{"ax", "bx", "cx", "dx", "si", "di", "sp", "bp", "ip"} {
		if name == "e"+n || name == "r"+n {
			return []uint64{r.RAX, r.RBX, r.RCX, r.RDX, r.RSI, r.RDI, r.RSP, r.RBP, r.RIP}[i], true
		}
	}
	for i, v := range []uint64{r.R8, r.R9, r.R10, r.R11, r.R12, r.R13, r.R14, r.R15} {
		if name == fmt.Sprintf("r%d", i+8) {
			return v, true
		}
	}
	for _, g := range segments(s) {
		part, ok := strings.CutPrefix(name, strings.ToLower(g.name))
		if !ok {
			continue
		}
		switch part {
		case "":
			return uint64(g.Selector), true
		case ".base":
			return g.Base, true
		case ".limit":
			return uint64(g.Limit), true
		}
	}
	switch name {
	case "pc":
		return s.CS.Base + r.RIP, true
	case "eflags", "rflags":
		return r.RFLAGS, true
	case "cr0":
		return s.CR0, true
	case "cr2":
		return s.CR2, true
	case "cr3":
		return s.CR3, true
	case "cr4":
		return s.CR4, true
	case "cr8":
		return s.CR8, true
	case "efer":
		return s.EFER, true
	}
	return 0, false
}

type namedSegment struct {
	name string
	*kvm.Segment
}

func segments(s *kvm.Sregs) []namedSegment {
	return []namedSegment{{"ES", &s.ES}, {"CS", &s.CS}, {"SS", &s.SS}, {"DS", &s.DS}, {"FS", &s.FS}, {"GS", &s.GS}}
}

// cpuInfoCommands are the second words of `info` about vCPUs.
func (m *Machine) cpuInfoCommands() []qmp.HumanCommand {
	return []qmp.HumanCommand{
		{
			Name: "cpus", Help: "show infos for each CPU",
			Run: func(ctx *qmp.Context, _ qmp.HumanArgs, out io.Writer) error {
				for _, c := range m.cpus {
					mark := ' '
					if c.index == ctx.CPU() {
						mark = '*'
					}
					if _, err := fmt.Fprintf(out, "%c CPU #%d: thread_id=%d\n", mark, c.index, c.threadID()); err != nil {
						return err
					}
				}
				return nil
			},
		},
		{
			Name: "registers", Args: "cpustate_all:-a,vcpu:i?", Params: "[-a|vcpu]", NoLane: true,
			Help: "show the cpu registers (-a: show register info for all cpus; vcpu: specific vCPU to query; show the current CPU's registers if no argument is specified)",
			Run:  m.infoRegisters,
		},
	}
}

func (m *Machine) infoRegisters(ctx *qmp.Context, a qmp.HumanArgs, out io.Writer) error {
	cpus := m.cpus
	if !a.Bool("cpustate_all") {
		n := a.Int("vcpu", int64(ctx.CPU()))
		if n < 0 || n >= int64(len(cpus)) {
			what := "No CPU available"
			if a.Has("vcpu") {
				what = fmt.Sprintf("CPU#%d not available", n)
			}
			_, err := fmt.Fprintln(out, what)
			return err
		}
		cpus = cpus[n : n+1]
	}
	for _, c := range cpus {
		text, err := c.registerText()
		if err != nil {
			return err
		}
		if _, err := fmt.Fprintf(out, "\nCPU#%d\n%s", c.index, text); err != nil {
			return err
		}
	}
	return nil
}

// registerText shows a vCPU's registers.
func (c *VCPU) registerText() (string, error) {
	var (
		r      kvm.Regs
		s      kvm.Sregs
		d      kvm.DebugRegs
		f      kvm.FPU
		halted bool
	)
	err := c.do(func(v *kvm.VCPU) error {
		mp, err := v.MPState()
		halted = mp != kvm.MPRunnable
		return errors.Join(err, v.Regs(&r), v.Sregs(&s), v.DebugRegs(&d), v.FPU(&f))
	})
	if err != nil {
		return "", err
	}
	var b strings.Builder
	long := s.EFER&eferLMA != 0
	generalText(&b, &r, long)
	cpl := s.SS.DPL
	if s.CR0&1 == 0 {
		cpl = 0
	}
	fmt.Fprintf(&b, "[%s] CPL=%d II=0 A20=1 SMM=0 HLT=%d\n", flagText(r.RFLAGS), cpl, bit(halted))
	segmentText(&b, &s, long)
	if long {
		fmt.Fprintf(&b, "CR0=%08x CR2=%016x CR3=%016x CR4=%08x\n", s.CR0, s.CR2, s.CR3, s.CR4)
	} else {
		fmt.Fprintf(&b, "CR0=%08x CR2=%08x CR3=%08x CR4=%08x\n", s.CR0, uint32(s.CR2), uint32(s.CR3), s.CR4)
	}
	for i, v := range d.DB {
		fmt.Fprintf(&b, "DR%d=%016x ", i, v)
	}
	fmt.Fprintf(&b, "\nDR6=%016x DR7=%016x\nEFER=%016x\n", d.DR6, d.DR7, s.EFER)
	floatText(&b, &f, long && s.CS.L != 0)
	return b.String(), nil
}

func generalText(b *strings.Builder, r *kvm.Regs, long bool) {
	if !long {
		fmt.Fprintf(b, "EAX=%08x EBX=%08x ECX=%08x EDX=%08x\n", uint32(r.RAX), uint32(r.RBX), uint32(r.RCX), uint32(r.RDX))
		fmt.Fprintf(b, "ESI=%08x EDI=%08x EBP=%08x ESP=%08x\n", uint32(r.RSI), uint32(r.RDI), uint32(r.RBP), uint32(r.RSP))
		fmt.Fprintf(b, "EIP=%08x EFL=%08x ", uint32(r.RIP), uint32(r.RFLAGS))
		return
	}
	fmt.Fprintf(b, "RAX=%016x RBX=%016x RCX=%016x RDX=%016x\n", r.RAX, r.RBX, r.RCX, r.RDX)
	fmt.Fprintf(b, "RSI=%016x RDI=%016x RBP=%016x RSP=%016x\n", r.RSI, r.RDI, r.RBP, r.RSP)
	fmt.Fprintf(b, "R8 =%016x R9 =%016x R10=%016x R11=%016x\n", r.R8, r.R9, r.R10, r.R11)
	fmt.Fprintf(b, "R12=%016x R13=%016x R14=%016x R15=%016x\n", r.R12, r.R13, r.R14, r.R15)
	fmt.Fprintf(b, "RIP=%016x RFL=%08x ", r.RIP, uint32(r.RFLAGS))
}

// flagText shows the flags D, O, S, Z, A, P and C (SDM volume 1, 3.4.3).
func flagText(flags uint64) string {
	text := []byte("-------")
	for i, f := range []struct {
		letter byte
		bit    uint
	}{{'D', 10}, {'O', 11}, {'S', 7}, {'Z', 6}, {'A', 4}, {'P', 2}, {'C', 0}} {
		if flags>>f.bit&1 != 0 {
			text[i] = f.letter
		}
	}
	return string(text)
}

func bit(on bool) int {
	if on {
		return 1
	}
	return 0
}

// descriptorFlags are bits 8 to 23 of a descriptor's second word (SDM volume 3, 3.4.5).
func descriptorFlags(g *kvm.Segment) uint32 {
	if g.Unusable != 0 {
		return 0
	}
	return uint32(g.Type)<<8 | uint32(g.S)<<12 | uint32(g.DPL)<<13 | uint32(g.Present)<<15 |
		uint32(g.AVL)<<20 | uint32(g.L)<<21 | uint32(g.DB)<<22 | uint32(g.G)<<23
}

func segmentText(b *strings.Builder, s *kvm.Sregs, long bool) {
	all := append(segments(s), namedSegment{"LDT", &s.LDT}, namedSegment{"TR", &s.TR})
	for _, g := range all {
		flags := descriptorFlags(g.Segment)
		if g.G == 0 {
			flags |= g.Limit & 0xf0000
		} else {
			flags |= g.Limit >> 12 & 0xf0000
		}
		width := 8
		if long {
			width = 16
		}
		fmt.Fprintf(b, "%-3s=%04x %0*x %08x %08x", g.name, g.Selector, width, g.Base, g.Limit, flags)
		if long {
			b.WriteString(segmentKind(g.Segment))
		}
		b.WriteByte('\n')
	}
	if long {
		fmt.Fprintf(b, "GDT=     %016x %08x\nIDT=     %016x %08x\n", s.GDT.Base, s.GDT.Limit, s.IDT.Base, s.IDT.Limit)
		return
	}
	fmt.Fprintf(b, "GDT=     %08x %08x\nIDT=     %08x %08x\n", uint32(s.GDT.Base), s.GDT.Limit, uint32(s.IDT.Base), s.IDT.Limit)
}

// segmentKind says what a segment is for, in long mode.
func segmentKind(g *kvm.Segment) string {
	switch {
	case g.Unusable != 0 || g.Present == 0:
		return ""
	case g.S == 0:
		return fmt.Sprintf(" DPL=%d %s", g.DPL, systemKinds[g.Type&15])
	case g.Type&8 != 0:
		kind := "CS16"
		if g.L != 0 {
			kind = "CS64"
		} else if g.DB != 0 {
			kind = "CS32"
		}
		return fmt.Sprintf(" DPL=%d %s [%c%c%c]", g.DPL, kind, either(g.Type&4, 'C'), either(g.Type&2, 'R'), either(g.Type&1, 'A'))
	}
	kind := "DS16"
	if g.DB != 0 {
		kind = "DS  "
	}
	return fmt.Sprintf(" DPL=%d %s [%c%c%c]", g.DPL, kind, either(g.Type&4, 'E'), either(g.Type&2, 'W'), either(g.Type&1, 'A'))
}

func either(v uint8, letter byte) byte {
	if v != 0 {
		return letter
	}
	return '-'
}

// systemKinds are the types of system segments in long mode (SDM volume 3, table 3-2).
var systemKinds = [16]string{
	"Reserved", "Reserved", "LDT", "Reserved", "Reserved", "Reserved", "Reserved", "Reserved",
	"Reserved", "TSS64-avl", "Reserved", "TSS64-busy", "CallGate64", "Reserved", "IntGate64", "TrapGate64",
}

// floatText shows the x87 and SSE registers.
func floatText(b *strings.Builder, f *kvm.FPU, wide bool) {
	fmt.Fprintf(b, "FCW=%04x FSW=%04x [ST=%d] FTW=%02x MXCSR=%08x\n", f.FCW, f.FSW, f.FSW>>11&7, f.FTWX, f.MXCSR)
	for i, r := range f.FPR {
		fmt.Fprintf(b, "FPR%d=%016x %04x", i, binary.LittleEndian.Uint64(r[:]), binary.LittleEndian.Uint16(r[8:]))
		b.WriteByte(" \n"[i&1])
	}
	n := 8
	if wide {
		n = 16
	}
	for i, r := range f.XMM[:n] {
		fmt.Fprintf(b, "XMM%02d=%016x %016x", i, binary.LittleEndian.Uint64(r[8:]), binary.LittleEndian.Uint64(r[:]))
		b.WriteByte(" \n"[i&1])
	}
}
