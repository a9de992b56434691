package machine

import (
	"fmt"
	"io"
	"strings"

	"govmd/internal/kvm"
	"govmd/internal/qmp"
)

// infoLAPIC shows a local APIC (SDM volume 3, chapter 11).
func (m *Machine) infoLAPIC(ctx *qmp.Context, a qmp.HumanArgs, out io.Writer) error {
	var chosen *VCPU
	for _, c := range m.cpus {
		if a.Has("apic-id") && int64(c.apicID) == a.Int("apic-id", -1) || !a.Has("apic-id") && c.index == ctx.CPU() {
			chosen = c
		}
	}
	if chosen == nil || chosen.thread == nil {
		_, err := fmt.Fprintln(out, "No CPU available")
		return err
	}
	var l kvm.LAPIC
	if err := chosen.do(func(v *kvm.VCPU) error { return v.LAPIC(&l) }); err != nil {
		return err
	}
	_, err := fmt.Fprintf(out, "dumping local APIC state for CPU %d \n\n%s", chosen.index, lapicText(&l, m.model.Features.Has("x2apic")))
	return err
}

// Offsets of registers in the local APIC's page.
const (
	lapicPPR, lapicAPR    = 0xa0, 0x90
	lapicISR, lapicIRR    = 0x100, 0x200
	lapicESR              = 0x280
	lapicICR, lapicICR2   = 0x300, 0x310
	lapicThermal, lapicPC = 0x330, 0x340
	lapicError            = 0x370
	lapicInitial          = 0x380
	lapicCurrent          = 0x390
	lapicDivide           = 0x3e0
)

var lapicDelivery = [8]string{"Fixed", "LowPri", "SMI", "...", "NMI", "INIT", "SIPI", "ExtINT"}

// lapicText shows a local APIC, of a processor that has x2APIC mode or not.
func lapicText(l *kvm.LAPIC, x2apic bool) string {
	var b strings.Builder
	for _, r := range []struct {
		name string
		off  int
	}{{"LVT0", kvm.LAPICLVT0}, {"LVT1", kvm.LAPICLVT1}, {"LVTPC", lapicPC}, {"LVTERR", lapicError}, {"LVTTHMR", lapicThermal}, {"LVTT", kvm.LAPICTimer}} {
		lvtText(&b, r.name, l.Reg(r.off), r.off == kvm.LAPICTimer)
	}
	dcr := l.Reg(lapicDivide)
	fmt.Fprintf(&b, "Timer\t DCR=0x%x (divide by %d) initial_count = %d current_count = %d\n",
		dcr&0xb, 1<<((dcr&3|dcr>>1&4)+1&7), l.Reg(lapicInitial), l.Reg(lapicCurrent))
	svr := l.Reg(kvm.LAPICSVR)
	fmt.Fprintf(&b, "SPIV\t 0x%08x APIC %s, focus=%s, spurious vec %d\n", svr,
		pick(svr&(1<<8) != 0, "enabled", "disabled"), pick(svr&(1<<9) != 0, "on", "off"), svr&0xff)
	icr, icr2 := l.Reg(lapicICR), l.Reg(lapicICR2)
	fmt.Fprintf(&b, "ICR\t 0x%08x %s %s %s %s\n", icr, pick(icr&(1<<11) != 0, "logical", "physical"),
		pick(icr&(1<<15) != 0, "level", "edge"), pick(icr&(1<<14) != 0, "assert", "de-assert"),
		[4]string{"no-shorthand", "self", "all-self", "all"}[icr>>18&3])
	fmt.Fprintf(&b, "ICR2\t 0x%08x%s\nESR\t 0x%08x\n", icr2, icrDestination(icr, icr2, x2apic), l.Reg(lapicESR))
	vectorText(&b, "ISR", l, lapicISR)
	vectorText(&b, "IRR", l, lapicIRR)
	fmt.Fprintf(&b, "\nAPR 0x%02x TPR 0x%02x DFR 0x%02x LDR 0x%02x PPR 0x%02x\n", l.Reg(lapicAPR)&0xff,
		l.Reg(kvm.LAPICTPR)&0xff, l.Reg(kvm.LAPICDFR)>>28, l.Reg(kvm.LAPICLDR)>>24, l.Reg(lapicPPR)&0xff)
	return b.String()
}

// icrDestination says to whom the last message went, where it names them.
func icrDestination(icr, icr2 uint32, x2apic bool) string {
	switch {
	case icr>>18&3 != 0: // a shorthand does
		return ""
	case icr&(1<<11) != 0:
		return fmt.Sprintf(" mask %08b (APIC ID)", icr2>>24)
	case x2apic:
		return fmt.Sprintf(" cpu %d (X2APIC ID)", icr2)
	}
	return fmt.Sprintf(" cpu %d (APIC ID)", icr2>>24)
}

func lvtText(b *strings.Builder, name string, v uint32, timer bool) {
	mode := ""
	if timer {
		mode = [4]string{"one-shot", "periodic", "tsc-deadline", ""}[v>>17&3]
	}
	delivery := v >> 8 & 7
	fmt.Fprintf(b, "%s\t 0x%08x %s %-5s %-6s %-7s %-12s %-6s", name, v, pick(v&(1<<13) != 0, "active-lo", "active-hi"),
		pick(v&(1<<15) != 0, "level", "edge"), pick(v&(1<<16) != 0, "masked", ""), pick(v&(1<<12) != 0, "pending", ""),
		mode, lapicDelivery[delivery])
	if delivery < 2 {
		fmt.Fprintf(b, " (vec %d)", v&0xff)
	}
	b.WriteByte('\n')
}

// vectorText shows a set of 256 vectors, 32 in each fourth word.
func vectorText(b *strings.Builder, name string, l *kvm.LAPIC, off int) {
	b.WriteString(name + "\t")
	none := true
	for i := range 256 {
		if l.Reg(off+i/32*16)>>(i%32)&1 != 0 {
			none = false
			fmt.Fprintf(b, " %d", i)
			if l.Reg(off+0x80+i/32*16)>>(i%32)&1 != 0 && off == lapicISR {
				b.WriteString("(level)")
			}
		}
	}
	b.WriteString(pick(none, " (none)\n", "\n"))
}

func pick(cond bool, yes, no string) string {
	if cond {
		return yes
	}
	return no
}
