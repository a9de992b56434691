package console

import (
	"govmd/internal/device"
	"govmd/internal/device/virtio"
	"govmd/internal/object"
)

func init() {
	virtio.Register(virtio.Kind{
		Name: "virtio-serial", ID: deviceID, Description: "console device with many ports",
		New: func() object.Object { return &Device{} },
		Props: []object.Property{
			object.Int("max_ports", func(d *Device) *uint32 { return &d.maxPorts }, 31, "number of ports"),
			object.Bool("emergency-write", func(d *Device) *bool { return &d.emergency }, true, "on/off"),
			object.Bool("console-size", func(d *Device) *bool { return &d.consoleSize }, false, "on/off"),
		},
		PCI: virtio.PCI{
			Class: 0x0780, Classes: []uint16{0x0380, 0x00ff}, Transitional: 0x1003, Vectors: 2,
		},
	})
	field := func(p port) *Port { return p.Port() }
	device.Register(object.Type{
		Name: "virtio-serial-port", Abstract: true, Bus: BusKind, Hotpluggable: true,
		Props: []object.Property{
			object.Int("nr", func(p port) *uint32 { return &field(p).nr }, autoNumber, "number of the port; by default the next"),
			object.Str("name", func(p port) *string { return &field(p).name }, "", "name by which the guest knows the port"),
		},
	})
	chardev := object.Property(object.Link("chardev", "str", func(p port) *string { return &field(p).chardev },
		"ID of a chardev to use as a backend"))
	for name, console := range map[string]bool{"virtserialport": false, "virtconsole": true} {
		device.Register(object.Type{
			Name: name, Parent: "virtio-serial-port", UserCreatable: true, Hotpluggable: true,
			Description: map[bool]string{false: "byte stream between guest and host", true: "console"}[console],
			Props:       []object.Property{chardev},
			New:         func() object.Object { return &Port{console: console} },
		})
	}
}
