package net

import (
	"govmd/internal/event"
	"govmd/internal/sock"
)

// FilterChangedEvent is the event NIC_RX_FILTER_CHANGED: the guest has changed the
// filter of a card. There is one until somebody asks query-rx-filter for it.
type FilterChangedEvent struct {
	Name *string `qmp:"name"` // the device's ID, if it has one
	Path string  `qmp:"path"`
}

// EventName implements event.Event.
func (FilterChangedEvent) EventName() string { return "NIC_RX_FILTER_CHANGED" }

// StreamConnectedEvent is the event NETDEV_STREAM_CONNECTED: a back end of type stream has a peer.
type StreamConnectedEvent struct {
	ID   string       `qmp:"netdev-id"`
	Addr sock.Address `qmp:"addr"`
}

// EventName implements event.Event.
func (StreamConnectedEvent) EventName() string { return "NETDEV_STREAM_CONNECTED" }

// StreamDisconnectedEvent is the event NETDEV_STREAM_DISCONNECTED: the peer has gone.
type StreamDisconnectedEvent struct {
	ID string `qmp:"netdev-id"`
}

// EventName implements event.Event.
func (StreamDisconnectedEvent) EventName() string { return "NETDEV_STREAM_DISCONNECTED" }

// Events are the events of networks.
func Events() []event.Event {
	return []event.Event{FilterChangedEvent{}, StreamConnectedEvent{}, StreamDisconnectedEvent{}}
}

// Publish announces an event, if there is anybody to hear it. It may be called from
// anywhere.
func (n *Net) Publish(ev event.Event) {
	if n.Env.Bus != nil {
		n.Env.Bus.Publish(ev)
	}
}
