package runstate

import (
	"govmd/internal/event"
	"govmd/internal/qmp"
)

// StatusInfo is the result of query-status.
type StatusInfo struct {
	Running    bool  `qmp:"running"`
	SingleStep bool  `qmp:"singlestep"`
	Status     State `qmp:"status"`
}

// Events are the events that this package publishes.
func Events() []event.Event {
	return []event.Event{
		Stopped{}, Resumed{}, ShutdownEvent{}, ResetEvent{}, PowerdownEvent{}, SuspendEvent{},
		SuspendDiskEvent{}, WakeupEvent{}, GuestPanickedEvent{}, GuestCrashloadedEvent{}, WatchdogEvent{},
	}
}

// Commands returns the commands that act on the run state. What they request is
// served before they return: their events precede their responses, as QEMU's do.
func (c *Controller) Commands() []qmp.Command {
	return []qmp.Command{
		qmp.New("query-status", func(*qmp.Context, *qmp.None) (StatusInfo, error) {
			return StatusInfo{Running: c.Running(), Status: c.State()}, nil
		}, qmp.Preconfig),
		command("stop", c.stop),
		command("cont", c.cont),
		command("system_reset", c.systemReset),
		command("system_powerdown", c.systemPowerdown),
		command("system_wakeup", c.systemWakeup),
		qmp.New("set-action", func(_ *qmp.Context, a *Actions) (qmp.None, error) {
			c.policy.Apply(a)
			return qmp.None{}, nil
		}, qmp.Preconfig),
		qmp.New("watchdog-set-action", func(_ *qmp.Context, a *struct {
			Action WatchdogAction `qmp:"action"`
		}) (qmp.None, error) {
			c.policy.Watchdog = a.Action
			return qmp.None{}, nil
		}),
		command("quit", func() error { c.quit(); return nil }, qmp.Preconfig),
	}
}

// command returns a command without arguments and result.
func command(name string, fn func() error, opts ...qmp.Option) qmp.Command {
	return qmp.New(name, func(*qmp.Context, *qmp.None) (qmp.None, error) { return qmp.None{}, fn() }, opts...)
}

func (c *Controller) stop() error {
	if !c.Running() {
		return nil // nor does it stop a guest that sleeps in S3
	}
	return c.Stop(Paused)
}

func (c *Controller) systemReset() error {
	c.RequestReset(CauseHostQMPReset)
	c.serve()
	return nil
}

func (c *Controller) systemPowerdown() error {
	c.RequestPowerdown()
	c.serve()
	return nil
}

func (c *Controller) systemWakeup() error {
	if c.hooks.Wakeup == nil {
		return qmp.Errorf("wake-up from suspend is not supported by this guest")
	}
	if c.State() != Suspended {
		return qmp.Errorf("Unable to wake up: guest is not in suspended state")
	}
	c.RequestWakeup(WakeOther)
	c.serve()
	return nil
}

func (c *Controller) quit() {
	c.RequestShutdown(CauseHostQMPQuit)
	c.serve()
}

// cont lets the machine go on as the user wants it.
func (c *Controller) cont() error {
	switch s := c.State(); {
	case s.NeedsReset():
		return qmp.Errorf("Resetting the Virtual Machine is required")
	case s == Suspended, s == Running:
		return nil
	case s == FinishMigrate:
		return qmp.Errorf("Migration is not finalized yet")
	}
	return c.Start()
}
