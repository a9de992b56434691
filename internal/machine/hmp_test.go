package machine

import (
	"strings"
	"testing"

	"govmd/internal/kvm"
	"govmd/internal/qmp"
)

func TestRegisterNames(t *testing.T) {
	r := kvm.Regs{RAX: 1, RIP: 0xfff0, R15: 15, RFLAGS: 2}
	s := kvm.Sregs{CR0: 0x10, CS: kvm.Segment{Base: 0xf0000, Selector: 0xf000, Limit: 0xffff}}
	for name, want := range map[string]uint64{
		"eax": 1, "rax": 1, "eip": 0xfff0, "pc": 0xffff0, "r15": 15, "eflags": 2, "cr0": 0x10,
		"cs": 0xf000, "cs.base": 0xf0000, "cs.limit": 0xffff,
	} {
		if got, known := registerNamed(name, &r, &s); !known || got != want {
			t.Errorf("%s is %#x, %v; not %#x", name, got, known, want)
		}
	}
	for _, name := range []string{"", "r16", "r7", "ax", "cs.", "cs.selector", "cr1", "eaxx"} {
		if _, known := registerNamed(name, &r, &s); known {
			t.Errorf("%q is a register", name)
		}
	}
}

// What QEMU 7.2 shows of a processor after power-on.
func TestLAPICText(t *testing.T) {
	var l kvm.LAPIC
	for _, off := range []int{kvm.LAPICLVT0, kvm.LAPICLVT1, lapicPC, lapicError, lapicThermal, kvm.LAPICTimer} {
		l.SetReg(off, 1<<16)
	}
	l.SetReg(kvm.LAPICSVR, 0xff)
	l.SetReg(kvm.LAPICDFR, 0xffffffff)
	const want = `LVT0	 0x00010000 active-hi edge  masked                      Fixed  (vec 0)
LVT1	 0x00010000 active-hi edge  masked                      Fixed  (vec 0)
LVTPC	 0x00010000 active-hi edge  masked                      Fixed  (vec 0)
LVTERR	 0x00010000 active-hi edge  masked                      Fixed  (vec 0)
LVTTHMR	 0x00010000 active-hi edge  masked                      Fixed  (vec 0)
LVTT	 0x00010000 active-hi edge  masked         one-shot     Fixed  (vec 0)
Timer	 DCR=0x0 (divide by 2) initial_count = 0 current_count = 0
SPIV	 0x000000ff APIC disabled, focus=off, spurious vec 255
ICR	 0x00000000 physical edge de-assert no-shorthand
ICR2	 0x00000000 cpu 0 (APIC ID)
ESR	 0x00000000
ISR	 (none)
IRR	 (none)

APR 0x00 TPR 0x00 DFR 0x0f LDR 0x00 PPR 0x00
`
	if got := lapicText(&l); got != want {
		t.Errorf("shown is\n%s", got)
	}
}

func TestLongModeText(t *testing.T) {
	code := kvm.Segment{Type: 11, Present: 1, S: 1, L: 1, G: 1, Limit: 0xffffffff}
	if got := segmentKind(&code); got != " DPL=0 CS64 [-RA]" || descriptorFlags(&code) != 0xa09b00 {
		t.Errorf("code: %q, %#x", got, descriptorFlags(&code))
	}
	data := kvm.Segment{Type: 3, Present: 1, S: 1, DB: 1, G: 1, DPL: 3}
	if got := segmentKind(&data); got != " DPL=3 DS   [-WA]" {
		t.Errorf("data: %q", got)
	}
	task := kvm.Segment{Type: 11, Present: 1}
	if got := segmentKind(&task); got != " DPL=0 TSS64-busy" {
		t.Errorf("task: %q", got)
	}
	if got := flagText(1<<6 | 1<<2 | 1<<10); got != "D--Z-P-" {
		t.Errorf("flags: %q", got)
	}
}

func TestDisassemble(t *testing.T) {
	code := []byte{0xea, 0x5b, 0xe0, 0x00, 0xf0, 0x90, 0x0f, 0x0b, 0xff}
	var out strings.Builder
	err := disassemble(&out, 5, 0xfff0, 16, func(addr uint64, p []byte) error {
		if addr-0xfff0+uint64(len(p)) > uint64(len(code)) {
			return errNoAccess
		}
		copy(p, code[addr-0xfff0:])
		return nil
	})
	const want = "0x0000fff0:  ea 5b e0 00 f0           ljmp $0xf000,$0xe05b\n0x0000fff5:  90                       nop\n" +
		"0x0000fff6:  0f 0b                    ud2\n0x0000fff8:  ff                       (bad)\n0x0000fff9: unable to read memory\n"
	if err != nil || out.String() != want {
		t.Errorf("%v\n%s", err, out.String())
	}
}

// Guest memory, in all formats, as a person sees it.
func TestMemoryCommands(t *testing.T) {
	r := newRig(t, twoNodes(t))
	r.do(func() error {
		if err := r.mem.Write(0x1000, []byte("govmd\n\x00\xff")); err != nil {
			return err
		}
		commands := new(qmp.HumanRegistry)
		commands.Add(r.HumanCommands()...)
		for _, c := range []struct {
			name string
			args qmp.HumanArgs
			want string
		}{
			{"xp", qmp.HumanArgs{"addr": int64(0x1000), "count": int64(2), "format": int64('x'), "size": int64(4)}, "0000000000001000: 0x6d766f67 0xff000a64\n"},
			{"xp", qmp.HumanArgs{"addr": int64(0x1000), "count": int64(8), "format": int64('c'), "size": int64(1)}, "0000000000001000: 'g' 'o' 'v' 'm' 'd' '\\n' '\\x00' '\\xff'\n"},
			{"xp", qmp.HumanArgs{"addr": int64(1 << 40)}, "0000010000000000: Cannot access memory\n"},
			{"sum", qmp.HumanArgs{"start": int64(0x1000), "size": int64(2)}, "32930\n"},
			{"gpa2hva", qmp.HumanArgs{"addr": int64(1 << 40)}, "No memory is mapped at address 0x10000000000\n"},
		} {
			var out strings.Builder
			ctx := &qmp.Context{Context: t.Context()}
			if err := commands.Lookup(c.name).Run(ctx, c.args, &out); err != nil || out.String() != c.want {
				t.Errorf("%s %v: %v, %q", c.name, c.args, err, out.String())
			}
		}
		return nil
	})
}
