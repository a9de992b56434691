package machine

import (
	"errors"
	"fmt"
	"strings"

	"govmd/internal/runstate"
	"govmd/internal/state"
)

type clockState struct {
	Virtual int64 `cbor:"virtual"` // ns
}

// maxTime leaves room to count on: 146 years.
const maxTime = 1 << 62

// registerState makes known what is saved of the machine beside its devices and
// vCPUs: the virtual clock, before the timers on it, and the run state.
func (m *Machine) registerState() error {
	virtual := m.Env.Clock.Virtual
	clock := state.Of("clock", 1,
		func() clockState { return clockState{virtual.Now()} },
		func(s *clockState) error {
			if s.Virtual < 0 || s.Virtual > maxTime {
				return fmt.Errorf("virtual time %d ns", s.Virtual)
			}
			virtual.SetNow(s.Virtual)
			return nil
		})
	clock.Priority = state.PriorityClock
	run := state.Of("run-state", 1, m.Run.Save, func(s *runstate.Saved) error { return m.Run.Load(s) })
	_, err1 := m.Env.State.Register(clock)
	_, err2 := m.Env.State.Register(run)
	return errors.Join(err1, err2)
}

// blockState has a machine not saved whose CPU model promises its guest what
// another host cannot keep.
func (m *Machine) blockState() {
	if names := m.model.Unmigratable; len(names) > 0 {
		m.Env.State.Block(fmt.Errorf("State blocked by non-migratable CPU device (%s flag)", strings.Join(names, ", ")))
	}
}
