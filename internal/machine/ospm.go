package machine

import (
	"strconv"

	"govmd/internal/qmp"
)

// ospmStatus is what a guest's operating system has reported of a slot by ACPI's
// method _OST (ACPI 6.4, section 6.3.5).
type ospmStatus struct {
	Device *string  `qmp:"device"` // what is in the slot
	Slot   string   `qmp:"slot"`
	Type   ospmSlot `qmp:"slot-type"`
	Source int64    `qmp:"source"`
	Status int64    `qmp:"status"`
}

type ospmSlot string

// EnumValues lists the kinds of slots.
func (ospmSlot) EnumValues() []string { return []string{"DIMM", "CPU"} }

// ospmer is a board that can have ACPI.
type ospmer interface{ hasACPI() bool }

func (p *PC) hasACPI() bool    { return p.acpi }
func (*Microvm) hasACPI() bool { return true }

func (m *Machine) ospmCommands() []qmp.Command {
	return []qmp.Command{
		qmp.New("query-acpi-ospm-status", func(*qmp.Context, *qmp.None) ([]ospmStatus, error) {
			if b, ok := m.Board.(ospmer); !ok || !b.hasACPI() {
				return nil, qmp.Errorf("command is not supported, missing ACPI device")
			}
			list := make([]ospmStatus, m.Slots) // nothing can be in them yet
			for i := range list {
				list[i] = ospmStatus{Slot: strconv.Itoa(i), Type: "DIMM"}
			}
			return list, nil
		}),
	}
}
