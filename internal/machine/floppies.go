package machine

import (
	"govmd/internal/device"
	"govmd/internal/device/fdc"
	"govmd/internal/device/rtc"
)

// plugFloppies plugs the floppy disk controller, and into it the drives of -drive.
func (m *Machine) plugFloppies(isaBus *device.Bus) (*fdc.Controller, error) {
	d, err := m.create(fdc.TypeName)
	if err != nil {
		return nil, err
	}
	c := d.(*fdc.Controller)
	if err := m.plug(isaBus, c); err != nil {
		return nil, err
	}
	for unit := range 2 {
		b := m.Blocks.LegacyDrive("floppy", 0, unit)
		if b == nil {
			continue
		}
		if err := m.plugDrive(c.FloppyBus(), "floppy", b, unit); err != nil {
			return nil, err
		}
	}
	return c, nil
}

// CMOS registers that tell firmware of floppy drives.
const (
	cmosFloppies  = 0x10 // types, the first in the upper half
	cmosEquipment = 0x14 // bit 0: there are some; bits 6 and 7: how many beyond one
	// equipment is what a PC has beside: mathematics coprocessor, PS/2 mouse.
	equipment = 0x06
)

// fillFloppies puts the kinds of floppy drives into the clock's memory.
func fillFloppies(r *rtc.Device, c *fdc.Controller) {
	var types byte
	n := 0
	for unit := range 2 {
		if f := c.Drive(unit); f != nil {
			types |= f.DriveType().CMOS() << (4 - 4*unit)
			n++
		}
	}
	r.SetCMOS(cmosFloppies, types)
	if n > 0 {
		r.SetCMOS(cmosEquipment, equipment|1|byte(n-1)<<6)
	}
}
