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

	"github.com/sirupsen/logrus"

	"govmd/internal/chardev"
	"govmd/internal/clock"
	"govmd/internal/event"
	"govmd/internal/lane"
	"govmd/internal/memory"
	"govmd/internal/object"
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

// Env is what a machine offers to its devices.
type Env struct {
	Clock  *clock.Set
	Lane   *lane.Lane
	Events *event.Bus
	Run    *runstate.Controller
	State  *state.Registry
	Log    *logrus.Logger

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
	// KVM is false where nothing executes guest code in the kernel (qtest): then
	// ioeventfds are matched in software.
	KVM bool
}

// Base is what all devices have in common. Devices embed it.
type Base struct {
	object.Node
	id       string
	bus      *Bus
	env      *Env
	children []*Bus
	realized bool
	undo     []func()
	inputs   map[string][]*Pin
	outputs  []*Line
	warnings limiter
}

// Dev returns b, which makes what embeds it a Device.
func (b *Base) Dev() *Base { return b }

// ID returns the user's name for the device, "" when there is none.
func (b *Base) ID() string { return b.id }

// Bus returns the bus that the device is plugged into, or nil.
func (b *Base) Bus() *Bus { return b.bus }

// Env returns what the machine offers. It is set before Realize.
func (b *Base) Env() *Env { return b.env }

// Realized reports whether the device is alive.
func (b *Base) Realized() bool { return b.realized }

// ChildBuses returns the buses that the device provides.
func (b *Base) ChildBuses() []*Bus { return b.children }

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

// AddOutput makes an interrupt output known, so that tests can watch it.
func (b *Base) AddOutput(l *Line) { b.outputs = append(b.outputs, l) }

// Outputs returns the device's interrupt outputs.
func (b *Base) Outputs() []*Line { return b.outputs }

// NewBus gives the device a bus for others to plug into. It is called in
// Realize, or in the constructor for buses that never change.
func (b *Base) NewBus(kind, name string, c Controller) *Bus {
	bus := &Bus{kind: kind, name: name, owner: b, ctl: c}
	b.children = append(b.children, bus)
	return bus
}

// Warnf logs something that the guest has brought about. Each device's such
// messages are limited, so that a guest cannot flood the log.
func (b *Base) Warnf(format string, args ...any) {
	if b.env == nil || b.env.Log == nil {
		return
	}
	if suppressed, ok := b.warnings.allow(); ok {
		e := b.env.Log.WithField("device", b.Describe())
		if suppressed > 0 {
			e = e.WithField("suppressed", suppressed)
		}
		e.Warnf(format, args...)
	}
}

// GuestErrorf logs a mistake of the guest's, at debug level and limited: what a
// guest does wrong is the guest's problem.
func (b *Base) GuestErrorf(format string, args ...any) {
	if b.env == nil || b.env.Log == nil || !b.env.Log.IsLevelEnabled(logrus.DebugLevel) {
		return
	}
	if _, ok := b.warnings.allow(); ok {
		b.env.Log.WithField("device", b.Describe()).Debugf("guest error: "+format, args...)
	}
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

// Register adds a device type, whose New must return a Device. It is called
// from init functions only.
func Register(t object.Type) {
	if t.Parent == "" {
		t.Parent = "device"
	}
	object.Register(t)
}

func init() {
	object.Register(object.Type{Name: "device", Abstract: true, Props: []object.Property{
		object.Getter("realized", "bool", func(d Device) any { return d.Dev().realized }, "whether the device is alive"),
		object.Getter("hotpluggable", "bool", func(d Device) any { return d.Dev().Type().Hotpluggable },
			"whether the device may come and go while the machine runs"),
	}})
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

// Plug makes d part of the machine: it is placed in the object tree (unless it
// has a place already), attached to bus (nil for devices without one) and
// realized. After an error nothing of it is left in the machine.
func Plug(env *Env, bus *Bus, d Device) (err error) {
	b := d.Dev()
	if b.realized {
		return fmt.Errorf("device '%s' is part of the machine already", b.Describe())
	}
	b.env = env
	placed := false
	if b.Parent() == nil {
		if err := place(env, b, d); err != nil {
			return err
		}
		placed = true
	}
	defer func() {
		if err == nil {
			return
		}
		b.unwind()
		if b.bus != nil {
			b.bus.detach(d)
		}
		if placed {
			object.Remove(d)
		}
	}()
	if bus != nil {
		if err := bus.attach(d); err != nil {
			return err
		}
	}
	b.Freeze()
	if err := d.Realize(); err != nil {
		return err
	}
	if err := b.registerStates(d); err != nil {
		d.Unrealize()
		return err
	}
	b.realized = true
	if bus != nil {
		if p, ok := bus.ctl.(Plugged); ok {
			p.DevicePlugged(d)
		}
	}
	return nil
}

func place(env *Env, b *Base, d Device) error {
	if b.id != "" {
		if err := object.Add(env.Root.Container("/machine/peripheral"), d, b.id); err != nil {
			return fmt.Errorf("Duplicate device ID '%s'", b.id)
		}
		return nil
	}
	return object.Add(env.Root.Container("/machine/peripheral-anon"), d, "device[*]")
}

// PlaceUnattached puts a board's own device below /machine/unattached, before Plug.
func PlaceUnattached(env *Env, d Device) {
	_ = object.Add(env.Root.Container("/machine/unattached"), d, "device[*]") // always a free number
}

func (b *Base) registerStates(d Device) error {
	s, ok := d.(Stater)
	if !ok || b.env.State == nil {
		return nil
	}
	for _, e := range s.States() {
		path := b.Path()
		if e.ID != "" {
			path += "/" + e.ID
		}
		e.ID = path
		remove, err := b.env.State.Register(e)
		if err != nil {
			return err
		}
		b.Defer(remove)
	}
	return nil
}

func (b *Base) unwind() {
	for i := len(b.undo) - 1; i >= 0; i-- {
		b.undo[i]()
	}
	b.undo = nil
	b.children, b.inputs, b.outputs = nil, nil, nil
	b.Thaw()
}

// Unplug ends d at once and takes it out of the machine, with all that is
// plugged into its buses. A guest's consent, where needed, has been obtained before.
func Unplug(d Device) {
	b := d.Dev()
	if !b.realized {
		return
	}
	for _, bus := range b.children {
		for _, c := range append([]Device(nil), bus.devices...) {
			Unplug(c)
		}
	}
	b.realized = false
	d.Unrealize()
	b.unwind()
	if b.bus != nil {
		b.bus.detach(d)
	}
	object.Remove(d)
}

// Reset resets the given devices and all that is plugged into their buses.
func Reset(roots ...Device) {
	all := make([]Device, 0, 64)
	var collect func(Device)
	collect = func(d Device) {
		// Children first: a bus's controller enters reset after its devices.
		for _, bus := range d.Dev().children {
			for _, c := range bus.devices {
				collect(c)
			}
		}
		all = append(all, d)
	}
	for _, d := range roots {
		collect(d)
	}
	for _, d := range all {
		if r, ok := d.(ResetEnterer); ok {
			r.ResetEnter()
		}
	}
	for _, d := range all {
		if r, ok := d.(ResetHolder); ok {
			r.ResetHold()
		}
	}
	for _, d := range all {
		if r, ok := d.(ResetExiter); ok {
			r.ResetExit()
		}
	}
}

// ErrNoBus is returned where a device needs a bus that the machine lacks.
var ErrNoBus = errors.New("no bus for the device")
