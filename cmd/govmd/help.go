package main

import (
	"fmt"
	"os"
	"strings"

	"govmd/internal/machine"
	"govmd/internal/machine/cpu"
	"govmd/internal/object"
)

// version is set by the build.
var version = "dev"

func printVersion() {
	fmt.Printf("govmd version %s (speaks QMP as QEMU 7.2.0)\n", version)
}

func printHelp() {
	printVersion()
	fmt.Printf("usage: %s [options]\n\n", program())
	for _, o := range options {
		if o.help == "" {
			continue
		}
		line := "-" + o.name
		if o.arg != "" {
			line += " " + o.arg
		}
		fmt.Printf("%s\n        %s\n", line, o.help)
	}
}

func printMachines() {
	fmt.Println("Supported machines are:")
	for _, b := range machine.Boards() {
		note := ""
		if b.Default {
			note = " (default)"
		}
		if b.Alias != "" {
			fmt.Printf("%-20s %s (alias of %s)\n", b.Alias, b.Description, b.Name)
		}
		fmt.Printf("%-20s %s%s\n", b.Name, b.Description, note)
	}
}

func printCPUs() { fmt.Print(cpu.Help()) }

func printDevices() {
	for _, t := range machine.DeviceTypes() {
		line := fmt.Sprintf("name %q", t.Name)
		if t.Bus != "" {
			line += ", bus " + t.Bus
		}
		if t.Description != "" {
			line += fmt.Sprintf(", desc %q", t.Description)
		}
		fmt.Println(line)
	}
	fmt.Println(`name "loader", desc "puts a file or a number into guest memory"`)
}

func printObjects() {
	fmt.Println("List of user creatable objects:")
	for _, t := range objectTypes() {
		fmt.Println("  " + t.Name)
	}
}

func objectTypes() []*object.Type {
	return object.Types(func(t *object.Type) bool { return !t.IsA("device") && t.UserCreatable && !t.Abstract })
}

func printProperties(name string) {
	t, err := machine.DeviceType(name)
	if err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", program(), err)
		return
	}
	fmt.Printf("%s options:\n", t.Name)
	for _, p := range t.Properties() {
		if p.Set == nil {
			continue
		}
		line := fmt.Sprintf("  %s=<%s>", p.Name, p.Type)
		if p.Description != "" {
			line = fmt.Sprintf("%-26s - %s", line, p.Description)
		}
		if p.Default != nil && p.Default != "" {
			line += fmt.Sprintf(" (default: %s)", textOf(p.Default))
		}
		fmt.Println(line)
	}
}

func textOf(v any) string {
	if b, ok := v.(bool); ok {
		if b {
			return "on"
		}
		return "off"
	}
	return strings.TrimSpace(fmt.Sprint(v))
}

func printLogItems() {
	fmt.Println("Log items (comma separated):")
	for _, i := range logItems {
		fmt.Printf("%-15s %s\n", i.name, i.help)
	}
}
