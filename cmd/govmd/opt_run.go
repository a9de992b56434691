package main

import (
	"strings"

	"govmd/internal/option"
	"govmd/internal/runstate"
)

// actions are the keys of option -action, and what each accepts.
var actions = []struct {
	event  string
	values []string
}{
	{"reboot", runstate.RebootAction("").EnumValues()},
	{"shutdown", runstate.ShutdownAction("").EnumValues()},
	{"panic", runstate.PanicAction("").EnumValues()},
	{"watchdog", runstate.WatchdogAction("").EnumValues()},
}

var actionSchema = newActionSchema()

func newActionSchema() *option.Schema {
	s := &option.Schema{Name: "action"}
	for _, a := range actions {
		s.Keys = append(s.Keys, option.Key{Name: a.event, Help: strings.Join(a.values, ", ")})
	}
	return s
}

func actionHelp() string {
	var list []string
	for _, a := range actions {
		list = append(list, a.event+"="+strings.Join(a.values, "|"))
	}
	return strings.Join(list, ", ")
}

func applyAction(s *setup, given, text string) error {
	o, err := s.parse(actionSchema, given, text)
	if err != nil || o.Help {
		return err
	}
	var set runstate.Actions
	for _, it := range o.List {
		if err := set.Set(it.Key, it.Value); err != nil {
			return err
		}
	}
	s.cfg.Policy.Apply(&set)
	return nil
}

func applyWatchdogAction(s *setup, _, text string) error {
	var set runstate.Actions
	if err := set.Set("watchdog", text); err != nil {
		return err
	}
	s.cfg.Policy.Apply(&set)
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
