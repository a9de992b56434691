// Package runstate owns whether the machine runs, why it does not, and who must
// act when that changes.
package runstate

import (
	"fmt"
	"slices"
)

// State is a run state, by its QMP name.
type State string

// The run states.
const (
	Debug         State = "debug"
	InMigrate     State = "inmigrate"
	InternalError State = "internal-error"
	IOError       State = "io-error"
	Paused        State = "paused"
	PostMigrate   State = "postmigrate"
	Prelaunch     State = "prelaunch"
	FinishMigrate State = "finish-migrate"
	RestoreVM     State = "restore-vm"
	Running       State = "running"
	SaveVM        State = "save-vm"
	Shutdown      State = "shutdown"
	Suspended     State = "suspended"
	Watchdog      State = "watchdog"
	GuestPanicked State = "guest-panicked"
)

// EnumValues lists all states, as the QMP schema wants them.
func (State) EnumValues() []string {
	return []string{
		"debug", "inmigrate", "internal-error", "io-error", "paused", "postmigrate",
		"prelaunch", "finish-migrate", "restore-vm", "running", "save-vm", "shutdown",
		"suspended", "watchdog", "guest-panicked", "colo",
	}
}

// transitions is QEMU's table, and what QEMU came to need later: a machine that
// sleeps in S3 can be stopped and started as a running one can, and a migration
// or snapshot that fails goes back to whatever it began with.
var transitions = map[State][]State{
	Prelaunch:     {Running, FinishMigrate, InMigrate, Suspended},
	Debug:         {Running, FinishMigrate, Prelaunch, Suspended},
	InMigrate:     {InternalError, IOError, Paused, Running, Shutdown, Suspended, Watchdog, GuestPanicked, FinishMigrate, Prelaunch, PostMigrate},
	InternalError: {Paused, FinishMigrate, Prelaunch},
	IOError:       {Running, FinishMigrate, Prelaunch, Suspended},
	Paused:        {Running, FinishMigrate, PostMigrate, Prelaunch, Suspended},
	PostMigrate:   {Running, FinishMigrate, Prelaunch, Suspended},
	FinishMigrate: {Running, PostMigrate, Prelaunch, Paused, IOError, Shutdown, Suspended, Watchdog, GuestPanicked, InternalError, Debug},
	RestoreVM:     {Running, Prelaunch, Paused, Suspended},
	Running:       {Debug, InternalError, IOError, Paused, FinishMigrate, RestoreVM, SaveVM, Shutdown, Watchdog, GuestPanicked, Suspended},
	SaveVM:        {Running, Suspended, Paused},
	Shutdown:      {Paused, FinishMigrate, Prelaunch},
	Suspended:     {Running, FinishMigrate, Prelaunch, Paused, SaveVM, RestoreVM, Shutdown},
	Watchdog:      {Running, FinishMigrate, Prelaunch},
	GuestPanicked: {Running, FinishMigrate, Prelaunch},
}

// CanFollow reports whether the machine may go from state s to state next.
func (s State) CanFollow(next State) bool {
	return s == next || slices.Contains(transitions[s], next)
}

// live reports whether the guest runs or sleeps: its clock goes on, and its
// devices work.
func (s State) live() bool { return s == Running || s == Suspended }

// passing reports whether s is a phase of migration or of a snapshot, behind
// which the machine is in another state.
func (s State) passing() bool {
	return s == InMigrate || s == FinishMigrate || s == SaveVM || s == RestoreVM
}

// NeedsReset reports whether the machine cannot go on from s without a reset.
func (s State) NeedsReset() bool { return s == InternalError || s == Shutdown }

// Cause is why the machine was reset or ended; it is QEMU's ShutdownCause.
type Cause string

// The causes of shutdowns and resets, by their QMP names.
const (
	CauseNone           Cause = "none"
	CauseHostError      Cause = "host-error"
	CauseHostQMPQuit    Cause = "host-qmp-quit"
	CauseHostQMPReset   Cause = "host-qmp-system-reset"
	CauseHostSignal     Cause = "host-signal"
	CauseHostUI         Cause = "host-ui"
	CauseGuestShutdown  Cause = "guest-shutdown"
	CauseGuestReset     Cause = "guest-reset"
	CauseGuestPanic     Cause = "guest-panic"
	CauseSubsystemReset Cause = "subsystem-reset"
	CauseSnapshotLoad   Cause = "snapshot-load"
)

// EnumValues lists all causes.
func (Cause) EnumValues() []string {
	return []string{
		"none", "host-error", "host-qmp-quit", "host-qmp-system-reset", "host-signal", "host-ui",
		"guest-shutdown", "guest-reset", "guest-panic", "subsystem-reset", "snapshot-load",
	}
}

// Guest reports whether the guest, rather than the host, was the cause.
func (c Cause) Guest() bool {
	switch c {
	case CauseGuestShutdown, CauseGuestReset, CauseGuestPanic, CauseSubsystemReset, CauseSnapshotLoad:
		return true
	}
	return false
}

// final reports whether c ends the program, whatever the policy: it is not the
// guest that is to be kept.
func (c Cause) final() bool {
	switch c {
	case CauseHostQMPQuit, CauseHostSignal, CauseHostUI, CauseHostError:
		return true
	}
	return false
}

// announced reports whether a reset for that cause is an event to clients.
func (c Cause) announced() bool {
	return c != CauseNone && c != CauseSubsystemReset && c != CauseSnapshotLoad
}

// TransitionError is a change of state that must not happen.
type TransitionError struct{ From, To State }

func (e *TransitionError) Error() string {
	return fmt.Sprintf("invalid runstate transition: '%s' -> '%s'", e.From, e.To)
}
