package machine

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"govmd/internal/device"
	"govmd/internal/qmp"
)

// picPrinter is an interrupt controller that `info pic` shows.
type picPrinter interface {
	device.Device
	PrintPIC(w io.Writer) error
}

// boardInfoCommands are the second words of `info` about the board and what is on it.
func (m *Machine) boardInfoCommands() []qmp.HumanCommand {
	info := func(name, help string, fn func(out io.Writer) error) qmp.HumanCommand {
		return qmp.HumanCommand{Name: name, Help: help, Run: func(_ *qmp.Context, _ qmp.HumanArgs, out io.Writer) error { return fn(out) }}
	}
	return []qmp.HumanCommand{
		info("name", "show the current VM name", func(out io.Writer) error {
			if m.Name == "" {
				return nil
			}
			_, err := fmt.Fprintln(out, m.Name)
			return err
		}),
		info("uuid", "show the current VM UUID", func(out io.Writer) error {
			_, err := fmt.Fprintln(out, m.UUID)
			return err
		}),
		info("kvm", "show KVM information", func(out io.Writer) error {
			_, err := fmt.Fprintf(out, "kvm support: %s\n", pick(m.Accel != nil && m.Accel.Name() == "kvm", "enabled", "disabled"))
			return err
		}),
		info("pci", "show PCI info", func(out io.Writer) error {
			b := m.pciBus()
			if b == nil {
				_, err := fmt.Fprintln(out, "PCI devices not supported")
				return err
			}
			bus := b.Info()
			bus.Print(out)
			return nil
		}),
		info("irq", "show the interrupts statistics (if available)", func(out io.Writer) error {
			return m.eachPIC(func(p picPrinter) error {
				_, err := fmt.Fprintf(out, "IRQ statistics for %s:\n", p.Dev().TypeName()) // none are kept
				return err
			})
		}),
		info("pic", "show PIC state", func(out io.Writer) error {
			return m.eachPIC(func(p picPrinter) error { return p.PrintPIC(out) })
		}),
		{Name: "roms", Help: "show roms", Run: m.infoROMs},
		{Name: "balloon", Help: "show balloon information", Run: noBalloon},
		{
			Name: "vm-generation-id", Help: "Show Virtual Machine Generation ID",
			Run: func(*qmp.Context, qmp.HumanArgs, io.Writer) error { return errNoGenerationID },
		},
		{
			Name: "lapic", Args: "apic-id:i?", Params: "[apic-id]", NoLane: true, Run: m.infoLAPIC,
			Help: "show local apic state (apic-id: local apic to read, default is which of current CPU)",
		},
	}
}

// eachPIC calls fn for the interrupt controllers, I/O APICs first.
func (m *Machine) eachPIC(fn func(picPrinter) error) error {
	var list []picPrinter
	m.eachDevice(func(d device.Device) {
		if p, ok := d.(picPrinter); ok {
			list = append(list, p)
		}
	})
	slices.SortStableFunc(list, func(a, b picPrinter) int { return picRank(a) - picRank(b) })
	for _, p := range list {
		if err := fn(p); err != nil {
			return err
		}
	}
	return nil
}

func picRank(p picPrinter) int {
	if strings.Contains(p.Dev().TypeName(), "ioapic") {
		return 0
	}
	return 1
}
