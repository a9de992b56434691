package i8259

import (
	"fmt"
	"io"
)

// Text is what `info pic` shows of one chip.
type Text struct {
	IRR, IMR, ISR, Highest, Base, ELCR uint8
	ReadISR, FullyNested               bool
}

// Print writes it; n is 0 for the master, 1 for the slave.
func (t *Text) Print(w io.Writer, n int) {
	fmt.Fprintf(w, "pic%d: irr=%02x imr=%02x isr=%02x hprio=%d irq_base=%02x rr_sel=%d elcr=%02x fnm=%d\n",
		n, t.IRR, t.IMR, t.ISR, t.Highest, t.Base, bit(t.ReadISR), t.ELCR, bit(t.FullyNested))
}

func bit(on bool) int {
	if on {
		return 1
	}
	return 0
}

// PrintPIC shows both chips as `info pic` does.
func (d *Device) PrintPIC(w io.Writer) error {
	d.mu.Lock()
	var texts [2]Text
	for i := range texts {
		c := &d.chips[i]
		texts[i] = Text{
			IRR: c.irr(), IMR: c.imr, ISR: c.isr, Highest: (c.lowest + 1) & 7, Base: c.base, ELCR: c.elcr,
			ReadISR: c.readISR, FullyNested: c.fullyNest,
		}
	}
	d.mu.Unlock()
	texts[1].Print(w, 1)
	texts[0].Print(w, 0)
	return nil
}
