package scsi

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync"

	"govmd/internal/block"
	"govmd/internal/device"
	"govmd/internal/device/drive"
	"govmd/internal/device/scsi/mmc"
	"govmd/internal/device/scsi/sense"
	"govmd/internal/object"
)

// revision is a unit's product revision unless it has another.
const revision = "2.5+"

// defaultDiscard is the granularity of discards unless it is given, in bytes.
const defaultDiscard = 4096

// Unit is a logical unit: scsi-hd or scsi-cd.
type Unit struct {
	device.Base

	// properties
	conf      drive.Conf
	geometry  drive.Geometry
	at        Address
	vendor    string
	product   string
	version   string
	deviceID  string
	wwn       uint64
	portWWN   uint64
	portIndex uint16
	rotation  uint16
	level     int32  // of the standard that it follows
	maxUnmap  uint64 // bytes
	maxIO     uint64 // bytes
	removable bool
	dpofua    bool
	cd        bool

	bus     *Bus
	backend *block.Backend
	queue   *block.Queue
	block   uint64 // bytes of a logical block
	cache   bool   // the write cache as it is configured

	mu        sync.Mutex
	buffer    [maxReply]byte // guarded, as all below, by mu
	underway  *Request       // the last to have begun
	pending   sense.Code     // unit attention
	sense     sense.Code     // of the last command
	newMedium bool           // after pending: that there may be another medium
	protected bool           // the medium must not be written
	open      bool           // the tray
	locked    bool
	// What GET EVENT STATUS NOTIFICATION has to tell.
	news, ejectRequest bool
}

// Realize implements device.Device.
func (u *Unit) Realize() error {
	needs := u.needs()
	u.block = mmc.SectorSize
	if u.cd {
		u.conf.LogicalBlock = mmc.SectorSize
		u.conf.PhysicalBlock = max(u.conf.PhysicalBlock, mmc.SectorSize)
	}
	if err := u.check(); err != nil {
		return err
	}
	var dev block.Device = medium{u}
	if u.cd || u.removable {
		dev = tray{medium{u}}
	}
	b, err := u.conf.Open(&u.Base, dev, needs)
	if err != nil {
		return err
	}
	u.block = u.conf.LogicalBlock
	u.backend = b
	b.EnableIOStatus()
	u.cache = b.WriteCache()
	u.queue = b.NewQueue(u.Describe(), 0)
	u.Defer(func() { b.CloseQueue(u.queue) })
	if !u.cd {
		u.geometry.Guess(u.queue, b.Length(), drive.TransAuto)
		if err := u.geometry.Complete(b.Length()/512, drive.Geometry{Cylinders: 65535, Heads: 255, Sectors: 255}); err != nil {
			return err
		}
	}
	u.identify()
	u.protected = b.ReadOnly()
	u.pending = sense.PowerOn
	return nil
}

func (u *Unit) needs() drive.Needs {
	if u.cd {
		return drive.Needs{Empty: true, ReadOnly: true}
	}
	return drive.Needs{Empty: u.removable, Resizable: true}
}

func (u *Unit) check() error {
	switch {
	case u.conf.Drive == "" && !u.cd:
		return errors.New("drive property not set")
	case u.level < 0 || u.level > 7:
		return errors.New("scsi_version must be between 0 and 7")
	case u.maxUnmap == 0 || u.maxIO == 0:
		return errors.New("max_unmap_size and max_io_size must not be 0")
	}
	return nil
}

// identify completes what the unit says of itself.
func (u *Unit) identify() {
	or := func(s *string, def string) {
		if *s == "" {
			*s = def
		}
	}
	or(&u.vendor, "QEMU")
	or(&u.version, revision)
	if u.cd {
		or(&u.product, "QEMU CD-ROM")
	} else {
		or(&u.product, "QEMU HARDDISK")
	}
	if s := u.conf.Serial; u.deviceID == "" && s != "" {
		u.deviceID = s[:min(len(s), 20)]
	}
	or(&u.deviceID, u.backend.Name())
}

// Unrealize implements device.Device.
func (u *Unit) Unrealize() {
	u.bus.remove(u)
	u.backend.CancelParked()
	_ = u.queue.Wait(context.Background()) // it cannot end early
}

// ResetEnter implements device.ResetEnterer.
func (u *Unit) ResetEnter() { u.Reset() }

// Reset brings the unit to where it is after power on, but for its tray. Requests
// that are under way end by themselves.
func (u *Unit) Reset() {
	u.mu.Lock()
	u.sense, u.pending = sense.None, sense.PowerOn
	u.newMedium, u.locked, u.news, u.ejectRequest = false, false, false, false
	u.mu.Unlock()
	u.backend.SetWriteCache(u.cache)
	u.backend.CancelParked()
	u.backend.ResetIOStatus()
}

// attention has the next command told of code. That there was a reset tells more
// than all others.
func (u *Unit) attention(code sense.Code) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.pending != sense.PowerOn {
		u.pending = code
	}
}

// ready reports whether there is a medium. mu is held.
func (u *Unit) ready() bool {
	return !u.open && u.backend.Inserted() && (!u.cd || u.blocks() > 0)
}

// readOnly reports whether the medium must not be written. mu is held.
func (u *Unit) readOnly() bool { return u.cd || u.protected }

// blocks is the size of the medium. mu is held.
func (u *Unit) blocks() uint64 {
	if u.open {
		return 0
	}
	return uint64(u.backend.Length()) / u.block
}

// discard is the granularity of discards in bytes, 0 for none.
func (u *Unit) discard() uint64 {
	if u.conf.Discard == drive.NoDiscard {
		return max(u.block, defaultDiscard)
	}
	return u.conf.Discard
}

// BootIndex implements device.Booter.
func (u *Unit) BootIndex() (index int, suffix string) {
	return int(u.conf.BootIndex), fmt.Sprintf("/channel@%x/disk@%x,%x", u.at.Channel, u.at.Target, u.at.LUN)
}

func init() {
	conf := func(u *Unit) *drive.Conf { return &u.conf }
	props := append(drive.Props(conf), drive.ErrorProps(conf)...)
	props = append(props, drive.BootIndexProp(conf), drive.SerialProp(conf),
		object.Int("channel", func(u *Unit) *uint32 { return &u.at.Channel }, 0, ""),
		object.Int("scsi-id", func(u *Unit) *uint32 { return &u.at.Target }, anyNumber, "target; by default the first that is free"),
		object.Int("lun", func(u *Unit) *uint32 { return &u.at.LUN }, anyNumber, "logical unit; by default the first that is free"),
		object.Str("vendor", func(u *Unit) *string { return &u.vendor }, "", "at most 8 characters"),
		object.Str("product", func(u *Unit) *string { return &u.product }, "", "at most 16 characters"),
		object.Str("ver", func(u *Unit) *string { return &u.version }, "", "product revision, at most 4 characters"),
		object.Str("device_id", func(u *Unit) *string { return &u.deviceID }, "", "identification of page 0x83; by default the serial number, or the drive's name"),
		object.Int("wwn", func(u *Unit) *uint64 { return &u.wwn }, 0, "world wide name; 0 for none"),
		object.Int("port_wwn", func(u *Unit) *uint64 { return &u.portWWN }, 0, "world wide name of the port; 0 for none"),
		object.Int("port_index", func(u *Unit) *uint16 { return &u.portIndex }, 0, "number of the port; 0 for none"),
		object.Int("scsi_version", func(u *Unit) *int32 { return &u.level }, 5, "standard that INQUIRY tells"),
		object.Int("max_io_size", func(u *Unit) *uint64 { return &u.maxIO }, math.MaxInt32, "bytes of a transfer that INQUIRY tells"),
	)
	device.Register(object.Type{Name: "scsi-device", Abstract: true, Bus: BusKind, Hotpluggable: true, Props: props})
	device.Register(object.Type{
		Name: "scsi-hd", Parent: "scsi-device", UserCreatable: true, Hotpluggable: true, Description: "virtual SCSI disk",
		New: func() object.Object { return &Unit{} },
		Props: append(drive.GeometryProps(func(u *Unit) *drive.Geometry { return &u.geometry }),
			object.Bool("removable", func(u *Unit) *bool { return &u.removable }, false, "on/off"),
			object.Bool("dpofua", func(u *Unit) *bool { return &u.dpofua }, false, "on/off"),
			object.Int("max_unmap_size", func(u *Unit) *uint64 { return &u.maxUnmap }, 1<<30, "bytes of an UNMAP that INQUIRY tells"),
			object.Int("rotation_rate", func(u *Unit) *uint16 { return &u.rotation }, 0,
				"1 for a disk that does not rotate, 0 for one that does not say, or rotations a minute"),
		),
	})
	device.Register(object.Type{
		Name: "scsi-cd", Parent: "scsi-device", UserCreatable: true, Hotpluggable: true, Description: "virtual SCSI CD-ROM",
		New: func() object.Object { return &Unit{cd: true, maxUnmap: 1} },
	})
}
