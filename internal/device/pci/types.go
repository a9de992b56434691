package pci

import (
	"govmd/internal/device"
	"govmd/internal/object"
)

func init() {
	device.Register(object.Type{
		Name: "pci-device", Abstract: true, Bus: BusKind,
		Props: []object.Property{
			addrProperty(),
			object.Str("romfile", func(f Function) *string { return &f.PCI().romFile }, "", "file of the option ROM"),
			object.Int("romsize", func(f Function) *uint32 { return &f.PCI().romSize }, romSizeAuto,
				"size of the option ROM in bytes; by default that of its file"),
			object.Int("rombar", func(f Function) *uint32 { return &f.PCI().romBAR }, 1, "0: hide the option ROM from the guest"),
			object.Bool("multifunction", func(f Function) *bool { return &f.PCI().multifunction }, false, "on/off"),
			object.Int("acpi-index", func(f Function) *uint32 { return &f.PCI().acpiIndex }, 0,
				"number by which the guest names the device"),
		},
	})
}

// Register adds the type of a PCI function. It is called from init functions only.
func Register(t object.Type) {
	if t.Parent == "" {
		t.Parent = "pci-device"
	}
	device.Register(t)
}

// SetMultifunction makes the function say that its slot has others, as property
// multifunction does. It is for boards and constructors, before the function is plugged in.
func (d *Device) SetMultifunction(on bool) { d.multifunction = on }

// SetAddr gives the function its place, as property addr does.
func (d *Device) SetAddr(slot, fn int) { d.devfn = int32(slot<<3 | fn) }
