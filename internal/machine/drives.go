package machine

import (
	"fmt"

	"govmd/internal/block"
	"govmd/internal/device"
	"govmd/internal/device/drive"
	"govmd/internal/device/ide"
	"govmd/internal/device/rtc"
	"govmd/internal/object"
)

// plugIDE plugs the south bridge's IDE function, and into it the drives of -drive.
func (m *Machine) plugIDE(bus *device.Bus, gsis []*device.Pin) (ide.Function, error) {
	d, err := m.create(ide.PIIX3Type)
	if err != nil {
		return nil, err
	}
	f := d.(ide.Function)
	f.SetIRQs(gsis[14], gsis[15])
	f.PCI().SetAddr(1, 1)
	if err := m.plug(bus, f); err != nil {
		return nil, err
	}
	for n := range 2 {
		for unit := range 2 {
			if err := m.plugIDEDrive(f.IDEBus(n), n, unit); err != nil {
				return nil, err
			}
		}
	}
	return f, nil
}

// plugIDEDrive plugs the drive that -drive has put in a place, if there is one.
func (m *Machine) plugIDEDrive(bus *device.Bus, n, unit int) error {
	b := m.Blocks.LegacyDrive("ide", n, unit)
	if b == nil {
		return nil
	}
	typeName := "ide-hd"
	if b.Legacy().Media == "cdrom" {
		typeName = "ide-cd"
	}
	return m.plugDrive(bus, typeName, b, unit)
}

// plugDrive plugs a device of that type, whose drive is b.
func (m *Machine) plugDrive(bus *device.Bus, typeName string, b *block.Backend, unit int) error {
	d, err := m.create(typeName)
	if err != nil {
		return err
	}
	if err := object.SetText(d, "drive", b.Name()); err != nil {
		return err
	}
	if err := object.Set(d, "unit", uint64(unit)); err != nil {
		return err
	}
	if err := m.plug(bus, d); err != nil {
		return fmt.Errorf("drive '%s': %w", b.Name(), err)
	}
	return nil
}

// CMOS registers that tell firmware of disks.
const (
	cmosDisks       = 0x12 // types, a nibble for each of the first two
	cmosDiskTypes   = 0x19 // and the type when the nibble says 15
	cmosGeometry    = 0x1b // of the first, then of the second disk
	cmosTranslation = 0x39 // two bits for each of the four drives
)

// fillDisks puts the geometry of IDE disks into the clock's memory.
func fillDisks(r *rtc.Device, f ide.Function) {
	var types byte
	for unit := range 2 {
		d := f.Drive(0, unit)
		if d == nil || d.Packet() {
			continue
		}
		g, _ := d.Geometry()
		types |= 0xf0 >> (4 * unit)
		r.SetCMOS(cmosDiskTypes+unit, 47)
		at := cmosGeometry + 9*unit
		for i, v := range [9]byte{
			byte(g.Cylinders), byte(g.Cylinders >> 8), byte(g.Heads),
			0xff, 0xff, // no write precompensation
			0xc0 | byte(g.Heads>>3&1)<<3,
			byte(g.Cylinders), byte(g.Cylinders >> 8), byte(g.Sectors),
		} {
			r.SetCMOS(at+i, v)
		}
	}
	r.SetCMOS(cmosDisks, types)
	var trans byte
	for i := range 4 {
		d := f.Drive(i/2, i%2)
		if d == nil || d.Packet() {
			continue
		}
		_, t := d.Geometry()
		trans |= map[drive.Translation]byte{drive.TransLBA: 1, drive.TransLarge: 2, drive.TransRECHS: 3}[t] << (2 * i)
	}
	r.SetCMOS(cmosTranslation, trans)
}
