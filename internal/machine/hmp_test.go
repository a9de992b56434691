package machine

import (
	"strings"
	"testing"

	"govmd/internal/kvm"
	"govmd/internal/qmp"
)

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
	if got := lapicText(&l, false); got != want {
		t.Errorf("shown is\n%s", got)
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
