package device

import "errors"

// ErrNoIRQFD says that an interrupt cannot be bound to an eventfd: the device
// raises it itself instead.
var ErrNoIRQFD = errors.New("interrupt cannot be bound to an eventfd")

// MSIMessage is a message-signalled interrupt: what a device writes where.
type MSIMessage struct {
	Addr uint64
	Data uint32
}

// MSIController takes message-signalled interrupts.
type MSIController interface {
	// Send delivers one message.
	Send(MSIMessage)
	// NewRoute reserves an interrupt source that can be bound to an eventfd. It
	// reports ErrNoIRQFD where there is no such thing.
	NewRoute() (MSIRoute, error)
}

// MSIRoute is an interrupt source with an eventfd: signalling it delivers the
// route's message without the VMM's help.
type MSIRoute interface {
	// EventFD returns the descriptor, which the route owns.
	EventFD() int
	// Update changes the message; while masked, signals are remembered by the
	// descriptor's owner (see Masked) and not delivered.
	Update(m MSIMessage) error
	// SetMasked detaches the descriptor from the interrupt, or attaches it
	// again, in which case a signal that came in between is delivered.
	SetMasked(masked bool) error
	// Close releases the route.
	Close()
}
