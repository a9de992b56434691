package main

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"govmd/internal/chardev"
	"govmd/internal/option"
)

// parse reads an option by its schema. Where help is asked for, s.help is set.
func (s *setup) parse(schema *option.Schema, given, text string) (*option.Opts, error) {
	list := option.Parse(text, schema.Implied)
	if first := ""; schema.Implied != "" {
		if first, _ = list.Get(schema.Implied); option.IsHelp(first) {
			list = option.List{{Key: first, Value: "on", Short: true}}
		}
	}
	o, err := schema.Check(list)
	if err == nil && o.Help {
		s.help = func() error { return printf("%s", schema.HelpText()) }
		return o, nil
	}
	s.warn(given, list.Warnings()...)
	return o, err
}

func applyChardev(s *setup, given, text string) error {
	if option.IsHelp(text) {
		s.help = func() error {
			return printf("Available chardev backend types:\n  %s\n", strings.Join(chardev.Backends(), "\n  "))
		}
		return nil
	}
	o, err := s.parse(chardev.Schema, given, text)
	if err != nil || o.Help {
		return err
	}
	cfg, err := chardev.FromOptions(o)
	if err != nil {
		return err
	}
	return s.addChardev(given, cfg)
}

func (s *setup) addChardev(given string, cfg chardev.Config) error {
	for _, c := range s.chardevs {
		if c.ID == cfg.ID {
			return fmt.Errorf("Duplicate ID '%s' for chardev", cfg.ID)
		}
	}
	s.chardevs = append(s.chardevs, chardevSetup{cfg, given})
	return nil
}

// short adds a character device that an option describes in its short form, and
// returns its ID.
func (s *setup) short(given, id, text string) (string, error) {
	if existing, ok := strings.CutPrefix(text, "chardev:"); ok {
		return existing, nil
	}
	cfg, mux, err := chardev.ParseShort(id, text)
	if err != nil {
		return "", err
	}
	cfg.Mux = cfg.Mux || mux
	if err := s.addChardev(given, cfg); err != nil {
		return "", err
	}
	if mux { // "mon:" before a device shares it with a monitor
		s.addMonitor(monitorSetup{chardev: id, human: true, given: given})
	}
	return id, nil
}

const maxSerial = 4

func applySerial(s *setup, given, text string) error {
	n := len(s.serials)
	if n == maxSerial {
		return fmt.Errorf("there are no more than %d serial ports", maxSerial)
	}
	id := ""
	if text != "none" {
		var err error
		if id, err = s.short(given, fmt.Sprintf("serial%d", n), text); err != nil {
			return err
		}
	}
	s.serials = append(s.serials, id)
	return nil
}

func applyDebugCon(s *setup, given, text string) (err error) {
	if s.debugCon != "" {
		return errors.New("there is one debug console already; -device isa-debugcon,iobase=...,chardev=... adds more")
	}
	s.debugCon, err = s.short(given, "debugcon", text)
	return err
}

func applyQMP(pretty bool) func(*setup, string, string) error {
	return func(s *setup, given, text string) error {
		id, err := s.short(given, fmt.Sprintf("compat_monitor%d", len(s.monitors)), text)
		if err != nil {
			return err
		}
		s.addMonitor(monitorSetup{chardev: id, pretty: pretty, given: given})
		return nil
	}
}

func (s *setup) addMonitor(m monitorSetup) {
	s.monitors = append(s.monitors, m)
	s.noMonitor = true
}

var monSchema = &option.Schema{Name: "mon", Implied: "chardev", Keys: []option.Key{
	{Name: "chardev", Help: "the character device"}, {Name: "mode", Help: "readline (for people) or control (QMP)"},
	{Name: "pretty", Type: option.Bool, Help: "indent what QMP sends"},
}}

func applyMon(s *setup, given, text string) error {
	o, err := s.parse(monSchema, given, text)
	if err != nil || o.Help {
		return err
	}
	m := monitorSetup{chardev: o.Str("chardev"), pretty: o.Bool("pretty", false), given: given}
	switch mode := o.Str("mode"); mode {
	case "", "readline":
		m.human = true
	case "control":
	default:
		return fmt.Errorf("Parameter 'mode' does not accept value '%s'", mode)
	}
	switch {
	case !o.Has("chardev"):
		return errors.New("Parameter 'chardev' is missing")
	case m.human && o.Has("pretty"):
		return errors.New("'pretty' is not compatible with HMP monitors")
	}
	s.addMonitor(m)
	return nil
}

// applyMonitor takes -monitor, the human monitor.
func applyMonitor(s *setup, given, text string) error {
	if text == "none" {
		s.noMonitor = true
		return nil
	}
	id, err := s.short(given, fmt.Sprintf("compat_monitor%d", len(s.monitors)), strings.TrimPrefix(text, "mon:"))
	if err != nil {
		return err
	}
	s.addMonitor(monitorSetup{chardev: id, human: true, given: given})
	return nil
}

// applyEscape takes -echr.
func applyEscape(s *setup, _, text string) error {
	n, err := strconv.ParseUint(text, 0, 8)
	if err != nil || n == 0 {
		return fmt.Errorf("Bad argument to echr: '%s' is no number from 1 to 255", text)
	}
	s.escape = byte(n)
	return nil
}
