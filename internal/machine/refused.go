package machine

import (
	"sync"

	"github.com/sirupsen/logrus"

	"govmd/internal/device"
	"govmd/internal/machine/accel"
	"govmd/internal/runstate"
)

// refusals are what the host has not taken of the guest's memory map.
type refusals struct {
	mu      sync.Mutex // guards what follows; nothing is called with it held
	started bool
	first   error // of the start
	msgs    device.Limiter
}

// mapRefused is told of what the host does not take of the guest's memory map. At
// the start that is an error of the start. Later the guest has brought it about,
// by moving a BAR, say: it goes on as far as it can.
func (m *Machine) mapRefused(e *accel.MapError) {
	r := &m.refusals
	r.mu.Lock()
	started := r.started
	if !started && r.first == nil {
		r.first = e
	}
	r.mu.Unlock()
	if !started {
		return
	}
	r.msgs.Log(logrus.NewEntry(m.log()), logrus.ErrorLevel, "%v", e)
	if e.Stale {
		m.Run.RequestStop(runstate.InternalError)
	}
}

// mapIsWhole ends the start: it returns what the host has not taken until now.
func (m *Machine) mapIsWhole() error {
	r := &m.refusals
	r.mu.Lock()
	defer r.mu.Unlock()
	r.started = true
	return r.first
}
