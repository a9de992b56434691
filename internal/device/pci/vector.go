package pci

import (
	"sync"

	"golang.org/x/sys/unix"

	"govmd/internal/device"
)

// Vector is one of a function's message-signalled interrupts.
type Vector struct {
	dev *Device

	mu      sync.Mutex // held while messages are sent, so that none comes after the guest has masked the vector
	msg     device.MSIMessage
	gate    gate
	masked  bool // by the vector's own mask bit
	pending bool // was raised while it was masked
	route   device.MSIRoute
	changed func()
}

// gate is what the function's registers say about all of its vectors.
type gate uint8

const (
	gateOff    gate = iota // not in use: interrupts are lost
	gateMasked             // interrupts are remembered
	gateOpen
)

func (v *Vector) live() bool { return v.gate == gateOpen && !v.masked }

// Notify raises the interrupt. It may be called from any goroutine with the
// function's mutex held, and does not allocate.
func (v *Vector) Notify() {
	v.mu.Lock()
	switch {
	case v.gate == gateOff:
	case v.live():
		v.send()
	default:
		v.pending = true
	}
	v.mu.Unlock()
}

func (v *Vector) send() {
	if c := v.dev.Env().MSI; c != nil {
		c.Send(v.msg)
	}
}

// Live reports whether an interrupt would be delivered now.
func (v *Vector) Live() bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.live()
}

// Message returns what the guest has programmed.
func (v *Vector) Message() device.MSIMessage {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.msg
}

// EventFD returns a descriptor that raises the interrupt when it is signalled,
// for back ends in the kernel and in other processes. It follows the mask and
// the message and stays the vector's; Release gives it back. It reports
// device.ErrNoIRQFD where there is no such thing.
func (v *Vector) EventFD() (int, error) {
	c := v.dev.Env().MSI
	if c == nil {
		return -1, device.ErrNoIRQFD
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.route != nil {
		return v.route.EventFD(), nil
	}
	r, err := c.NewRoute()
	if err != nil {
		return -1, err
	}
	if err := r.Update(v.msg); err != nil {
		r.Close()
		return -1, err
	}
	if err := r.SetMasked(!v.live()); err != nil {
		r.Close()
		return -1, err
	}
	v.route = r
	return r.EventFD(), nil
}

// Release gives back what EventFD returned. Nobody may signal it any more.
func (v *Vector) Release() {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.route != nil {
		v.pending = v.pending || v.routePending()
		v.route.Close()
		v.route = nil
	}
}

// OnChange has fn called after the guest has changed the vector's mask or
// message. fn runs with the vector locked: it must not call back into it.
func (v *Vector) OnChange(fn func()) {
	v.mu.Lock()
	v.changed = fn
	v.mu.Unlock()
}

// set applies what the guest has programmed and delivers what was pending.
func (v *Vector) set(msg device.MSIMessage, masked bool, g gate) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.apply(msg, masked, g)
}

func (v *Vector) setGate(g gate) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.apply(v.msg, v.masked, g)
}

// apply is set with v.mu held.
func (v *Vector) apply(msg device.MSIMessage, masked bool, g gate) {
	was, same := v.live(), msg == v.msg
	v.msg, v.masked, v.gate = msg, masked, g
	is := v.live()
	if g == gateOff {
		v.pending = false
	}
	if v.route != nil {
		var err error
		if !same {
			err = v.route.Update(msg)
		}
		if is != was && err == nil {
			err = v.route.SetMasked(!is)
		}
		if err != nil {
			v.dev.Warnf("interrupt cannot be routed: %v", err)
		}
	}
	if is && v.pending {
		v.pending = false
		v.send()
	}
	if v.changed != nil && (is != was || !same) {
		v.changed()
	}
}

// isPending reports whether the interrupt waits for being unmasked.
func (v *Vector) isPending() bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.pending || v.routePending()
}

// routePending looks, without taking it, for a signal that came while masked.
func (v *Vector) routePending() bool {
	if v.route == nil || v.live() || v.gate == gateOff {
		return false
	}
	p := [1]unix.PollFd{{Fd: int32(v.route.EventFD()), Events: unix.POLLIN}}
	n, err := unix.Poll(p[:], 0)
	return err == nil && n == 1 && p[0].Revents&unix.POLLIN != 0
}

// messageGate says what is to become of messages of a function whose
// capability is enabled and masked as given.
func (d *Device) messageGate(enabled, masked bool) gate {
	switch {
	case !enabled || !d.BusMaster():
		return gateOff // a message is a write to memory
	case masked:
		return gateMasked
	}
	return gateOpen
}

func (d *Device) closeVectors() {
	if d.msi != nil {
		for i := range d.msi.vectors {
			d.msi.vectors[i].close()
		}
	}
	if d.msix != nil {
		for i := range d.msix.vectors {
			d.msix.vectors[i].close()
		}
	}
}

func (v *Vector) close() {
	v.setGate(gateOff)
	v.Release()
}
