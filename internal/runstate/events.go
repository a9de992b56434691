package runstate

// Stopped is the event STOP: the machine has stopped.
type Stopped struct{}

// EventName implements event.Event.
func (Stopped) EventName() string { return "STOP" }

// Resumed is the event RESUME: the machine runs again.
type Resumed struct{}

// EventName implements event.Event.
func (Resumed) EventName() string { return "RESUME" }

// ShutdownEvent is the event SHUTDOWN: the machine has been shut down.
type ShutdownEvent struct {
	Guest  bool  `qmp:"guest"`
	Reason Cause `qmp:"reason"`
}

// EventName implements event.Event.
func (ShutdownEvent) EventName() string { return "SHUTDOWN" }

// ResetEvent is the event RESET: the machine is being reset.
type ResetEvent struct {
	Guest  bool  `qmp:"guest"`
	Reason Cause `qmp:"reason"`
}

// EventName implements event.Event.
func (ResetEvent) EventName() string { return "RESET" }

// PowerdownEvent is the event POWERDOWN: the guest has been asked to shut down.
type PowerdownEvent struct{}

// EventName implements event.Event.
func (PowerdownEvent) EventName() string { return "POWERDOWN" }

// SuspendEvent is the event SUSPEND: the guest sleeps in S3.
type SuspendEvent struct{}

// EventName implements event.Event.
func (SuspendEvent) EventName() string { return "SUSPEND" }

// SuspendDiskEvent is the event SUSPEND_DISK: the guest has saved itself and entered S4.
type SuspendDiskEvent struct{}

// EventName implements event.Event.
func (SuspendDiskEvent) EventName() string { return "SUSPEND_DISK" }

// WakeupEvent is the event WAKEUP: the guest leaves S3.
type WakeupEvent struct{}

// EventName implements event.Event.
func (WakeupEvent) EventName() string { return "WAKEUP" }

// GuestPanicAction is what follows when the guest has panicked.
type GuestPanicAction string

// EnumValues lists the actions.
func (GuestPanicAction) EnumValues() []string { return []string{"pause", "poweroff", "run"} }

// GuestPanickedEvent is the event GUEST_PANICKED.
type GuestPanickedEvent struct {
	Action GuestPanicAction `qmp:"action"`
}

// EventName implements event.Event.
func (GuestPanickedEvent) EventName() string { return "GUEST_PANICKED" }

// GuestCrashloadedEvent is the event GUEST_CRASHLOADED: the guest has crashed
// and loads a crash kernel.
type GuestCrashloadedEvent struct {
	Action GuestPanicAction `qmp:"action"`
}

// EventName implements event.Event.
func (GuestCrashloadedEvent) EventName() string { return "GUEST_CRASHLOADED" }
