package control

import (
	"govmd/internal/block"
	"govmd/internal/qmp"
	"govmd/internal/throttle"
)

// throttleArgs are those of block_set_io_throttle.
type throttleArgs struct {
	Device *string `qmp:"device,deprecated"`
	ID     *string `qmp:"id"`
	limits
}

// config returns the limits that the arguments say, checked.
func (a *throttleArgs) config() (throttle.Config, error) {
	cfg := throttle.Unlimited()
	// Negative numbers are far out of range, which Check says.
	a.each(func(k throttle.Kind, avg *int64, most, length **int64) {
		b := &cfg.Buckets[k]
		b.Avg = uint64(*avg)
		if *most != nil {
			b.Max = uint64(**most)
		}
		if *length != nil {
			b.Length = uint64(**length)
		}
	})
	if a.IOPSSize != nil {
		cfg.OpSize = uint64(*a.IOPSSize)
	}
	return cfg, cfg.Check()
}

// SetThrottle limits a drive: in the group of that name (nil: the one that it is
// in, or one of its own). Without any limit it ends that.
func (c *Control) SetThrottle(b *block.Backend, cfg throttle.Config, group *string, own string) error {
	m := b.Throttle()
	if !cfg.Enabled() {
		if m != nil {
			b.SetThrottle(nil)
			m.Leave()
		}
		return nil
	}
	if m != nil && group != nil && *group != m.Group() {
		b.SetThrottle(nil)
		m.Leave()
		m = nil
	}
	if m == nil {
		name := own
		if group != nil {
			name = *group
		}
		var err error
		if m, err = c.graph.JoinThrottle(name, "drive '"+own+"'", true); err != nil {
			return err
		}
		b.SetThrottle(m)
	}
	m.SetConfig(cfg)
	return nil
}

// setThrottle is block_set_io_throttle.
func (c *Control) setThrottle(_ *qmp.Context, a *throttleArgs) (none qmp.None, err error) {
	b, err := c.drive(a.Device, a.ID)
	if err != nil {
		return none, err
	}
	if !b.Inserted() {
		return none, qmp.Errorf("Device has no medium")
	}
	cfg, err := a.config()
	if err != nil {
		return none, err
	}
	return none, c.SetThrottle(b, cfg, a.ThrottleGroup, called(a.Device, a.ID))
}

func (c *Control) throttleCommands() []qmp.Command {
	return []qmp.Command{qmp.New("block_set_io_throttle", c.setThrottle)}
}
