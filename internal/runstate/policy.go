package runstate

import (
	"slices"

	"govmd/internal/qmp"
)

// Policy says what follows a reset, a shutdown and a panic of the guest, and what
// a watchdog does that the guest has not fed.
type Policy struct {
	NoReboot   bool // a reset ends the machine
	NoShutdown bool // a shutdown pauses the machine in state "shutdown"
	Panic      PanicAction
	Watchdog   WatchdogAction
}

// RebootAction is what follows a guest's reset.
type RebootAction string

// The actions after a reset.
const (
	RebootReset    RebootAction = "reset"
	RebootShutdown RebootAction = "shutdown"
)

// EnumValues lists the actions.
func (RebootAction) EnumValues() []string {
	return []string{string(RebootReset), string(RebootShutdown)}
}

// ShutdownAction is what follows a guest's shutdown.
type ShutdownAction string

// The actions after a shutdown.
const (
	ShutdownPoweroff ShutdownAction = "poweroff"
	ShutdownPause    ShutdownAction = "pause"
)

// EnumValues lists the actions.
func (ShutdownAction) EnumValues() []string {
	return []string{string(ShutdownPoweroff), string(ShutdownPause)}
}

// PanicAction is what follows a guest's panic.
type PanicAction string

// The panic actions; the zero value acts as PanicShutdown.
const (
	PanicShutdown    PanicAction = "shutdown"
	PanicPause       PanicAction = "pause"
	PanicNone        PanicAction = "none"
	PanicExitFailure PanicAction = "exit-failure"
)

// EnumValues lists the actions.
func (PanicAction) EnumValues() []string {
	return []string{string(PanicPause), string(PanicShutdown), string(PanicExitFailure), string(PanicNone)}
}

// WatchdogAction is what a watchdog does that the guest has not fed.
type WatchdogAction string

// The watchdog actions; the zero value acts as WatchdogReset.
const (
	WatchdogReset     WatchdogAction = "reset"
	WatchdogShutdown  WatchdogAction = "shutdown" // by the power button
	WatchdogPoweroff  WatchdogAction = "poweroff" // the program ends
	WatchdogPause     WatchdogAction = "pause"
	WatchdogDebug     WatchdogAction = "debug" // a line in the log
	WatchdogNone      WatchdogAction = "none"
	WatchdogInjectNMI WatchdogAction = "inject-nmi"
)

// EnumValues lists the actions.
func (WatchdogAction) EnumValues() []string {
	return []string{
		string(WatchdogReset), string(WatchdogShutdown), string(WatchdogPoweroff), string(WatchdogPause),
		string(WatchdogDebug), string(WatchdogNone), string(WatchdogInjectNMI),
	}
}

// Actions are changes of a policy, as set-action takes them: nil is none.
type Actions struct {
	Reboot   *RebootAction   `qmp:"reboot"`
	Shutdown *ShutdownAction `qmp:"shutdown"`
	Panic    *PanicAction    `qmp:"panic"`
	Watchdog *WatchdogAction `qmp:"watchdog"`
}

// Apply changes the policy.
func (p *Policy) Apply(a *Actions) {
	if a.Reboot != nil {
		p.NoReboot = *a.Reboot == RebootShutdown
	}
	if a.Shutdown != nil {
		p.NoShutdown = *a.Shutdown == ShutdownPause
	}
	if a.Panic != nil {
		p.Panic = *a.Panic
	}
	if a.Watchdog != nil {
		p.Watchdog = *a.Watchdog
	}
}

// Set changes one of a, by its name and value, as option -action has them.
func (a *Actions) Set(name, value string) (err error) {
	switch name {
	case "reboot":
		a.Reboot, err = action[RebootAction](name, value)
	case "shutdown":
		a.Shutdown, err = action[ShutdownAction](name, value)
	case "panic":
		a.Panic, err = action[PanicAction](name, value)
	case "watchdog":
		a.Watchdog, err = action[WatchdogAction](name, value)
	default:
		err = qmp.Errorf("Invalid parameter '%s'", name)
	}
	return err
}

func action[T interface {
	~string
	EnumValues() []string
}](name, value string) (*T, error) {
	t := T(value)
	if !slices.Contains(t.EnumValues(), value) {
		return nil, qmp.Errorf("Parameter '%s' does not accept value '%s'", name, value)
	}
	return &t, nil
}
