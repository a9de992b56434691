package drive

import "govmd/internal/device"

// Name is the name of a device for block.Device: its ID, or its path in the object tree.
func Name(d device.Device) string {
	if id := d.Dev().ID(); id != "" {
		return id
	}
	return d.Dev().Path()
}
