package machine

import (
	"fmt"
	"sort"
	"strings"

	"govmd/internal/device"
	"govmd/internal/machine/boot"
	"govmd/internal/object"
	"govmd/internal/option"
)

// aliases are further names of device types, as -device takes them on a PC.
var aliases = map[string]string{
	"virtio-blk":    "virtio-blk-pci",
	"virtio-rng":    "virtio-rng-pci",
	"virtio-serial": "virtio-serial-pci",
}

// loaderType is -device loader, which is no device of the guest's.
const loaderType = "loader"

// Loader describes -device loader and its properties, for help texts.
var Loader = &object.Type{Name: loaderType, Description: "puts a file or a number into guest memory", Props: []object.Property{
	{Name: "addr", Type: "uint64", Description: "where to load to, or with cpu-num where to start"},
	{Name: "cpu-num", Type: "uint32", Description: "the vCPU that is to start at the address"},
	{Name: "data", Type: "uint64", Description: "a number to put at the address"},
	{Name: "data-len", Type: "uint8", Description: "its length in bytes"},
	{Name: "data-be", Type: "bool", Description: "whether it is put there big-endian", Default: false},
	{Name: "file", Type: "str", Description: "the file to load"},
	{Name: "force-raw", Type: "bool", Description: "load an executable as it is", Default: false},
}}

// plugConfigured plugs the devices of -device.
func (m *Machine) plugConfigured() error {
	for i := range m.Devices {
		c := &m.Devices[i]
		if err := m.plugDevice(c); err != nil {
			return fmt.Errorf("%s: %w", c, err)
		}
	}
	return nil
}

// String returns the option in the form in which it was given.
func (c *DeviceConfig) String() string {
	if c.Given != "" {
		return c.Given
	}
	var b strings.Builder
	b.WriteString("-device " + c.Driver)
	if c.ID != "" {
		b.WriteString(",id=" + c.ID)
	}
	for _, p := range c.Props {
		if p.Value != nil {
			fmt.Fprintf(&b, ",%s=%v", p.Name, p.Value)
		} else {
			fmt.Fprintf(&b, ",%s=%s", p.Name, p.Text)
		}
	}
	return b.String()
}

func (m *Machine) plugDevice(c *DeviceConfig) error {
	if c.Driver == loaderType {
		return m.addLoader(c)
	}
	t, err := DeviceType(c.Driver)
	if err != nil {
		return err
	}
	d, err := device.Create(t.Name, c.ID)
	if err != nil {
		return err
	}
	if err := m.applyDefaults(d); err != nil {
		return err
	}
	for _, p := range c.Props {
		if p.Value != nil {
			err = object.Set(d, p.Name, p.Value)
		} else {
			err = object.SetText(d, p.Name, p.Text)
		}
		if err != nil {
			return fmt.Errorf("%w%s", err, object.Hint(d, err))
		}
	}
	bus, err := m.busFor(device.BusKind(t), t.Name, c.Bus)
	if err != nil {
		return err
	}
	return device.Plug(m.Env, bus, d)
}

// DeviceType returns the type that -device means by name.
func DeviceType(name string) (*object.Type, error) {
	if alias, ok := aliases[name]; ok {
		name = alias
	}
	t := object.Lookup(name)
	if t == nil || !t.IsA("device") || t.Abstract || !t.UserCreatable {
		return nil, fmt.Errorf("'%s' is not a valid device model name%s", name, option.DidYouMean(name, deviceNames()))
	}
	return t, nil
}

func deviceNames() []string {
	names := []string{loaderType}
	for _, t := range DeviceTypes() {
		names = append(names, t.Name)
	}
	for a := range aliases {
		names = append(names, a)
	}
	sort.Strings(names)
	return names
}

// CheckDevice returns an error when -device does not take that name.
func CheckDevice(name string) error {
	if name == loaderType {
		return nil
	}
	_, err := DeviceType(name)
	return err
}

// DeviceAlias returns the further name of a device type, or "".
func DeviceAlias(typeName string) string {
	for alias, name := range aliases {
		if name == typeName {
			return alias
		}
	}
	return ""
}

// DeviceTypes lists the types that -device takes.
func DeviceTypes() []*object.Type {
	return object.Types(func(t *object.Type) bool { return t.IsA("device") && t.UserCreatable && !t.Abstract })
}

// full is a bus controller that takes a limited number of devices.
type full interface{ Full() bool }

// busFor finds the bus that is named, by name or by path, or else the first of
// the right kind with room.
func (m *Machine) busFor(kind, typeName, name string) (*device.Bus, error) {
	if kind == "" {
		if name != "" {
			return nil, fmt.Errorf("device '%s' does not plug into a bus", typeName)
		}
		return nil, nil
	}
	var found, other *device.Bus
	names := []string{}
	m.walkBuses(func(b *device.Bus) {
		if b.Kind() != kind {
			if b.Name() == name {
				other = b
			}
			return
		}
		names = append(names, b.Name())
		f, limited := b.Controller().(full)
		if found == nil && (name == b.Name() || name == "" && (!limited || !f.Full())) {
			found = b
		}
	})
	switch {
	case found != nil:
		return found, nil
	case other != nil:
		return nil, fmt.Errorf("Device '%s' can't go on %s bus", typeName, other.Kind())
	case name != "":
		return nil, fmt.Errorf("Bus '%s' not found", name)
	case len(names) > 0:
		return nil, fmt.Errorf("No '%s' bus with room found for device '%s'", kind, typeName)
	}
	return nil, fmt.Errorf("No '%s' bus found for device '%s'", kind, typeName)
}

// walkBuses calls fn for every bus of the machine.
func (m *Machine) walkBuses(fn func(*device.Bus)) {
	for _, b := range m.buses {
		fn(b)
	}
	object.Walk(m.Root, func(o object.Object) {
		if d, ok := o.(device.Device); ok {
			for _, b := range d.Dev().ChildBuses() {
				fn(b)
			}
		}
	})
}

// eachDevice calls fn for all devices, those on a device's buses after it.
func (m *Machine) eachDevice(fn func(device.Device)) {
	var visit func(d device.Device)
	visit = func(d device.Device) {
		fn(d)
		for _, b := range d.Dev().ChildBuses() {
			for _, d := range b.Devices() {
				visit(d)
			}
		}
	}
	for _, d := range m.Env.Roots() {
		visit(d)
	}
}

// addLoader takes a -device loader.
func (m *Machine) addLoader(c *DeviceConfig) error {
	var pairs []boot.Pair
	for _, p := range c.Props {
		text := p.Text
		if p.Value != nil {
			text = fmt.Sprint(p.Value)
		}
		pairs = append(pairs, boot.Pair{Key: p.Name, Value: text})
	}
	l, err := boot.ParseLoader(pairs)
	if err != nil {
		return err
	}
	var img *boot.Image
	if l.File != "" {
		if img, err = m.openImage("loader file", l.File); err != nil {
			return err
		}
	}
	plan, err := l.Plan(img)
	if err != nil {
		return err
	}
	if plan.PC != nil && plan.CPU >= len(m.cpus) {
		return fmt.Errorf("the CPU with number %d does not exist", plan.CPU)
	}
	m.loaders = append(m.loaders, plan)
	return nil
}

// runLoaders does what the loaders do at a reset.
func (m *Machine) runLoaders() error {
	for _, p := range m.loaders {
		if err := p.Load(&guestMemory{m.mem.NewDMA(loaderType)}, false); err != nil {
			return err
		}
		if p.PC == nil {
			continue
		}
		if err := m.cpus[p.CPU].setPC(*p.PC); err != nil {
			return err
		}
	}
	return nil
}
