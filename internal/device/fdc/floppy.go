package fdc

import (
	"errors"
	"fmt"
	"strconv"

	"govmd/internal/block"
	"govmd/internal/device"
	"govmd/internal/device/drive"
	"govmd/internal/object"
)

// BusKind is what floppy drives plug into.
const BusKind = "floppy-bus"

const (
	maxDrives = 2
	anyUnit   = 1<<32 - 1
)

// Floppy is the device "floppy", a drive.
type Floppy struct {
	device.Base

	// properties
	conf drive.Conf
	unit uint32
	kind DriveType

	ctl     *Controller
	backend *block.Backend
	queue   *block.Queue

	// What follows is guarded by the controller's mutex.

	format   format
	present  bool
	readOnly bool
	changed  bool  // since the head has last moved
	track    uint8 // where the head is
}

// bus is the controller of the bus.
type bus struct{ c *Controller }

// Attach implements device.Controller.
func (b bus) Attach(d device.Device) error {
	f := d.(*Floppy)
	if f.unit == anyUnit {
		if f.unit = 0; b.c.places[0] != nil {
			f.unit = 1
		}
	}
	switch {
	case f.unit >= maxDrives:
		return fmt.Errorf("Can't create floppy unit %d, bus supports only %d units", f.unit, maxDrives)
	case b.c.places[f.unit] != nil:
		return fmt.Errorf("Floppy unit %d is in use", f.unit)
	}
	b.c.places[f.unit] = f
	f.ctl = b.c
	return nil
}

// Detach implements device.Controller.
func (b bus) Detach(d device.Device) {
	if f := d.(*Floppy); b.c.places[f.unit] == f {
		b.c.places[f.unit] = nil
	}
}

// DeviceAddress implements device.Addresser.
func (b bus) DeviceAddress(d device.Device) string { return strconv.Itoa(int(d.(*Floppy).unit)) }

// Full reports whether there is no place left.
func (b bus) Full() bool { return b.c.places[0] != nil && b.c.places[1] != nil }

// needs is what a floppy drive demands of its drive.
var needs = drive.Needs{Empty: true}

// Realize implements device.Device.
func (f *Floppy) Realize() (err error) {
	if f.kind == DriveAuto {
		f.kind = f.ctl.types[f.unit]
	}
	if f.kind == DriveNone {
		return errors.New("a floppy drive of type 'none' is no drive: leave it out")
	}
	f.backend, err = f.conf.Open(&f.Base, f, needs)
	if err != nil {
		return err
	}
	if f.conf.LogicalBlock != sectorSize || f.conf.PhysicalBlock != sectorSize {
		return errors.New("Physical and logical block size must be 512 for floppy")
	}
	// The controller cannot stop in the middle of a sector.
	p := f.backend.Policy()
	if p.Read != block.OnErrorReport && p.Read != block.OnErrorIgnore || p.Write == block.OnErrorStop {
		return errors.New("fdc doesn't support drive option rerror or werror")
	}
	f.backend.SetPolicy(block.Policy{Read: p.Read, Write: reportAtMost(p.Write)})
	f.queue = f.backend.NewQueue(f.Describe(), 0)
	f.Defer(func() { f.backend.CloseQueue(f.queue) })
	if f.kind == DriveAuto {
		if f.kind = f.ctl.fallback; f.backend.Inserted() {
			f.kind = find(f.backend.Length(), DriveAuto).drive
		}
	}
	c := f.ctl
	c.mu.Lock()
	defer c.mu.Unlock()
	f.load()
	c.drives[f.unit] = f
	return nil
}

func reportAtMost(a block.OnError) block.OnError {
	if a == block.OnErrorIgnore {
		return a
	}
	return block.OnErrorReport
}

// load notes what medium there is. The controller is locked.
func (f *Floppy) load() {
	f.present, f.changed = f.backend.Inserted(), true
	f.readOnly = f.backend.ReadOnly()
	if f.present {
		f.format = find(f.backend.Length(), f.kind)
	}
}

// Unrealize implements device.Device.
func (f *Floppy) Unrealize() {
	c := f.ctl
	c.mu.Lock()
	if c.x.Drive == uint8(f.unit) {
		c.abandon()
		c.x = transfer{}
	}
	c.drives[f.unit] = nil
	c.mu.Unlock()
	f.wait()
}

// DriveType returns what floppies the drive takes.
func (f *Floppy) DriveType() DriveType { return f.kind }

// BootIndex implements device.Booter.
func (f *Floppy) BootIndex() (index int, suffix string) {
	return int(f.ctl.boot[f.unit]), fmt.Sprintf("/fdc@%04x/floppy@%x", f.ctl.iobase, f.unit)
}

// BlockDeviceName implements block.Device.
func (f *Floppy) BlockDeviceName() string { return drive.Name(f) }

// RemovableMedium implements block.MediaDevice.
func (f *Floppy) RemovableMedium() {}

// MediumResized implements block.Device.
func (f *Floppy) MediumResized() {}

// MediumChanged implements block.Device.
func (f *Floppy) MediumChanged(bool) {
	writable := f.conf.Reclaim(f.backend, needs)
	c := f.ctl
	c.mu.Lock()
	defer c.mu.Unlock()
	f.load()
	f.readOnly = !writable
}

// seek moves the head. The controller is locked.
func (f *Floppy) seek(track uint8) {
	if track != f.track && f.present {
		f.changed = false
	}
	f.track = track
}

func init() {
	conf := func(f *Floppy) *drive.Conf { return &f.conf }
	device.Register(object.Type{
		Name: "floppy", Description: "virtual floppy drive", Bus: BusKind, UserCreatable: true,
		New: func() object.Object { return &Floppy{} },
		Props: append(drive.Props(conf),
			object.Int("unit", func(f *Floppy) *uint32 { return &f.unit }, anyUnit, ""),
			object.Enum("drive-type", "FdcDriveType", driveTypes, func(f *Floppy) *DriveType { return &f.kind }, DriveAuto,
				"FDC drive type, 144/288/120/none/auto"),
		),
	})
	device.RegisterBus(BusKind)
}
