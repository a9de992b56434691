package pcitransport

import (
	"govmd/internal/device"
	"govmd/internal/device/pci"
	"govmd/internal/device/virtio"
	"govmd/internal/object"
)

// busType is the type of the bus that a virtio device of a PCI function is on.
const busType = "virtio-pci-bus"

func init() {
	object.Register(object.Type{Name: busType, Parent: virtio.BusKind})
	pci.Register(object.Type{
		Name: "virtio-pci", Abstract: true, Hotpluggable: true,
		Props: []object.Property{
			object.Bool("ioeventfd", func(d *Device) *bool { return &d.ioeventfd }, true, "on/off"),
			object.Bool("modern-pio-notify", func(d *Device) *bool { return &d.pioNotify }, false, "on/off"),
			object.Bool("page-per-vq", func(d *Device) *bool { return &d.pagePerVQ }, false, "on/off"),
		},
	})
	virtio.ForEachKind(register)
}

// register makes the three PCI types of a kind. The generic one is
// transitional where it can be; the others are one or the other.
func register(k virtio.Kind) {
	registerVariant(k, k.Name+"-pci", func(*Device) {}, modeProps)
	if k.PCI.Transitional == 0 {
		return
	}
	registerVariant(k, k.Name+"-pci-transitional", func(d *Device) { d.disableLegacy = object.Off }, nil)
	registerVariant(k, k.Name+"-pci-non-transitional", func(d *Device) { d.disableLegacy = object.On }, nil)
}

var modeProps = []object.Property{
	object.Tristate("disable-legacy", func(d *Device) *object.OnOffAuto { return &d.disableLegacy }, object.Auto, "on/off/auto"),
	object.Bool("disable-modern", func(d *Device) *bool { return &d.disableModern }, false, "on/off"),
}

func registerVariant(k virtio.Kind, name string, set func(*Device), extra []object.Property) {
	inner := func(o object.Object) object.Object { return o.(*Device).inner }
	props := virtio.Aliases(k.InnerName(), inner)
	props = append(props, extra...)
	props = append(props, object.Int("vectors", func(d *Device) *uint32 { return &d.vectors }, k.PCI.Vectors,
		"number of MSI-X vectors, 0 for none"))
	if len(k.PCI.Classes) > 0 {
		props = append(props, object.Int("class", func(d *Device) *uint32 { return &d.class }, 0, "class code of the function"))
	}
	pci.Register(object.Type{
		Name: name, Parent: "virtio-pci", Description: k.Description,
		UserCreatable: true, Hotpluggable: true, Props: props,
		New: func() object.Object {
			d := &Device{kind: &k}
			set(d)
			in, err := device.Create(k.InnerName(), "")
			if err != nil {
				panic("virtio-pci: " + err.Error()) // its type is registered beside this one
			}
			d.inner = in.(virtio.Device)
			_ = object.Add(d, in, "virtio-backend") // the function is new: it has no children
			return d
		},
	})
}
