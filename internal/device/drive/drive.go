// Package drive is what all disks, CD-ROMs and floppies have in common: the
// properties that name their drive and say what it looks like, and how a device
// takes a drive of the block layer.
package drive

import (
	"errors"
	"fmt"

	"govmd/internal/block"
	"govmd/internal/device"
	"govmd/internal/object"
)

// Conf are the properties of a device with a drive.
type Conf struct {
	Drive         string // of a drive, or of a node
	LogicalBlock  uint64 // bytes, a power of two of 512 to 2 MiB
	PhysicalBlock uint64
	MinIO, OptIO  uint64 // bytes: what is best; 0 to say nothing
	Discard       uint64 // bytes that can be discarded at once; noDiscard for the device's choice
	WriteCache    object.OnOffAuto
	ShareRW       bool
	RError        Action
	WError        Action
	AcctInvalid   object.OnOffAuto
	AcctFailed    object.OnOffAuto
	BootIndex     int32 // -1 for none
	Serial        string
}

// Action is what happens on an error, or "auto" for what the drive says.
type Action string

var actions = []Action{"auto", "report", "ignore", "enospc", "stop"}

// NoDiscard is the value of Conf.Discard that leaves the granularity to the device.
const NoDiscard = 1<<32 - 1

// Props are the properties of a device whose Conf get returns.
func Props[T object.Object](get func(T) *Conf) []object.Property {
	return []object.Property{
		object.Link("drive", "str", func(d T) *string { return &get(d).Drive }, "Node name or ID of a block device to use as a backend"),
		blockSize("logical_block_size", func(d T) *uint64 { return &get(d).LogicalBlock }),
		blockSize("physical_block_size", func(d T) *uint64 { return &get(d).PhysicalBlock }),
		object.Size("min_io_size", func(d T) *uint64 { return &get(d).MinIO }, 0, ""),
		object.Size("opt_io_size", func(d T) *uint64 { return &get(d).OptIO }, 0, ""),
		object.Size("discard_granularity", func(d T) *uint64 { return &get(d).Discard }, NoDiscard, ""),
		object.Tristate("write-cache", func(d T) *object.OnOffAuto { return &get(d).WriteCache }, object.Auto, "on/off/auto"),
		object.Bool("share-rw", func(d T) *bool { return &get(d).ShareRW }, false, "on/off"),
		object.Tristate("account-invalid", func(d T) *object.OnOffAuto { return &get(d).AcctInvalid }, object.Auto, "on/off/auto"),
		object.Tristate("account-failed", func(d T) *object.OnOffAuto { return &get(d).AcctFailed }, object.Auto, "on/off/auto"),
	}
}

// blockSize is a property for the size of blocks; 0 leaves it to the drive.
func blockSize[T object.Object](name string, field func(T) *uint64) object.Property {
	const least, most = 512, 2 << 20
	p := object.Size(name, field, 0, "A power of two between 512 B and 2 MiB")
	set := p.Set
	p.Set = func(o object.Object, v any) error {
		was := *field(o.(T))
		if err := set(o, v); err != nil {
			return err
		}
		n := *field(o.(T))
		if n == 0 || n >= least && n <= most && n&(n-1) == 0 {
			return nil
		}
		*field(o.(T)) = was
		id := ""
		if d, ok := o.(device.Device); ok {
			id = d.Dev().ID()
		}
		if n < least || n > most {
			return fmt.Errorf("Property %s.%s doesn't take value %d (minimum: %d, maximum: %d)", id, name, n, least, most)
		}
		return fmt.Errorf("Property %s.%s doesn't take value '%d', it's not a power of 2", id, name, n)
	}
	return p
}

// ErrorProps are the properties of devices that can stop on errors.
func ErrorProps[T object.Object](get func(T) *Conf) []object.Property {
	return []object.Property{
		object.Enum("rerror", "BlockdevOnError", actions, func(d T) *Action { return &get(d).RError }, "auto", "Error handling policy (report/ignore/enospc/stop/auto)"),
		object.Enum("werror", "BlockdevOnError", actions, func(d T) *Action { return &get(d).WError }, "auto", "Error handling policy (report/ignore/enospc/stop/auto)"),
	}
}

// BootIndexProp is the property of what firmware can start from.
func BootIndexProp[T object.Object](get func(T) *Conf) object.Property {
	return object.Int("bootindex", func(d T) *int32 { return &get(d).BootIndex }, -1, "")
}

// SerialProp is the property of what has a serial number.
func SerialProp[T object.Object](get func(T) *Conf) object.Property {
	return object.Str("serial", func(d T) *string { return &get(d).Serial }, "", "")
}

// Needs says what a device demands of its drive.
type Needs struct {
	Empty     bool // there need be no medium, and no drive either
	ReadOnly  bool // the device only reads
	Resizable bool // the device can tell its guest of another size
	CannotRO  bool // the device has no way to tell its guest that it cannot write
}

// Open finds the drive, claims it for the device and checks what is configured.
// When d is unrealized the drive is let go; d has ended all its requests by then.
func (c *Conf) Open(d *device.Base, dev block.Device, n Needs) (*block.Backend, error) {
	b, own, err := c.find(d, n)
	if err != nil {
		return nil, err
	}
	if err := b.Attach(dev); err != nil {
		if l := b.Legacy(); l != nil && l.Interface != "none" {
			return nil, fmt.Errorf("Drive '%s' is already in use because it has been automatically connected to another device (did you need 'if=none' in the drive options?)", c.Drive)
		}
		return nil, fmt.Errorf("Drive '%s' is already in use by another device", c.Drive)
	}
	d.Defer(func() {
		b.Detach()
		if own {
			b.Close()
		}
	})
	if l := b.Legacy(); l != nil && c.Serial == "" {
		c.Serial = l.Serial
	}
	if err := c.sizes(b); err != nil {
		return nil, err
	}
	return b, c.claim(b, n)
}

func (c *Conf) find(d *device.Base, n Needs) (b *block.Backend, own bool, err error) {
	g := d.Env().Blocks
	if c.Drive == "" {
		if !n.Empty {
			return nil, false, errors.New("drive property not set")
		}
		b, err = g.NewBackend("")
		return b, true, err
	}
	if b = g.Backend(c.Drive); b != nil {
		if !n.Empty && !b.Inserted() {
			return nil, false, errors.New("Device needs media, but drive is empty")
		}
		return b, false, nil
	}
	node := g.Node(c.Drive)
	if node == nil {
		return nil, false, fmt.Errorf("Property '%s.drive' can't find value '%s'", d.TypeName(), c.Drive)
	}
	if b, err = g.NewBackend(""); err != nil {
		return nil, false, err
	}
	if err = b.InsertMedium(node); err != nil {
		b.Close()
		return nil, false, err
	}
	return b, true, nil
}

// claim says what the device does with the drive.
func (c *Conf) claim(b *block.Backend, n Needs) error {
	if b.ReadOnly() && n.CannotRO && !n.ReadOnly {
		return errors.New("Block node is read-only")
	}
	if err := c.SetPerms(b, !n.ReadOnly && b.Inserted() && !b.ReadOnly(), n); err != nil {
		return err
	}
	p := b.Policy()
	if c.RError != "auto" && c.RError != "" {
		p.Read = block.OnError(c.RError)
	}
	if c.WError != "auto" && c.WError != "" {
		p.Write = block.OnError(c.WError)
	}
	b.SetPolicy(p)
	b.SetWriteCache(choose(c.WriteCache, b.WriteCache()))
	invalid, failed := b.Stats().Accounting()
	b.Stats().SetAccounting(choose(c.AcctInvalid, invalid), choose(c.AcctFailed, failed))
	return nil
}

// SetPerms says whether the device writes to its medium, and lets others do what the
// properties say.
func (c *Conf) SetPerms(b *block.Backend, write bool, n Needs) error {
	perm, shared := block.PermRead, block.PermRead|block.PermUnchanged
	if write {
		perm |= block.PermWrite
	}
	if n.Resizable {
		shared |= block.PermResize
	}
	if c.ShareRW {
		shared |= block.PermWrite
	}
	return b.SetPerms(perm, shared)
}

// Reclaim says what the device, which writes if it can, does with a medium that has
// been put into the drive or taken out. It reports whether the medium can be written.
func (c *Conf) Reclaim(b *block.Backend, n Needs) bool {
	// Where others do not let the image be written it is write-protected.
	if b.Inserted() && !b.ReadOnly() && c.SetPerms(b, true, n) == nil {
		return true
	}
	_ = c.SetPerms(b, false, n) // to want less is never refused
	return false
}

func choose(v object.OnOffAuto, def bool) bool {
	if v == object.Auto || v == "" {
		return def
	}
	return v == object.On
}

// sizes checks block sizes, and fills in what is not given.
func (c *Conf) sizes(b *block.Backend) error {
	def := uint64(512)
	if c.LogicalBlock == 0 {
		c.LogicalBlock = def
	}
	if c.PhysicalBlock == 0 {
		c.PhysicalBlock = max(def, c.LogicalBlock)
	}
	switch l := c.LogicalBlock; {
	case l > c.PhysicalBlock:
		return errors.New("logical_block_size > physical_block_size not supported")
	case c.MinIO%l != 0:
		return errors.New("min_io_size must be a multiple of logical_block_size")
	case c.OptIO%l != 0:
		return errors.New("opt_io_size must be a multiple of logical_block_size")
	case c.MinIO/l > 65535:
		return errors.New("min_io_size must not exceed 65535 logical blocks")
	case c.OptIO/l > 1<<32-1:
		return errors.New("opt_io_size must not exceed 4294967295 logical blocks")
	case c.Discard != NoDiscard && c.Discard%l != 0:
		return errors.New("discard_granularity must be a multiple of logical_block_size")
	}
	return nil
}
