package device

import (
	"fmt"
	"slices"

	"govmd/internal/object"
)

// Plug makes d part of the machine: it is placed in the object tree (unless it
// has a place already), attached to bus (nil for devices without one) and
// realized. After an error nothing of it is left in the machine, nor of devices
// that it has plugged into buses of its own.
func Plug(env *Env, bus *Bus, d Device) (err error) {
	b := d.Dev()
	if b.Realized() {
		return fmt.Errorf("device '%s' is part of the machine already", b.Describe())
	}
	if kind := BusKind(b.Type()); bus == nil && kind != "" {
		return fmt.Errorf("device '%s' plugs into a bus of kind %s: %w", b.Describe(), kind, ErrNoBus)
	}
	b.env, b.hotplugged = env, env.Running
	placed := false
	if b.Parent() == nil {
		if err := place(env, b, d); err != nil {
			return err
		}
		placed = true
	}
	defer func() {
		if tracePlug.On() {
			tracePlug.Emit(b.Describe(), err)
		}
		if err == nil {
			return
		}
		b.unplugChildren()
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
		b.unplugChildren()
		d.Unrealize()
		return err
	}
	if bus == nil || bus.owner == nil {
		env.roots = append(env.roots, d)
		b.Defer(func() { env.roots = slices.DeleteFunc(env.roots, func(x Device) bool { return x == d }) })
	}
	b.realized.Store(true)
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

// PlaceUnattached puts a board's own device below /machine/unattached, unless it
// has a place, before Plug.
func PlaceUnattached(env *Env, d Device) {
	if d.Dev().Parent() != nil {
		return
	}
	_ = object.Add(env.Root.Container("/machine/unattached"), d, "device[*]") // always a free number
}

// unwind does what was deferred. What the device plugged into its own buses has
// gone before.
func (b *Base) unwind() {
	for i := len(b.undo) - 1; i >= 0; i-- {
		b.undo[i]()
	}
	b.undo = nil
	for _, bus := range b.ChildBuses() {
		object.Remove(bus)
	}
	b.children.Store(nil)
	b.inputs, b.outputs = nil, nil
	b.Thaw()
}

// unplugChildren unplugs what is plugged into the device's buses, the last first.
func (b *Base) unplugChildren() {
	for _, bus := range b.ChildBuses() {
		for _, c := range slices.Backward(bus.Devices()) {
			Unplug(c)
		}
	}
}

// Unplug ends d at once and takes it out of the machine, with all that is
// plugged into its buses. A guest's consent, where needed, has been obtained before.
func Unplug(d Device) {
	b := d.Dev()
	if !b.Realized() {
		return
	}
	if traceUnplug.On() {
		traceUnplug.Emit(b.Describe())
	}
	b.unplugChildren()
	b.realized.Store(false)
	d.Unrealize()
	b.unwind()
	if b.bus != nil {
		b.bus.detach(d)
	}
	object.Remove(d)
}
