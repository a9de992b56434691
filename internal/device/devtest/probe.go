package devtest

import (
	"sync"
	"sync/atomic"

	"govmd/internal/device"
)

// Probe is an interrupt pin that records what is done to it.
type Probe struct {
	Pin *device.Pin

	level atomic.Bool
	rises atomic.Int64
	last  int64 // rises at the last call of Rises
}

// NewProbe returns a pin that records.
func NewProbe(label string) *Probe {
	p := &Probe{}
	p.Pin = device.NewPin(label, func(high bool) {
		p.level.Store(high)
		if high {
			p.rises.Add(1)
		}
	})
	return p
}

// Level reports whether the pin is high.
func (p *Probe) Level() bool { return p.level.Load() }

// Rises returns how many rising edges came since the last call.
func (p *Probe) Rises() int {
	now := p.rises.Load()
	n := now - p.last
	p.last = now
	return int(n)
}

// MSI is an interrupt controller that records the messages sent to it. It has
// no routes: devices deliver by Send.
type MSI struct {
	mu   sync.Mutex
	sent []device.MSIMessage
}

const maxRecorded = 1000

// Send implements device.MSIController.
func (m *MSI) Send(msg device.MSIMessage) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.sent) < maxRecorded {
		m.sent = append(m.sent, msg)
	}
}

// NewRoute implements device.MSIController.
func (m *MSI) NewRoute() (device.MSIRoute, error) { return nil, device.ErrNoIRQFD }

// Sent returns and forgets the messages that were sent since the last call.
func (m *MSI) Sent() []device.MSIMessage {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := m.sent
	m.sent = nil
	return s
}
