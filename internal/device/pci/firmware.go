package pci

import "fmt"

// firmwareClasses are the names of classes in Open Firmware's PCI binding.
var firmwareClasses = map[uint16]string{
	0x0100: "scsi", 0x0101: "ide", 0x0102: "fdc", 0x0103: "ipi", 0x0104: "raid",
	0x0200: "ethernet", 0x0300: "display", 0x0601: "isa", 0x0604: "pci-bridge",
}

// FirmwareName names the function on its bus in Open Firmware's notation:
// "ide@1,1", and by its IDs where its class has no name.
func (d *Device) FirmwareName() string {
	name := firmwareClasses[d.config.U16(RegClass+1)]
	if name == "" {
		name = fmt.Sprintf("pci%04x,%04x", d.config.U16(RegVendor), d.config.U16(RegDevice))
	}
	place := fmt.Sprintf("@%x", d.Slot())
	if d.Fn() != 0 {
		place += fmt.Sprintf(",%x", d.Fn())
	}
	return name + place
}
