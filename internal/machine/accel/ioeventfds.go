package accel

import (
	"github.com/sirupsen/logrus"

	"govmd/internal/device"
	"govmd/internal/kvm"
	"govmd/internal/memory"
)

// ioEventVM is what eventfds need of KVM's VM.
type ioEventVM interface {
	AddIOEvent(e *kvm.IOEvent) error
	RemoveIOEvent(e *kvm.IOEvent) error
}

// eventfds follows the ioeventfds of one address space. A write that KVM does not
// take one for still reaches the device, by an exit to user space.
type eventfds struct {
	vm   ioEventVM
	log  *logrus.Logger
	pio  bool
	msgs device.Limiter // the guest chooses how often queues and BARs move

	missing map[memory.IoEventFD]bool // that KVM has refused; under the topology lock
}

// MapChanged implements memory.Listener.
func (e *eventfds) MapChanged(c memory.Change) {
	for _, fd := range c.FDRemoved {
		if e.missing[fd] {
			delete(e.missing, fd)
		} else if err := e.vm.RemoveIOEvent(e.event(&fd)); err != nil {
			e.warn("removing ioeventfd", err)
		}
	}
	for _, fd := range c.FDAdded {
		if err := e.vm.AddIOEvent(e.event(&fd)); err != nil {
			if e.missing == nil {
				e.missing = map[memory.IoEventFD]bool{}
			}
			e.missing[fd] = true
			e.warn("ioeventfd", err)
		}
	}
}

func (e *eventfds) warn(what string, err error) {
	e.msgs.Log(logrus.NewEntry(e.log), logrus.WarnLevel, "%s: %v", what, err)
}

func (e *eventfds) event(m *memory.IoEventFD) *kvm.IOEvent {
	return &kvm.IOEvent{Addr: m.Addr, PIO: e.pio, Len: uint32(m.Size), Match: m.Match, Data: m.Value, FD: m.FD}
}
