package ioapic

import (
	"fmt"
	"io"
)

// deliveryModes are those of redirection entries (82093AA, 3.2.4).
var deliveryModes = [8]string{"fixed", "lowpri", "SMI", "...", "NMI", "INIT", "...", "extINT"}

// Text is what `info pic` shows of an I/O APIC.
type Text struct {
	Version         uint32
	ID, Select, IRR uint32
	Table           []uint64
}

// Print writes it.
func (t *Text) Print(w io.Writer) {
	fmt.Fprintf(w, "ioapic0: ver=0x%x id=0x%02x sel=0x%02x\n", t.Version, t.ID, t.Select)
	var remote uint32
	for i, e := range t.Table {
		polarity, trigger, masked, dest := "active-hi", "edge", "", "physical"
		if e&(1<<13) != 0 {
			polarity = "active-lo"
		}
		if e&(1<<15) != 0 {
			trigger = "level"
			if e&(1<<14) != 0 {
				remote |= 1 << i
			}
		}
		if e&(1<<16) != 0 {
			masked = "masked"
		}
		if e&(1<<11) != 0 {
			dest = "logical"
		}
		fmt.Fprintf(w, "  pin %-2d 0x%016x dest=%X vec=%-3d %s %-5s %-6s %-6s %s\n",
			i, e, e>>56, e&0xff, polarity, trigger, masked, deliveryModes[e>>8&7], dest)
	}
	fmt.Fprintf(w, "  IRR     %s\n  Remote IRR%s\n", pins(t.IRR), pins(remote))
}

func pins(set uint32) (text string) {
	for i := range 32 {
		if set>>i&1 != 0 {
			text += fmt.Sprintf(" %d", i)
		}
	}
	if text == "" {
		return " (none)"
	}
	return text
}

// PrintPIC shows the controller as `info pic` does.
func (d *Device) PrintPIC(w io.Writer) error {
	d.mu.Lock()
	t := Text{Version: version, ID: d.regs.id >> 24 & 0xf, Select: uint32(d.regs.sel), IRR: d.level, Table: append([]uint64(nil), d.regs.table[:]...)}
	d.mu.Unlock()
	t.Print(w)
	return nil
}
