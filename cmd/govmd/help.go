package main

import (
	"fmt"
	"os"
	"slices"
	"strings"

	"govmd/internal/device"
	"govmd/internal/machine"
	"govmd/internal/machine/cpu"
	"govmd/internal/object"
	"govmd/internal/option"
)

// version is set by the build.
var version = "dev"

// printf prints what was asked for.
func printf(format string, args ...any) error {
	_, err := fmt.Fprintf(os.Stdout, format, args...)
	return err
}

func versionText() string {
	return fmt.Sprintf("%s version %s (speaks QMP as QEMU 7.2.0)\n", program(), version)
}

func printVersion() error { return printf("%s", versionText()) }

func printHelp() error {
	var b strings.Builder
	b.WriteString(versionText())
	fmt.Fprintf(&b, "usage: %s [options]\n\n", program())
	for _, o := range options {
		if o.help == "" {
			continue
		}
		line := "-" + o.name
		if o.arg != "" {
			line += " " + o.arg
		}
		fmt.Fprintf(&b, "%s\n        %s\n", line, o.help)
	}
	b.WriteString("\nWith -nographic or -serial mon:stdio these keys act on the terminal:\n" +
		"C-a h    help\nC-a x    end the program\nC-a b    send a break\n" +
		"C-a c    switch between those that share the terminal\nC-a C-a  send C-a\n")
	return printf("%s", b.String())
}

func printMachines() error {
	var b strings.Builder
	b.WriteString("Supported machines are:\n")
	for _, i := range machine.Boards() {
		if i.Alias != "" {
			fmt.Fprintf(&b, "%-20s %s (alias of %s)\n", i.Alias, i.Description, i.Name)
		}
		note := ""
		if i.Default {
			note = " (default)"
		}
		fmt.Fprintf(&b, "%-20s %s%s\n", i.Name, i.Description, note)
	}
	return printf("%s", b.String())
}

func printMachineProperties(name string) error {
	board, err := machine.NewBoard(name)
	if err != nil {
		return machineError(name, err)
	}
	return printProperties(board.Obj().Type())
}

func printCPUs() error { return printf("%s", cpu.Help()) }

func printDevices() error {
	var lines []string
	for _, t := range append(machine.DeviceTypes(), machine.Loader) {
		line := fmt.Sprintf("name %q", t.Name)
		if bus := device.BusKind(t); bus != "" {
			line += ", bus " + bus
		}
		if alias := machine.DeviceAlias(t.Name); alias != "" {
			line += fmt.Sprintf(", alias %q", alias)
		}
		if t.Description != "" {
			line += fmt.Sprintf(", desc %q", t.Description)
		}
		lines = append(lines, line+"\n")
	}
	slices.Sort(lines)
	return printf("%s", strings.Join(lines, ""))
}

func printDeviceProperties(name string) error {
	if name == machine.Loader.Name {
		return printProperties(machine.Loader)
	}
	t, err := machine.DeviceType(name)
	if err != nil {
		return &usageError{"-device " + name + ",help", err}
	}
	return printProperties(t)
}

func printObjects() error { return printf("%s", object.CreatableHelp()) }

func printObjectProperties(name string) error {
	t, err := objectType(name)
	if err != nil {
		return &usageError{"-object " + name + ",help", err}
	}
	return printProperties(t)
}

func objectType(name string) (*object.Type, error) {
	for _, t := range object.Creatable() {
		if t.Name == name {
			return t, nil
		}
	}
	return nil, fmt.Errorf("Parameter 'qom-type' does not accept value '%s'%s", name, nearObjectType(name))
}

func nearObjectType(name string) string {
	var names []string
	for _, t := range object.Creatable() {
		names = append(names, t.Name)
	}
	return option.DidYouMean(name, names)
}

func printProperties(t *object.Type) error { return printf("%s", object.PropertyHelp(t)) }

func printLogItems() error { return printf("%s", logItemsText()) }

func logItemsText() string {
	var b strings.Builder
	b.WriteString("Log items (comma separated):\n")
	for _, i := range logItems {
		fmt.Fprintf(&b, "%-15s %s\n", i.name, i.help)
	}
	return b.String()
}
