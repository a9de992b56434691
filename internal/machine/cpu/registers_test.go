package cpu

import (
	"encoding/binary"
	"strings"
	"testing"

	"govmd/internal/kvm"
)

// What registers look like in 64-bit mode, in the form that QEMU gives them.
func TestRegistersText(t *testing.T) {
	r := (&Model{}).PowerOn()
	r.Regs.RIP, r.Regs.RFLAGS = 0xffffffff81000123, 0x246|1<<10|1<<11|1<<7|1<<4|1
	r.Sregs.EFER, r.Sregs.CR0, r.Sregs.CR3, r.Sregs.CR4 = 0xd01, 0x80050033, 0x1234000, 0x6f0
	r.Sregs.CS = kvm.Segment{Limit: 0xffffffff, Selector: 0x10, Type: 0xb, Present: 1, S: 1, L: 1, G: 1}
	r.Sregs.SS = kvm.Segment{Limit: 0xffffffff, Selector: 0x2b, Type: 3, Present: 1, S: 1, DB: 1, G: 1, DPL: 3}
	r.Sregs.TR = kvm.Segment{Base: 0xfffffe0000003000, Limit: 0x206f, Selector: 0x40, Type: 0xb, Present: 1}
	r.Sregs.LDT = kvm.Segment{Unusable: 1}
	r.Halted, r.Shadow = true, true
	binary.LittleEndian.PutUint16(r.XSave[2:], 7<<11)
	binary.LittleEndian.PutUint64(r.XSave[32:], 0xabc) // ST(0), which is register 7
	binary.LittleEndian.PutUint64(r.XSave[160+15*16+8:], 0xdef)
	got := r.String()
	for _, want := range []string{
		"RIP=ffffffff81000123 RFL=00000ed7 [DOSZAPC] CPL=3 II=1 A20=1 SMM=0 HLT=1\n",
		"CS =0010 0000000000000000 ffffffff 00a09b00 DPL=0 CS64 [-RA]\n",
		"SS =002b 0000000000000000 ffffffff 00c0f300 DPL=3 DS   [-WA]\n",
		"TR =0040 fffffe0000003000 0000206f 00008b00 DPL=0 TSS64-busy\n",
		"LDT=0000 0000000000000000 00000000 00000000\n",
		"CR0=80050033 CR2=0000000000000000 CR3=0000000001234000 CR4=000006f0\n",
		"FPR6=0000000000000000 0000 FPR7=0000000000000abc 0000\n",
		"XMM14=0000000000000000 0000000000000000 XMM15=0000000000000def 0000000000000000\n",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in\n%s", want, got)
		}
	}
	for name, want := range map[string]uint64{"rip": 0xffffffff81000123, "pc": 0xffffffff81000123, "cs": 0x10, "ss.limit": 0xffffffff, "eflags": 0xed7, "cr3": 0x1234000} {
		if v, ok := r.Register(name); !ok || v != want {
			t.Errorf("$%s is %#x, %v", name, v, ok)
		}
	}
	for _, name := range []string{"", "ax", "cs.x", "xmm0"} {
		if _, ok := r.Register(name); ok {
			t.Errorf("there is a register %q", name)
		}
	}
	r.XCR0 = 7
	r.layout.ymm = 576
	r.XSave = append(r.XSave, make([]byte, 256)...)
	r.XSave[576+16] = 5
	if want := "YMM01=0000000000000000 0000000000000005 0000000000000000 0000000000000000\n"; !strings.Contains(r.String(), want) {
		t.Errorf("no %q in\n%s", want, r)
	}
}
