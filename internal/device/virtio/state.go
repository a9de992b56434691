package virtio

import (
	"errors"
	"fmt"

	"govmd/internal/device/virtio/virtq"
	"govmd/internal/state"
)

// savedCore is the saved state of what all devices have in common.
type savedCore struct {
	Status     uint8        `cbor:"status"`
	Wanted     uint64       `cbor:"wanted"`
	Features   uint64       `cbor:"features"`
	Generation uint32       `cbor:"generation"`
	Broken     bool         `cbor:"broken"`
	Queues     []savedQueue `cbor:"queues"`
}

type savedQueue struct {
	Size    uint16       `cbor:"size"`
	Desc    uint64       `cbor:"desc"`
	Avail   uint64       `cbor:"avail"`
	Used    uint64       `cbor:"used"`
	Enabled bool         `cbor:"enabled"`
	Ring    *virtq.State `cbor:"ring,omitempty"` // of enabled queues
}

// States implements device.Stater. Device code with state of its own returns
// this and its own entries behind it.
func (c *Core) States() []state.Entry {
	e := state.Of("virtio", 1, c.save, c.load)
	e.PostLoad = c.loaded
	return []state.Entry{e}
}

func (c *Core) save() savedCore {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := savedCore{
		Status: c.status, Wanted: c.wanted, Features: c.features,
		Generation: c.generation.Load(), Broken: c.broken.Load(),
		Queues: make([]savedQueue, len(c.queues)),
	}
	for i, q := range c.queues {
		r := q.regs
		s.Queues[i] = savedQueue{Size: r.Size, Desc: r.Desc, Avail: r.Avail, Used: r.Used, Enabled: r.Enabled}
		if r.Enabled {
			ring := q.ring.Save()
			s.Queues[i].Ring = &ring
		}
	}
	return s
}

var errNoRing = errors.New("an enabled queue has no ring")

func (c *Core) load(s *savedCore) error {
	if len(s.Queues) != len(c.queues) {
		return fmt.Errorf("the device has %d queues, here it has %d", len(s.Queues), len(c.queues))
	}
	c.Reset()
	for i, q := range c.queues {
		if s.Queues[i].Enabled {
			if err := q.open(); err != nil {
				return &QueueError{i, err}
			}
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if more := s.Features &^ c.offered; more != 0 {
		return fmt.Errorf("features %#x are in use, which are not offered here: was it made with the same options?", more)
	}
	c.status, c.wanted, c.features = s.Status, s.Wanted, s.Features
	c.generation.Store(s.Generation)
	c.broken.Store(s.Broken)
	for i, q := range c.queues {
		if err := q.loadLocked(&s.Queues[i]); err != nil {
			return &QueueError{i, err}
		}
	}
	return nil
}

func (q *Queue) loadLocked(s *savedQueue) error {
	if s.Size == 0 || s.Size > q.max || s.Size&(s.Size-1) != 0 {
		return fmt.Errorf("size %d, here it can be up to %d", s.Size, q.max)
	}
	q.regs = Ring{Size: s.Size, Desc: s.Desc, Avail: s.Avail, Used: s.Used}
	if !s.Enabled {
		return nil
	}
	if s.Ring == nil {
		return errNoRing
	}
	if err := q.ring.Load(q.configLocked(), *s.Ring); err != nil {
		return err
	}
	q.regs.Enabled = true
	return nil
}

// loaded puts in force what was loaded. The queues are kicked when the machine starts.
func (c *Core) loaded() error {
	c.mu.Lock()
	ch := c.updateLocked()
	features, status := c.features, c.status
	c.mu.Unlock()
	if u, ok := c.self().(FeatureUser); ok {
		u.FeaturesChanged(features)
	}
	c.follow(ch)
	if u, ok := c.self().(StatusUser); ok && status != 0 {
		u.StatusChanged(status)
	}
	return nil
}
