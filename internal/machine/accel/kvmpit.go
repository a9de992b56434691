package accel

import (
	"sync"

	"govmd/internal/device"
	"govmd/internal/kvm"
	"govmd/internal/object"
	"govmd/internal/runstate"
	"govmd/internal/state"
)

func init() {
	device.Register(object.Type{Name: "kvm-pit", Description: "in-kernel 8254 interval timer",
		New: func() object.Object { return &kvmPIT{} }, Props: []object.Property{
			object.Enum("lost_tick_policy", "LostTickPolicy", []string{"discard", "delay"},
				func(p *kvmPIT) *string { return &p.policy }, "delay", "what becomes of ticks that the guest was too slow to take"),
		}})
}

// kvmPIT is the in-kernel interval timer. KVM's counts whether the machine runs
// or not: while it is stopped the timer is off, so that the guest finds no tick
// for the time that it did not have, and begins a new period when it goes on.
type kvmPIT struct {
	vmHolder
	policy string

	mu      sync.Mutex // guards what follows, and sequences of calls to KVM
	stopped bool
	frozen  pitState // the guest's while stopped
}

// neverProgrammed is the mode that KVM's counters have at first. They count, but
// raise no interrupt: with one, a kernel that is started without firmware would
// find it pending in interrupt controllers that nobody has initialized.
const neverProgrammed = 0xff

// pitState is the saved form: load times are of the host's clock and mean
// nothing later, for KVM counts anew.
type pitState struct {
	Channels [3]kvm.PITChannel
	Flags    uint32
}

// Realize implements device.Device.
func (p *kvmPIT) Realize() error {
	if err := p.vmHolder.Realize(); err != nil {
		return err
	}
	if p.vm.Check(kvm.CapReinjectControl) != 0 {
		if err := p.vm.SetPITReinject(p.policy == "delay"); err != nil {
			return err
		}
	}
	run := p.Env().Run
	if !run.Running() {
		p.stop()
	}
	p.Defer(run.AddNotifier(0, p.runChanged))
	return nil
}

func (p *kvmPIT) runChanged(running bool, _ runstate.State) {
	if running {
		p.start()
	} else {
		p.stop()
	}
}

func (p *kvmPIT) stop() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.stopped {
		return
	}
	s, err := p.getLocked()
	p.check(err)
	p.stopped, p.frozen = true, s
	// What takes the interrupt for the HPET stops the counter, too.
	p.check(p.vm.SetPIT(&kvm.PITState{Channels: s.Channels, Flags: s.Flags | kvm.PITHPETLegacy}))
}

func (p *kvmPIT) start() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.stopped {
		return
	}
	p.stopped = false
	p.check(p.setLocked(p.frozen))
}

func (p *kvmPIT) getLocked() (pitState, error) {
	if p.stopped {
		return p.frozen, nil
	}
	s, err := p.vm.PIT()
	for i := range s.Channels {
		s.Channels[i].CountLoadTime = 0
	}
	return pitState{s.Channels, s.Flags}, err
}

func (p *kvmPIT) setLocked(s pitState) error {
	if p.stopped {
		p.frozen = s
		return nil
	}
	return p.vm.SetPIT(&kvm.PITState{Channels: s.Channels, Flags: s.Flags})
}

// ResetHold implements device.ResetHolder.
func (p *kvmPIT) ResetHold() {
	var s pitState
	for i := range s.Channels {
		s.Channels[i].Mode = neverProgrammed
		s.Channels[i].Count = 0x10000
		if i != 2 {
			s.Channels[i].Gate = 1
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.check(p.setLocked(s))
}

// States implements device.Stater.
func (p *kvmPIT) States() []state.Entry {
	return []state.Entry{{Version: 1, Priority: state.PriorityIRQ,
		Save: func() (any, error) {
			p.mu.Lock()
			defer p.mu.Unlock()
			return p.getLocked()
		},
		New: func() any { return &pitState{} },
		Load: func(v any, _ int) error {
			s := *v.(*pitState)
			for i := range s.Channels {
				s.Channels[i].CountLoadTime = 0
			}
			p.mu.Lock()
			defer p.mu.Unlock()
			return p.setLocked(s)
		},
	}}
}

// setHPETLegacy turns the timer's interrupt off, or on again.
func (p *kvmPIT) setHPETLegacy(on bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	s, err := p.getLocked()
	if err == nil {
		s.Flags &^= kvm.PITHPETLegacy
		if on {
			s.Flags |= kvm.PITHPETLegacy
		}
		err = p.setLocked(s)
	}
	p.check(err)
}
