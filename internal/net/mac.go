package net

import (
	"fmt"
	"strconv"
	"strings"

	"govmd/internal/qmp"
)

// MAC is the address of a card.
type MAC [6]byte

func (m MAC) String() string {
	return fmt.Sprintf("%02x:%02x:%02x:%02x:%02x:%02x", m[0], m[1], m[2], m[3], m[4], m[5])
}

// ParseMAC reads an address: six numbers of two hexadecimal digits at most, between
// colons or hyphens.
func ParseMAC(text string) (m MAC, err error) {
	parts := strings.FieldsFunc(text, func(r rune) bool { return r == ':' || r == '-' })
	if len(parts) != len(m) {
		return m, qmp.Errorf("'%s' is no MAC address", text)
	}
	for i, p := range parts {
		n, err := strconv.ParseUint(p, 16, 8)
		if err != nil {
			return m, qmp.Errorf("'%s' is no MAC address", text)
		}
		m[i] = byte(n)
	}
	return m, nil
}

// macPrefix is that of the addresses which cards get when they are given none.
var macPrefix = MAC{0x52, 0x54, 0x00, 0x12, 0x34, 0x56}

// NewMAC returns an address for a card that was given none, for TakeMAC.
func (n *Net) NewMAC() MAC {
	m := macPrefix
	for n.macs[m] {
		m[5]++ // 256 cards later it is somebody's again, as QEMU's
		if m == macPrefix {
			break
		}
	}
	return m
}

// TakeMAC notes that a card has an address; FreeMAC, that it has not any more.
func (n *Net) TakeMAC(m MAC) { n.macs[m] = true }

// FreeMAC is described at TakeMAC.
func (n *Net) FreeMAC(m MAC) { delete(n.macs, m) }

// cardName makes a name for a card without an ID: its model and a number.
func (n *Net) cardName(model string) string {
	for i := 0; ; i++ {
		name := fmt.Sprintf("%s.%d", model, i)
		if n.nic(name) == nil {
			return name
		}
	}
}

func (n *Net) nic(name string) *NIC {
	for _, c := range n.nics {
		if c.Name == name {
			return c
		}
	}
	return nil
}

// Broadcast is the address of everybody.
var Broadcast = MAC{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}
