package runstate

import (
	"errors"
	"fmt"
	"slices"
)

// Saved is the saved form of a run state.
type Saved struct {
	// State is what the machine was in before it was stopped to be saved.
	State State `cbor:"state"`
	// Asleep says that the guest sleeps in S3, whatever the state.
	Asleep bool `cbor:"asleep"`
	// Wake says what shall wake that guest as soon as the machine goes on, or "".
	Wake WakeReason `cbor:"wake"`
}

// savable lists the states in which a machine can be saved.
var savable = []State{
	Running, Suspended, Paused, Prelaunch, PostMigrate, IOError, InternalError, Shutdown, Watchdog, GuestPanicked, Debug,
}

// Save returns the saved form: the state that the machine is in or, during a
// migration or snapshot, that it was in before. What was loaded and has not been
// acted upon is returned as it was.
func (c *Controller) Save() Saved {
	if c.loaded != nil {
		return *c.loaded
	}
	s := c.State()
	if s.passing() {
		s = c.before
	}
	if s == "" {
		s = Prelaunch // being loaded from its beginning
	}
	return Saved{State: s, Asleep: c.asleep || s == Suspended, Wake: c.wake}
}

// Load takes a saved form. The machine, which must be stopped, stays so: whoever
// loads it asks Loaded and goes on accordingly. Start then lets a guest that
// slept sleep on.
func (c *Controller) Load(s *Saved) error {
	if c.State().live() {
		return errors.New("the machine is not stopped")
	}
	if !slices.Contains(savable, s.State) {
		return fmt.Errorf("run state '%s' is none that a machine is saved in", s.State)
	}
	switch s.Wake {
	case "", WakeOther, WakeRTC, WakeTimer:
	default:
		return fmt.Errorf("'%s' is no reason to wake up", s.Wake)
	}
	saved := *s
	saved.Asleep = s.Asleep || s.State == Suspended
	c.loaded, c.asleep, c.wake, c.stopped = &saved, saved.Asleep, saved.Wake, ""
	return nil
}

// Loaded returns the state that the machine was in when what was loaded last was
// saved; ok is false when it has changed its state since, or nothing was loaded.
func (c *Controller) Loaded() (s State, ok bool) {
	if c.loaded == nil {
		return "", false
	}
	return c.loaded.State, true
}
