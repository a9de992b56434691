// Package nic is what network cards have in common: their address, their back end, and
// which frames they take.
package nic

import (
	"govmd/internal/device"
	"govmd/internal/net"
	"govmd/internal/object"
)

// Conf are the properties that all cards have.
type Conf struct {
	MAC       net.MAC // until Connect the zero address stands for one that is made up
	Netdev    string
	BootIndex int32
}

// Props returns these properties, for a card's type.
func Props[T object.Object](conf func(T) *Conf) []object.Property {
	return []object.Property{
		macProp(conf),
		object.Str("netdev", func(d T) *string { return &conf(d).Netdev }, "", "ID of a netdev to use as a backend"),
		object.Int("bootindex", func(d T) *int32 { return &conf(d).BootIndex }, -1, ""),
	}
}

func macProp[T object.Object](conf func(T) *Conf) object.Property {
	return object.Property{
		Name: "mac", Type: "str", Description: "Ethernet 6-byte MAC Address, example: 52:54:00:12:34:56",
		Parse: func(text string) (any, error) { return text, nil },
		Get:   func(o object.Object) any { return conf(o.(T)).MAC.String() },
		Set: func(o object.Object, v any) (err error) {
			text, ok := v.(string)
			if !ok {
				return &object.TypeError{Name: "mac", Expected: "string"}
			}
			conf(o.(T)).MAC, err = net.ParseMAC(text)
			return err
		},
	}
}

// Connect gives the card its address and joins it to its back end, until the device
// ends. It is called in Realize; frames may come from then on.
func (c *Conf) Connect(d *device.Base, model string, card net.Card) (*net.NIC, error) {
	n := d.Env().Net
	if c.MAC == (net.MAC{}) {
		c.MAC = n.NewMAC()
	}
	x := &net.NIC{Name: d.UserID(), Model: model, MAC: c.MAC, Card: card}
	if err := n.Connect(x, c.Netdev); err != nil {
		return nil, err
	}
	n.TakeMAC(c.MAC)
	d.Defer(func() { n.Disconnect(x) })
	return x, nil
}
