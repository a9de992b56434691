package runstate

import (
	"fmt"
	"io"
	"strings"

	"govmd/internal/qmp"
)

// HumanCommands returns the human monitor's commands that act on the run state.
func (c *Controller) HumanCommands() []qmp.HumanCommand {
	act := func(name, help string, fn func() error) qmp.HumanCommand {
		return qmp.HumanCommand{Name: name, Help: help, Run: func(*qmp.Context, qmp.HumanArgs, io.Writer) error { return fn() }}
	}
	return []qmp.HumanCommand{
		act("stop|s", "stop emulation", c.stop),
		act("cont|c", "resume emulation", c.cont),
		act("system_reset", "reset the system", c.systemReset),
		act("system_powerdown", "send system power down event", c.systemPowerdown),
		act("system_wakeup", "wakeup guest from suspend", c.systemWakeup),
		act("quit|q", "quit the emulator", func() error {
			c.quit()
			return qmp.ErrSessionEnds
		}),
		{
			Name: "watchdog_action", Args: "action:s", Params: "[" + strings.Join(WatchdogAction("").EnumValues(), "|") + "]",
			Help:     "change watchdog action",
			Complete: func(*qmp.Context, []string) []string { return WatchdogAction("").EnumValues() },
			Run: func(_ *qmp.Context, a qmp.HumanArgs, _ io.Writer) error {
				var set Actions
				if err := set.Set("watchdog", a.Str("action")); err != nil {
					return err
				}
				c.policy.Apply(&set)
				return nil
			},
		},
	}
}

// InfoCommands returns the second words of `info` about the run state.
func (c *Controller) InfoCommands() []qmp.HumanCommand {
	return []qmp.HumanCommand{{
		Name: "status", Help: "show the current VM status (running|paused)",
		Run: func(_ *qmp.Context, _ qmp.HumanArgs, out io.Writer) error {
			text := "running"
			if !c.Running() {
				text = "paused"
				if s := c.State(); s != Paused {
					text += fmt.Sprintf(" (%s)", s)
				}
			}
			_, err := fmt.Fprintf(out, "VM status: %s\n", text)
			return err
		},
	}}
}
