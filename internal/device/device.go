// Package device is what a device of a virtual machine is: its type and
// properties, the bus that it plugs into, its interrupt lines, its life (realize,
// reset, unrealize) and its saved state.
//
// A device never sees KVM. An interrupt is a Line or an MSI message, memory is
// the DMA space that its bus hands it, and its registers are memory regions
// that it asks for by name and its bus maps.
//
// Locking: each device has a mutex of its own that guards its registers. Calls
// go down, from device to back end; a back end calls up only through the
// callback that it was handed. A device may drive lines and re-arm timers with
// its mutex held. It must not, with its mutex held, call anything that waits:
// Region.Quiesce, Timer.Close, Port.Detach, a drain.
package device

import (
	"errors"
	"fmt"
	"slices"
	"sync/atomic"

	"github.com/sirupsen/logrus"

	"govmd/internal/block"
	"govmd/internal/chardev"
	"govmd/internal/clock"
	"govmd/internal/display/input"
	"govmd/internal/event"
	"govmd/internal/lane"
	"govmd/internal/memory"
	"govmd/internal/net"
	"govmd/internal/object"
	"govmd/internal/option"
	"govmd/internal/runstate"
	"govmd/internal/state"
)

// Device is a part of a machine. Implementations embed Base.
type Device interface {
	object.Object
	Dev() *Base
	// Realize checks the configuration and brings the device to life: it
	// resolves back ends, asks its bus for regions and lines, and registers what
	// must be undone by Unrealize. After an error nothing of the device is left
	// behind but what its Base holds. It runs on the control lane.
	Realize() error
	// Unrealize ends the device. When it returns no vCPU, timer or back end is
	// inside the device nor will be. It runs on the control lane.
	Unrealize()
}

// Booter is a device that firmware can start from: its property bootindex, -1 for
// none, and what follows the device's own path in Open Firmware's notation.
type Booter interface {
	BootIndex() (index int, suffix string)
}

// The phases of a reset, each optional. A reset walks the whole tree below what
// is reset once for each phase. None of them waits for anything.
type (
	// ResetEnterer drops what is in flight, with no effect on other devices:
	// requests to back ends are cancelled or orphaned, registers get their reset values.
	ResetEnterer interface{ ResetEnter() }
	// ResetHolder lowers the lines that a device in reset does not drive, and
	// may act on other devices, which are all in reset.
	ResetHolder interface{ ResetHold() }
	// ResetExiter starts what runs after a reset.
	ResetExiter interface{ ResetExit() }
)

// Stater is a device with saved state. The entries' IDs are relative to the
// device; "" is the device itself.
type Stater interface {
	States() []state.Entry
}

// Env is what a machine offers to its devices. It must not be copied.
type Env struct {
	Clock  *clock.Set
	Lane   *lane.Lane
	Events *event.Bus
	Run    *runstate.Controller
	State  *state.Registry
	Log    *logrus.Logger

	Blocks *block.Graph  // images, drives and media
	Net    *net.Net      // network back ends
	Input  *input.Router // what users type and point at
	CPUs   int           // vCPUs that the machine begins with

	Memory *memory.System
	Mem    *memory.Space // the guest's physical address space
	IO     *memory.Space // the port space
	MSI    MSIController // nil where there is none

	// Chardev attaches a front end to the character device with that ID.
	Chardev func(id string, fe chardev.Frontend) (chardev.Port, error)
	// Object finds a user-created object ("rng0") by ID.
	Object func(id string) object.Object

	// Root is the object tree.
	Root *object.Node
	// Running says that the machine has been built: devices that come now are hot-plugged.
	Running bool
	// KVM is false where nothing executes guest code in the kernel (qtest): then
	// ioeventfds are matched in software.
	KVM bool

	roots  []Device        // alive and on no other's bus, in order of arrival
	states map[string]bool // names under which devices have registered saved state
}

// Roots returns the devices that are plugged into no other's bus, in order of
// arrival: what a reset of the machine begins with.
func (e *Env) Roots() []Device { return slices.Clone(e.roots) }

// Base is what all devices have in common. Devices embed it.
type Base struct {
	object.Node
	id       string
	bus      *Bus
	env      *Env
	children atomic.Pointer[[]*Bus] // replaced, never changed, as Bus.devices is
	realized atomic.Bool
	// hotplugged says that the device came after the machine was built.
	hotplugged bool
	undo       []func()
	saved      string // the name of its saved state, once that is asked for
	inputs     map[string][]*Pin
	outputs    []*Line
	warnings   Limiter
}

// Dev returns b, which makes what embeds it a Device.
func (b *Base) Dev() *Base { return b }

// ID returns the user's name for the device, "" when there is none.
func (b *Base) ID() string { return b.id }

// Bus returns the bus that the device is plugged into, or nil.
func (b *Base) Bus() *Bus { return b.bus }

// Env returns what the machine offers. It is set before Realize.
func (b *Base) Env() *Env { return b.env }

// Realized reports whether the device is alive. It may be called from any goroutine.
func (b *Base) Realized() bool { return b.realized.Load() }

// ChildBuses returns the buses that the device provides. The caller must not
// change the list.
func (b *Base) ChildBuses() []*Bus {
	if p := b.children.Load(); p != nil {
		return *p
	}
	return nil
}

// Defer has fn called when the device is unrealized, after Unrealize, or when
// Realize fails; last deferred first.
func (b *Base) Defer(fn func()) { b.undo = append(b.undo, fn) }

// AddInputs makes the device's interrupt inputs known under a name, "" for the
// unnamed ones, so that tests can watch and drive them.
func (b *Base) AddInputs(name string, pins []*Pin) {
	if b.inputs == nil {
		b.inputs = map[string][]*Pin{}
	}
	b.inputs[name] = append(b.inputs[name], pins...)
}

// Inputs returns the interrupt inputs of that name.
func (b *Base) Inputs(name string) []*Pin { return b.inputs[name] }

// NewOutput gives the device an interrupt output that drives pin (nothing when
// that is nil) until the device goes. Tests can watch it.
func (b *Base) NewOutput(pin *Pin, label string) *Line {
	l := pin.Connect(label)
	b.outputs = append(b.outputs, l)
	b.Defer(l.Disconnect)
	return l
}

// Outputs returns the device's interrupt outputs.
func (b *Base) Outputs() []*Line { return b.outputs }

// NewBus gives the device a bus for others to plug into. It is called in
// Realize, or in the constructor for buses that never change.
func (b *Base) NewBus(kind, name string, c Controller) *Bus {
	bus := newBus(kind, name, b, c)
	_ = object.Add(b, bus, name) // a device with two buses of one name shows the first
	list := append(slices.Clone(b.ChildBuses()), bus)
	b.children.Store(&list)
	return bus
}

// Warnf logs something that the guest has brought about. Each device's such
// messages are limited, so that a guest cannot flood the log.
func (b *Base) Warnf(format string, args ...any) {
	if b.env == nil || b.env.Log == nil {
		return
	}
	b.warnings.Log(b.env.Log.WithField("device", b.Describe()), logrus.WarnLevel, format, args...)
}

// GuestErrorf logs a mistake of the guest's, at debug level and limited: what a
// guest does wrong is the guest's problem.
func (b *Base) GuestErrorf(format string, args ...any) {
	if b.env == nil || b.env.Log == nil || !b.env.Log.IsLevelEnabled(logrus.DebugLevel) {
		return
	}
	b.warnings.Log(b.env.Log.WithField("device", b.Describe()), logrus.DebugLevel, "guest error: "+format, args...)
}

// UserID returns the user's name for the device, or for the one that it is the
// inside of; "" when there is none.
func (b *Base) UserID() string {
	if outer, ok := b.Parent().(Device); ok && b.id == "" {
		return outer.Dev().id
	}
	return b.id
}

// Title names the device for people: by UserID, or by its type.
func (b *Base) Title() string {
	if id := b.UserID(); id != "" {
		return id
	}
	return b.TypeName()
}

// Describe names the device for messages: its ID, or its type.
func (b *Base) Describe() string {
	if b.id != "" {
		return b.id
	}
	return b.TypeName()
}

// DMA returns the memory that the device may access, as its bus hands it out.
func (b *Base) DMA() *memory.DMA {
	if b.bus != nil {
		if p, ok := b.bus.ctl.(DMAProvider); ok {
			return p.DMAFor(b)
		}
	}
	return b.env.Mem.NewDMA(b.Describe())
}

// Map maps a device's region at a fixed place until the device goes.
func (b *Base) Map(in *memory.Region, addr uint64, r *memory.Region) error {
	b.OwnRegion(r)
	if err := in.Add(addr, r); err != nil {
		return fmt.Errorf("%s: %w", b.Describe(), err)
	}
	b.Defer(func() {
		in.Remove(r)
		r.Quiesce()
	})
	return nil
}

// OwnRegion says that a region is the device's.
func (b *Base) OwnRegion(r *memory.Region) { r.SetOwner(b.ownerText) }

// ownerText names the device as `info mtree -o` does.
func (b *Base) ownerText() string {
	if b.id != "" {
		return "dev id=" + b.id
	}
	return "dev path=" + b.Path()
}

// Register adds a device type, whose New must return a Device. It is called
// from init functions only.
func Register(t object.Type) {
	if t.Parent == "" {
		t.Parent = "device"
	}
	object.Register(t)
}

func init() {
	object.Register(object.Type{Name: "bus", Abstract: true})
	object.Register(object.Type{Name: "device", Abstract: true, Props: []object.Property{
		object.Getter("parent_bus", "link<bus>", func(d Device) any {
			if b := d.Dev().bus; b != nil && b.Parent() != nil {
				return b.Path()
			}
			return ""
		}, ""),
		realized,
		object.Getter("hotplugged", "bool", func(d Device) any { return d.Dev().hotplugged }, ""),
		object.Getter("hotpluggable", "bool", func(d Device) any { return d.Dev().Type().Hotpluggable }, ""),
	}})
}

// realized says whether a device is alive. Clients cannot change that here: they
// plug and unplug.
var realized = object.Property{
	Name: "realized", Type: "bool", When: object.Always,
	Get:   func(o object.Object) any { return o.(Device).Dev().Realized() },
	Parse: func(s string) (any, error) { return option.ParseBool(s) },
	Set: func(o object.Object, v any) error {
		on, ok := v.(bool)
		switch {
		case !ok:
			return &object.TypeError{Name: "realized", Expected: "boolean"}
		case on != o.(Device).Dev().Realized():
			return errors.New("realized cannot be changed: devices come with device_add and go with device_del")
		}
		return nil
	},
}

// UseObject returns the user-created object of that ID, nil when there is none,
// and keeps it from being deleted while the device is part of the machine.
func (b *Base) UseObject(id string) object.Object {
	if b.env.Object == nil {
		return nil
	}
	o := b.env.Object(id)
	if o != nil {
		b.Defer(object.Use(o, "device '"+b.Title()+"'"))
	}
	return o
}

// Create returns a device of the named type, not yet part of a machine. id is
// the user's name for it or "".
func Create(typeName, id string) (Device, error) {
	t := object.Lookup(typeName)
	if t == nil || !t.IsA("device") {
		return nil, fmt.Errorf("'%s' is not a valid device model name", typeName)
	}
	o, err := object.New(typeName)
	if err != nil {
		return nil, err
	}
	d := o.(Device)
	d.Dev().id = id
	return d, nil
}

// ErrNoBus is returned where a device needs a bus that the machine lacks.
var ErrNoBus = errors.New("no bus for the device")
