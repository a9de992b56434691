package main

import (
	"fmt"
	"slices"
	"strings"

	"govmd/internal/machine"
	"govmd/internal/machine/boot"
	"govmd/internal/option"
)

// optionDef is one option of the command line.
type optionDef struct {
	name  string
	arg   string // what it takes, for the help text; "" for nothing
	help  string // "" for another spelling of an option that has a text
	apply func(s *setup, given, arg string) error
}

// usageError is a mistake in an option or in what it names.
type usageError struct {
	option string // as it was given; "" when no single one is at fault
	err    error
}

func (e *usageError) Error() string {
	if e.option == "" {
		return e.err.Error()
	}
	return e.option + ": " + e.err.Error()
}

func (e *usageError) Unwrap() error { return e.err }

// oneLine returns text without the line breaks that QEMU's longer messages have.
func oneLine(text string) string {
	lines := strings.FieldsFunc(text, func(c rune) bool { return c == '\n' || c == '\r' })
	return strings.Join(lines, "; ")
}

// parseArgs reads the command line.
func parseArgs(args []string) (*setup, error) {
	s := &setup{display: "default"}
	s.cfg.Boot = boot.NewOrder()
	s.cfg.RTC = machine.RTC{Base: "utc", Clock: "host", DriftFix: "none"}
	for i := 0; i < len(args); i++ {
		given := args[i]
		name, ok := strings.CutPrefix(given, "-")
		if !ok {
			if err := applyFirstDisk(s, given, given); err != nil {
				return nil, &usageError{given, err}
			}
			continue
		}
		name = strings.TrimPrefix(name, "-") // two dashes do as well
		def := findOption(name)
		if def == nil {
			return nil, &usageError{given, unknownOption(name)}
		}
		value := ""
		if def.arg != "" {
			if i++; i == len(args) {
				return nil, &usageError{given, fmt.Errorf("requires an argument: %s", def.arg)}
			}
			value = args[i]
			given += " " + value
		}
		if err := def.apply(s, given, value); err != nil {
			return nil, &usageError{given, err}
		}
		if s.help != nil {
			return s, nil
		}
	}
	return s, s.checkDaemon()
}

func findOption(name string) *optionDef {
	for i := range options {
		if options[i].name == name {
			return &options[i]
		}
	}
	return nil
}

// unknownOption says what name is not.
func unknownOption(name string) error {
	if slices.Contains(later, name) {
		return fmt.Errorf("this option is not supported yet")
	}
	var names []string
	for _, o := range options {
		names = append(names, o.name)
	}
	if near := option.Nearest(name, names); near != "" && len(name) > 2 {
		return fmt.Errorf("invalid option; did you mean '-%s'?", near)
	}
	return fmt.Errorf("invalid option; -help lists those that there are")
}

// later are options that are known to QEMU and will be here.
var later = []string{
	"audiodev", "balloon", "chroot", "fsdev", "full-screen", "gdb", "incoming", "k", "loadvm",
	"mtdblock", "pflash", "preconfig",
	"run-with", "s", "sandbox", "sd", "set", "spice", "tpmdev",
	"usb", "usbdevice", "virtfs", "vnc",
}
