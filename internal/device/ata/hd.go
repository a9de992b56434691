package ata

import (
	"errors"
	"fmt"

	"govmd/internal/block"
	"govmd/internal/device"
	"govmd/internal/device/drive"
	"govmd/internal/object"
	"govmd/internal/state"
)

const anyUnit = ^uint32(0)

// common is what ide-hd and ide-cd share.
type common struct {
	device.Base
	Drive
	props drive.Conf
	place uint32 // property unit

	version, model string
	wwn            uint64
	cache          bool // the write cache at power-on
	cable          *Cable
}

// HD is the device "ide-hd", a disk.
type HD struct {
	common
	rotation uint16
}

// CD is the device "ide-cd", a CD-ROM and DVD drive.
type CD struct {
	common
	packetDevice
}

type anyDrive interface {
	object.Object
	shared() *common
}

func (c *common) shared() *common       { return c }
func (c *common) ata() *Drive           { return &c.Drive }
func (c *common) unitProperty() *uint32 { return &c.place }
func conf[T anyDrive](d T) *drive.Conf  { return &d.shared().props }
func driveProps() (list []object.Property) {
	list = append(drive.Props(conf[anyDrive]), drive.ErrorProps(conf[anyDrive])...)
	return append(list, drive.BootIndexProp(conf[anyDrive]), drive.SerialProp(conf[anyDrive]),
		object.Int("unit", func(d anyDrive) *uint32 { return &d.shared().place }, anyUnit, "0 or 1: which drive of the cable"),
		object.Str("ver", func(d anyDrive) *string { return &d.shared().version }, "", "firmware revision"),
		object.Str("model", func(d anyDrive) *string { return &d.shared().model }, "", "model"),
		object.Int("wwn", func(d anyDrive) *uint64 { return &d.shared().wwn }, 0, "world wide name; 0 for none"),
	)
}

func init() {
	device.Register(object.Type{Name: "ide-device", Abstract: true, Bus: BusKind, Props: driveProps()})
	device.Register(object.Type{
		Name: "ide-hd", Parent: "ide-device", UserCreatable: true, Description: "virtual IDE disk",
		New: func() object.Object { return &HD{} },
		Props: append(drive.GeometryProps(func(d *HD) *drive.Geometry { return &d.geo }),
			drive.TranslationProp(func(d *HD) *drive.Translation { return &d.trans }),
			object.Int("rotation_rate", func(d *HD) *uint16 { return &d.rotation }, 0,
				"1 for a disk that does not rotate, 0 for one that does not say, or rotations a minute")),
	})
	device.Register(object.Type{
		Name: "ide-cd", Parent: "ide-device", UserCreatable: true, Description: "virtual IDE CD-ROM",
		New: func() object.Object { return &CD{} },
	})
}

// identify sets what the drive says of itself. What is too long loses its end.
func (c *common) identify(cable *Cable, model string) {
	or := func(s, def string, most int) string {
		if s == "" {
			s = def
		}
		return s[:min(len(s), most)]
	}
	c.Drive.id = identity{
		model: or(c.model, model, 40), serial: or(c.props.Serial, cable.defaultSerial(int(c.place)), 20),
		version: or(c.version, "2.5+", 8), wwn: c.wwn,
	}
}

// realize finds the back end and joins the cable; join completes it.
func (c *common) realize(d device.Device, dev block.Device, needs drive.Needs, model string) error {
	cable := c.Dev().Bus().Controller().(*Cable)
	c.cable = cable
	if c.props.Drive == "" && !needs.Empty {
		return errors.New("No drive specified")
	}
	if g := c.props.Discard; g != drive.NoDiscard && g != 0 && g != SectorSize {
		return errors.New("discard_granularity must be 512 for ide")
	}
	b, err := c.props.Open(&c.Base, dev, needs)
	if err != nil {
		return err
	}
	b.EnableIOStatus()
	c.identify(cable, model)
	c.cache = b.WriteCache()
	c.Drive.attach(&c.Base, cable.port, &c.props, b, int(c.place))
	c.Defer(c.Drive.detach)
	c.Defer(c.Env().Run.AddNotifier(resumePriority, c.Drive.runStateChanged))
	return nil
}

// join lets the controller know of the drive.
func (c *common) join() {
	cable := c.cable
	c.mu.Lock()
	c.powerOn()
	c.mu.Unlock()
	if cable.Changed != nil {
		cable.Changed(&c.Drive, false)
		c.Defer(func() { cable.Changed(&c.Drive, true) })
	}
}

// Realize implements device.Device.
func (h *HD) Realize() error {
	err := h.realize(h, h, drive.Needs{Resizable: true, CannotRO: true}, "QEMU HARDDISK")
	if err != nil {
		return err
	}
	if h.props.LogicalBlock != SectorSize {
		return errors.New("logical_block_size must be 512 for IDE")
	}
	h.id.rotation = h.rotation
	h.trans = h.geo.Guess(h.queue, h.Drive.drive.Length(), h.trans)
	if err := h.geo.Complete(h.Sectors(), drive.Geometry{Cylinders: 65535, Heads: 16, Sectors: 255}); err != nil {
		return err
	}
	h.join()
	return nil
}

// Realize implements device.Device.
func (c *CD) Realize() error {
	c.packetDevice.d = &c.Drive
	c.Drive.cd = &c.packetDevice
	if err := c.realize(c, c, drive.Needs{Empty: true, ReadOnly: true}, "QEMU DVD-ROM"); err != nil {
		return err
	}
	c.join()
	return nil
}

// Unrealize implements device.Device: what there is to do is deferred.
func (c *common) Unrealize() {}

// ResetEnter implements device.ResetEnterer.
func (c *common) ResetEnter() {
	c.Drive.resetEnter()
	c.Drive.drive.SetWriteCache(c.cache)
}

// ResetHold implements device.ResetHolder.
func (c *common) ResetHold() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.port.Interrupt(&c.Drive)
}

// States implements device.Stater.
func (c *common) States() []state.Entry {
	e := state.Of("", 1, c.Drive.save, c.Drive.load)
	e.PostLoad = c.Drive.loaded
	return []state.Entry{e}
}

// BootIndex implements device.Booter.
func (c *common) BootIndex() (int, string) {
	return int(c.props.BootIndex), fmt.Sprintf("/drive@%x/disk@%x", c.cable.index, c.place)
}

// BlockDeviceName implements block.Device.
func (h *HD) BlockDeviceName() string { return drive.Name(h) }

// MediumChanged implements block.Device: a disk's medium stays.
func (h *HD) MediumChanged(bool) {}

// MediumResized implements block.Device. ATA has no word for it: the guest sees the
// size when it identifies the disk again.
func (h *HD) MediumResized() {}

// BlockDeviceName implements block.Device.
func (c *CD) BlockDeviceName() string { return drive.Name(c) }
