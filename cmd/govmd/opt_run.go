package main

import (
	"fmt"

	"govmd/internal/option"
	"govmd/internal/runstate"
)

var actionSchema = &option.Schema{Name: "action", Keys: []option.Key{
	{Name: "reboot", Help: "reset or shutdown"}, {Name: "shutdown", Help: "poweroff or pause"},
	{Name: "panic", Help: "pause, shutdown, exit-failure or none"}, {Name: "watchdog", Help: "there is no watchdog yet"},
}}

func applyAction(s *setup, given, text string) error {
	o, err := s.parse(actionSchema, given, text)
	if err != nil || o.Help {
		return err
	}
	for _, it := range o.List {
		switch it.Key + "=" + it.Value {
		case "reboot=reset", "reboot=shutdown":
			s.cfg.NoReboot = it.Value == "shutdown"
		case "shutdown=poweroff", "shutdown=pause":
			s.cfg.NoShutdown = it.Value == "pause"
		case "panic=pause", "panic=shutdown", "panic=exit-failure", "panic=none":
			s.cfg.PanicAction = runstate.PanicAction(it.Value)
		case "watchdog=reset", "watchdog=shutdown", "watchdog=poweroff", "watchdog=pause", "watchdog=debug",
			"watchdog=none", "watchdog=inject-nmi": // there is none that could act
		default:
			return fmt.Errorf("Parameter '%s' does not accept value '%s'", it.Key, it.Value)
		}
	}
	return nil
}

func applyLogItems(s *setup, given, text string) error {
	if option.IsHelp(text) {
		s.help = printLogItems
		return nil
	}
	if err := checkLogItems(text); err != nil {
		return err
	}
	if eachTrace(text, func(pattern string) { s.enableTrace(given, pattern) }) {
		s.help = printTracePoints
		return nil
	}
	s.logItems = text
	return nil
}
