package net

import (
	"govmd/internal/event"
)

// RxState is which frames of a kind a card takes.
type RxState string

// The states.
const (
	RxNormal RxState = "normal" // those for addresses in its table
	RxNone   RxState = "none"
	RxAll    RxState = "all"
)

// EnumValues implements qmp.Enum.
func (RxState) EnumValues() []string {
	return []string{string(RxNormal), string(RxNone), string(RxAll)}
}

// Filter is what frames a card takes: RxFilterInfo of the protocol.
type Filter struct {
	Name              string   `qmp:"name"`
	Promiscuous       bool     `qmp:"promiscuous"`
	Multicast         RxState  `qmp:"multicast"`
	Unicast           RxState  `qmp:"unicast"`
	VLAN              RxState  `qmp:"vlan"`
	BroadcastAllowed  bool     `qmp:"broadcast-allowed"`
	MulticastOverflow bool     `qmp:"multicast-overflow"`
	UnicastOverflow   bool     `qmp:"unicast-overflow"`
	MainMAC           string   `qmp:"main-mac"`
	VLANTable         []int64  `qmp:"vlan-table"`
	UnicastTable      []string `qmp:"unicast-table"`
	MulticastTable    []string `qmp:"multicast-table"`
}

// FilterChangedEvent is the event NIC_RX_FILTER_CHANGED: the guest has changed the
// filter of a card. There is one until somebody asks query-rx-filter for it.
type FilterChangedEvent struct {
	Name *string `qmp:"name"` // the device's ID, if it has one
	Path string  `qmp:"path"`
}

// EventName implements event.Event.
func (FilterChangedEvent) EventName() string { return "NIC_RX_FILTER_CHANGED" }

// Events are the events of this package.
func Events() []event.Event { return []event.Event{FilterChangedEvent{}} }
