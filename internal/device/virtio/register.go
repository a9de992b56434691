package virtio

import (
	"govmd/internal/device"
	"govmd/internal/object"
)

// Kind is a kind of virtio device. Device code registers one; from it come the
// device's own type ("virtio-rng-device"), which plugs into a virtio-bus, and
// the types that transports make of it ("virtio-rng-pci").
type Kind struct {
	Name        string // "virtio-rng"
	ID          uint16 // the device's number (5)
	Description string
	Props       []object.Property
	New         func() object.Object // of a Device
	PCI         PCI
}

// PCI is what the PCI transport needs to know of a kind.
type PCI struct {
	Class        uint16 // class and sub-class of the function
	Transitional uint16 // device ID that legacy drivers know; 0: there are none
	// Vectors is the default number of MSI-X vectors: VectorsForQueues, or a number.
	Vectors uint32
	// Classes are other class codes that property "class" may choose; with none
	// there is no such property.
	Classes []uint16
}

// VectorsForQueues asks for a vector for each queue and one for the configuration.
const VectorsForQueues = 0xffffffff

// InnerName returns the name of the device's own type.
func (k *Kind) InnerName() string { return k.Name + "-device" }

var (
	kinds      []Kind
	transports []func(Kind)
)

// Register makes a kind known. It is called from init functions only.
func Register(k Kind) {
	device.Register(object.Type{
		Name: k.InnerName(), Parent: "virtio-device", Description: k.Description,
		UserCreatable: true, Hotpluggable: true, Props: k.Props, New: k.New,
	})
	kinds = append(kinds, k)
	for _, t := range transports {
		t(k)
	}
}

// ForEachKind calls fn for every kind, those to come included. It is called
// from init functions of transports only.
func ForEachKind(fn func(Kind)) {
	transports = append(transports, fn)
	for _, k := range kinds {
		fn(k)
	}
}

func commonField(d Device) *uint64 { return &d.Virtio().common }

func init() {
	device.Register(object.Type{
		Name: "virtio-device", Abstract: true, Bus: BusKind, Hotpluggable: true,
		Props: []object.Property{
			object.Bit("indirect_desc", commonField, FeatureIndirect, true, "on/off"),
			object.Bit("event_idx", commonField, FeatureEventIndex, true, "on/off"),
			object.Bit("notify_on_empty", commonField, FeatureNotifyOnEmpty, true, "on/off"),
			object.Bit("any_layout", commonField, FeatureAnyLayout, true, "on/off"),
			object.Bit("iommu_platform", commonField, FeatureAccessPlatform, false, "on/off"),
			object.Bit("packed", commonField, FeaturePacked, false, "on/off"),
			object.Bit("queue_reset", commonField, FeatureRingReset, false, "on/off"),
		},
	})
}

// Aliases returns the properties of the named type as properties of an object
// that holds one of that type.
func Aliases(typeName string, inner func(object.Object) object.Object) []object.Property {
	t := object.Lookup(typeName)
	var list []object.Property
	for ; t != nil && t.Name != "device"; t = object.Lookup(t.Parent) {
		for _, p := range t.Props {
			list = append(list, alias(p, inner))
		}
	}
	return list
}

// alias forwards p. Its default was applied when the inner object was made.
func alias(p object.Property, inner func(object.Object) object.Object) object.Property {
	if get := p.Get; get != nil {
		p.Get = func(o object.Object) any { return get(inner(o)) }
	}
	if set := p.Set; set != nil {
		p.Set = func(o object.Object, v any) error { return set(inner(o), v) }
	}
	return p
}
