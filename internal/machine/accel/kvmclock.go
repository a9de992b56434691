package accel

import (
	"fmt"
	"sync"

	"govmd/internal/device"
	"govmd/internal/kvm"
	"govmd/internal/object"
	"govmd/internal/runstate"
	"govmd/internal/state"
)

func init() {
	device.Register(object.Type{Name: "kvmclock", Description: "paravirtual clock",
		New: func() object.Object { return &kvmClock{} }})
}

// kvmClock is the guest's paravirtual clock: it stands still while the machine
// is stopped, although KVM's goes on, and is saved and loaded.
type kvmClock struct {
	vmHolder
	vcpus func() []*kvm.Thread

	mu      sync.Mutex // guards what follows
	stopped bool
	ns      uint64 // guest time while stopped
}

// Realize implements device.Device.
func (c *kvmClock) Realize() error {
	if err := c.vmHolder.Realize(); err != nil {
		return err
	}
	run := c.Env().Run
	if !run.Running() {
		c.stop()
	}
	c.Defer(run.AddNotifier(0, c.runChanged))
	return nil
}

func (c *kvmClock) runChanged(running bool, _ runstate.State) {
	if running {
		c.start()
	} else {
		c.stop()
	}
}

func (c *kvmClock) stop() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.stopped {
		return
	}
	now, err := c.vm.Clock()
	c.check(err)
	c.stopped, c.ns = true, now.Nanoseconds
}

func (c *kvmClock) start() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.stopped {
		return
	}
	c.stopped = false
	c.check(c.vm.SetClock(&kvm.Clock{Nanoseconds: c.ns}))
	// The guest's watchdogs are told that it was stopped. A guest that does not
	// use the clock has none to be told.
	for _, t := range c.vcpus() {
		_ = t.Do(func(v *kvm.VCPU) { _ = v.KVMClockCtrl() })
	}
}

type clockState struct {
	Nanoseconds uint64 `cbor:"nanoseconds"`
}

// maxClock is 292 years: a time that leaves room to count on.
const maxClock = 1 << 62

// States implements device.Stater.
func (c *kvmClock) States() []state.Entry {
	e := state.Entry{Version: 1, Priority: state.PriorityClock,
		Save: func() (any, error) {
			c.mu.Lock()
			defer c.mu.Unlock()
			if c.stopped {
				return clockState{c.ns}, nil
			}
			now, err := c.vm.Clock()
			return clockState{now.Nanoseconds}, err
		},
		New: func() any { return &clockState{} },
		Load: func(v any, _ int) error {
			s := v.(*clockState)
			if s.Nanoseconds > maxClock {
				return fmt.Errorf("time %d ns", s.Nanoseconds)
			}
			c.mu.Lock()
			defer c.mu.Unlock()
			c.ns = s.Nanoseconds
			if !c.stopped {
				return c.vm.SetClock(&kvm.Clock{Nanoseconds: c.ns})
			}
			return nil
		}}
	return []state.Entry{e}
}
