package machine

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"govmd/internal/device"
	"govmd/internal/device/pci"
	"govmd/internal/memory"
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
		{
			Name: "mtree", Args: "flatview:-f", Params: "[-f]", Help: "show memory tree (-f: dump flat view for address spaces)",
			Run: func(_ *qmp.Context, a qmp.HumanArgs, out io.Writer) error {
				for _, s := range []*memory.Space{m.mem, m.io} {
					if s == nil {
						continue
					}
					if a.Bool("flatview") {
						s.DumpFlat(out)
					} else {
						s.Dump(out)
					}
				}
				return nil
			},
		},
		info("pci", "show PCI info", func(out io.Writer) error {
			b, ok := m.Board.(interface{ pciBus() *pci.Bus })
			if !ok || b.pciBus() == nil {
				_, err := fmt.Fprintln(out, "PCI devices not supported")
				return err
			}
			bus := b.pciBus().Info()
			bus.Print(out)
			return nil
		}),
		info("qtree", "show device tree", m.infoQtree),
		info("irq", "show the interrupts statistics (if available)", func(out io.Writer) error {
			return m.eachPIC(func(p picPrinter) error {
				_, err := fmt.Fprintf(out, "IRQ statistics not available for %s.\n", p.Dev().TypeName())
				return err
			})
		}),
		info("pic", "show PIC state", func(out io.Writer) error {
			return m.eachPIC(func(p picPrinter) error { return p.PrintPIC(out) })
		}),
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

// eachDevice calls fn for all devices, those on a device's buses after it.
func (m *Machine) eachDevice(fn func(device.Device)) {
	var visit func(d device.Device)
	visit = func(d device.Device) {
		fn(d)
		for _, b := range d.Dev().ChildBuses() {
			for _, d := range b.Devices() {
				visit(d)
			}
		}
	}
	for _, d := range m.Env.Roots() {
		visit(d)
	}
}

// infoQtree shows buses and devices as `info qtree` does: those without a bus are on
// the board's own.
func (m *Machine) infoQtree(out io.Writer) error {
	fmt.Fprint(out, "bus: main-system-bus\n  type System\n")
	for _, d := range m.Env.Roots() {
		if _, isCPU := d.(*VCPU); isCPU { // on no bus at all
			continue
		}
		if err := printDevice(out, d, 2); err != nil {
			return err
		}
	}
	return nil
}

func printBus(out io.Writer, b *device.Bus, indent int) error {
	fmt.Fprintf(out, "%*sbus: %s\n%*stype %s\n", indent, "", b.Name(), indent+2, "", b.Kind())
	for _, d := range b.Devices() {
		if err := printDevice(out, d, indent+2); err != nil {
			return err
		}
	}
	return nil
}

func printDevice(out io.Writer, d device.Device, indent int) error {
	base := d.Dev()
	if _, err := fmt.Fprintf(out, "%*sdev: %s, id \"%s\"\n", indent, "", base.TypeName(), base.ID()); err != nil {
		return err
	}
	if n := len(base.Inputs("")); n > 0 {
		fmt.Fprintf(out, "%*sgpio-in \"\" %d\n", indent+2, "", n)
	}
	if n := len(base.Outputs()); n > 0 {
		fmt.Fprintf(out, "%*sgpio-out \"\" %d\n", indent+2, "", n)
	}
	for _, p := range base.Type().Properties() {
		if p.Get == nil || p.Set == nil || p.Name == "realized" || p.Name == "hotplugged" {
			continue
		}
		fmt.Fprintf(out, "%*s%s = %s\n", indent+2, "", p.Name, propertyText(p.Get(base.Object())))
	}
	for _, b := range base.ChildBuses() {
		if err := printBus(out, b, indent+2); err != nil {
			return err
		}
	}
	return nil
}

// propertyText shows a value as `info qtree` does.
func propertyText(v any) string {
	switch v := v.(type) {
	case nil:
		return "<null>"
	case bool:
		return fmt.Sprint(v)
	case int64:
		return fmt.Sprintf("%d (%#x)", v, v)
	case uint64:
		return fmt.Sprintf("%d (%#x)", v, v)
	case qmp.Size:
		return fmt.Sprintf("%d (%#x)", uint64(v), uint64(v))
	case fmt.Stringer:
		return fmt.Sprintf("%q", v.String())
	case string:
		return fmt.Sprintf("%q", v)
	}
	return fmt.Sprintf("%v", v)
}
