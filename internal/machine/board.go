package machine

import (
	"fmt"

	"govmd/internal/object"
	"govmd/internal/runstate"
)

// Board is the kind of machine: what hardware there is and how it starts. It is
// an object, /machine, whose properties are the keys of -machine.
type Board interface {
	object.Object
	// Info returns what is known of the board's type.
	Info() *Info
	common() *Common
	// build plugs the board's own devices. It runs once, on the lane.
	build(m *Machine) error
	// finish is called when all devices of the start are there: it completes
	// what describes the machine to its guest.
	finish(m *Machine) error
}

// powerer is a board with a power button, sleeper one that can suspend to RAM.
type (
	powerer interface{ pressPowerButton() }
	sleeper interface {
		sleep()
		wake(runstate.WakeReason) // all but memory has been reset
	}
)

// Common is what all boards have.
type Common struct {
	object.Node
	kernel, initrd, cmdline, firmware string
	graphics                          bool
	memMerge, dumpGuestCore           bool
	usb                               bool
	suppressVMDesc                    bool
	memoryBackend                     string // ID of the object that RAM is
	info                              *Info
}

// Info is what is known of a board before there is one.
type Info struct {
	Name        string // "pc-i440fx-7.2"
	Alias       string // "pc"
	Description string
	Default     bool // taken when -machine is not given
	MaxCPUs     int
	DefaultCPU  string
	// Compat are property defaults that keep this version of the machine the
	// same for its guests, whatever later versions change.
	Compat []object.Default
	// RAM says whether guests can run: the board "none" is there for probing.
	RAM bool
}

const typeSuffix = "-machine"

var boards []*Info

func registerBoard(info Info, parent string, mk func(Common) Board) {
	i := &info
	boards = append(boards, i)
	object.Register(object.Type{
		Name: info.Name + typeSuffix, Parent: parent, Description: info.Description,
		New: func() object.Object { return mk(Common{info: i}) },
	})
}

// Boards lists the machine types, versioned names only.
func Boards() []*Info { return boards }

// FindBoard returns the machine type of that name or alias, or nil.
func FindBoard(name string) *Info {
	for _, i := range boards {
		if i.Name == name || i.Alias == name {
			return i
		}
	}
	return nil
}

// NewBoard returns a board of the named type; "" is the default type.
func NewBoard(name string) (Board, error) {
	for _, i := range boards {
		if name == i.Name || name == i.Alias && name != "" || name == "" && i.Default {
			o, err := object.New(i.Name + typeSuffix)
			if err != nil {
				return nil, err
			}
			return o.(Board), nil
		}
	}
	return nil, fmt.Errorf("unsupported machine type\nUse -machine help to list supported machines")
}

func (c *Common) common() *Common { return c }

// Info implements Board.
func (c *Common) Info() *Info { return c.info }

func init() {
	object.Register(object.Type{Name: "machine", Abstract: true, Props: []object.Property{
		object.As("string", object.Str("kernel", func(b Board) *string { return &b.common().kernel }, "", "Linux kernel image file")),
		object.As("string", object.Str("initrd", func(b Board) *string { return &b.common().initrd }, "", "Linux initial ramdisk file")),
		object.As("string", object.Str("append", func(b Board) *string { return &b.common().cmdline }, "", "Linux kernel command line")),
		object.As("string", object.Str("firmware", func(b Board) *string { return &b.common().firmware }, "", "Firmware image")),
		object.Bool("graphics", func(b Board) *bool { return &b.common().graphics }, true, "Set on/off to enable/disable graphics emulation"),
		object.Bool("mem-merge", func(b Board) *bool { return &b.common().memMerge }, true, "Enable/disable memory merge support"),
		object.Bool("dump-guest-core", func(b Board) *bool { return &b.common().dumpGuestCore }, true, "Include guest memory in a core dump"),
		object.Link("memory-backend", "link<memory-backend>", func(b Board) *string { return &b.common().memoryBackend }, "Set RAM backend"),
		never(object.Bool("usb", func(b Board) *bool { return &b.common().usb }, false, "USB controller"),
			"on", "there are no USB controllers yet"),
		object.Bool("suppress-vmdesc", func(b Board) *bool { return &b.common().suppressVMDesc }, false, "Set on to disable self-describing migration"),
	}})
	registerBoard(Info{Name: "none", Description: "empty machine", MaxCPUs: 1},
		"machine", func(c Common) Board { return &None{c} })
}

// never is p without one of its values, as text or typed: why says why not.
func never(p object.Property, value, why string) object.Property {
	set := p.Set
	p.Set = func(o object.Object, v any) error {
		if v == value || v == (value == "on") {
			return fmt.Errorf("%s=%s is not supported: %s", p.Name, value, why)
		}
		return set(o, v)
	}
	return p
}

// None is the board "none": a monitor and an object tree, and no hardware.
type None struct{ Common }

func (*None) build(*Machine) error  { return nil }
func (*None) finish(*Machine) error { return nil }
