package runstate

// WatchdogEvent is the event WATCHDOG: the guest has not fed its watchdog in time.
type WatchdogEvent struct {
	Action WatchdogAction `qmp:"action"`
}

// EventName implements event.Event.
func (WatchdogEvent) EventName() string { return "WATCHDOG" }

// RequestWatchdog says that the guest has not fed its watchdog in time: what the
// policy says follows. What is not acted upon when the guest is reset is forgotten.
func (c *Controller) RequestWatchdog() { c.request(func(r *pending) { r.watchdog = true }) }

// watchdog publishes what becomes of a guest whose watchdog has expired, and adds
// that to what has been asked for.
func (c *Controller) watchdog(r *pending) {
	action := c.policy.Watchdog
	if action == "" {
		action = WatchdogReset
	}
	c.bus.Publish(WatchdogEvent{action})
	switch action {
	case WatchdogReset:
		if r.reset == "" {
			r.reset = CauseGuestReset
		}
	case WatchdogShutdown:
		r.powerdown = true
	case WatchdogPoweroff:
		if r.exit == nil {
			r.exit = new(int)
		}
	case WatchdogPause:
		r.stop = worse(r.stop, Watchdog)
	case WatchdogInjectNMI, WatchdogDebug:
		if c.hooks.Watchdog != nil {
			c.hooks.Watchdog(action)
		}
	case WatchdogNone:
	}
}
