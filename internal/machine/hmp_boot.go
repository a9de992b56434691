package machine

import (
	"fmt"
	"io"

	"govmd/internal/machine/boot"
	"govmd/internal/qmp"
)

func (m *Machine) bootHumanCommands() []qmp.HumanCommand {
	return []qmp.HumanCommand{{
		Name: "boot_set", Args: "bootdevice:s", Params: "bootdevice", Help: "define new values for the boot device list",
		Run: func(_ *qmp.Context, a qmp.HumanArgs, out io.Writer) error {
			devices := a.Str("bootdevice")
			if err := m.setBootOrder(devices); err != nil {
				_, err = fmt.Fprintln(out, err)
				return err
			}
			_, err := fmt.Fprintf(out, "boot device list now set to %s\n", devices)
			return err
		},
	}}
}

// setBootOrder has firmware try other devices from the next start on.
func (m *Machine) setBootOrder(devices string) error {
	r := m.rtc()
	if r == nil {
		return qmp.Errorf("no function defined to set boot device list for this architecture")
	}
	order := m.Boot
	order.Once = ""
	if err := order.Add([]boot.Pair{{Key: "order", Value: devices}}); err != nil {
		return err
	}
	if _, _, err := boot.EncodeCMOS(order.Devices(false)); err != nil {
		return err
	}
	m.Boot = order
	return m.setBootDevices(r, false)
}

// infoROMs is `info roms`: the firmware, programs that it runs, and the tables that it
// hands on.
func (m *Machine) infoROMs(_ *qmp.Context, _ qmp.HumanArgs, out io.Writer) error {
	for _, r := range m.OptionROMs {
		if size, ok := m.fwcfgSize(r.name()); ok {
			if _, err := fmt.Fprintf(out, "fw=%s size=0x%06x name=%q\n", r.name(), size, r.name()[len("genroms/"):]); err != nil {
				return err
			}
		}
	}
	if f := m.romImage; f.size != 0 {
		if _, err := fmt.Fprintf(out, "addr=%016x size=0x%06x mem=rom name=%q\n", fourGiB-f.size, f.size, f.name); err != nil {
			return err
		}
	}
	for _, name := range []string{"etc/acpi/tables", "etc/table-loader", "etc/acpi/rsdp"} {
		if size, ok := m.fwcfgSize(name); ok {
			if _, err := fmt.Fprintf(out, "/rom@%s size=0x%06x name=%q\n", name, size, name); err != nil {
				return err
			}
		}
	}
	return nil
}

// fwcfgSize returns the size of a file that firmware is given.
func (m *Machine) fwcfgSize(name string) (size int, ok bool) {
	if m.fwcfg == nil {
		return 0, false
	}
	return m.fwcfg.FileSize(name)
}
