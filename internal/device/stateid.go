package device

import "fmt"

// StateNamer is a device whose saved state goes by another name than that of its
// type, such as one of several processors of whatever model.
type StateNamer interface {
	StateName() string
}

// registerStates makes the device's saved state known.
func (b *Base) registerStates(d Device) error {
	s, ok := d.(Stater)
	if !ok || b.env.State == nil {
		return nil
	}
	entries := s.States()
	if len(entries) == 0 {
		return nil
	}
	id := b.stateID(d)
	for _, e := range entries {
		if e.ID != "" {
			e.ID = id + "/" + e.ID
		} else {
			e.ID = id
		}
		remove, err := b.env.State.Register(e)
		if err != nil {
			return err
		}
		b.Defer(remove)
	}
	return nil
}

// stateID is the name under which the device's state is saved. A later version
// of the program, whose boards have devices that this one's have not, must find
// it again: so it follows from where the device is plugged in and what it is,
// and not, as its path does, from how many others came before. Of several that
// are alike in that all but the first have a number.
func (b *Base) stateID(d Device) string {
	if b.saved != "" {
		return b.saved
	}
	base := stateBase(d)
	id := base
	for n := 1; b.env.states[id]; n++ {
		id = fmt.Sprintf("%s[%d]", base, n)
	}
	if b.env.states == nil {
		b.env.states = map[string]bool{}
	}
	b.env.states[id] = true
	b.saved = id
	b.Defer(func() {
		delete(b.env.states, id)
		b.saved = ""
	})
	return id
}

func stateBase(d Device) string {
	b := d.Dev()
	if b.id != "" {
		return b.Path()
	}
	name := b.TypeName()
	if n, ok := d.(StateNamer); ok {
		name = n.StateName()
	}
	if b.bus == nil {
		return name
	}
	if a, ok := b.bus.ctl.(Addresser); ok {
		name = a.DeviceAddress(d) + "/" + name
	}
	if owner := b.bus.Owner(); owner != nil {
		return owner.Dev().stateID(owner) + "/" + name
	}
	return b.bus.name + "/" + name
}
