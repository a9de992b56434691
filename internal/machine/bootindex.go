package machine

import (
	"govmd/internal/device"
	"govmd/internal/device/pci"
	"govmd/internal/machine/boot"
)

// pciRoot is the PCI bus in Open Firmware's notation.
const pciRoot = "/pci@i0cf8/"

// bootEntries lists the devices and option ROMs with a bootindex. Those that firmware has no way
// to name are left out.
func (m *Machine) bootEntries() (list []boot.BootEntry) {
	m.eachDevice(func(d device.Device) {
		b, ok := d.(device.Booter)
		if !ok {
			return
		}
		if i, suffix := b.BootIndex(); i >= 0 {
			if path := firmwarePath(d); path != "" {
				list = append(list, boot.BootEntry{Index: i, Path: path + suffix})
			}
		}
	})
	for _, r := range m.OptionROMs {
		if r.BootIndex >= 0 {
			list = append(list, boot.BootEntry{Index: r.BootIndex, Path: "/rom@" + r.name()})
		}
	}
	return list
}

// firmwarePath names the PCI function that d is, or is a part of; "" for none.
func firmwarePath(d device.Device) string {
	for d != nil {
		if f, ok := d.(pci.Function); ok {
			return pciRoot + f.PCI().FirmwareName()
		}
		bus := d.Dev().Bus()
		if bus == nil {
			return ""
		}
		d = bus.Owner()
	}
	return ""
}
