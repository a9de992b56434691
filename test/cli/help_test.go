package cli

import (
	"regexp"
	"strings"
	"testing"
)

// help asks a program for help and returns what it prints.
func help(t *testing.T, name string, args ...string) string {
	t.Helper()
	got := runCommand(t, t.TempDir(), name, args...)
	if got.status != 0 || got.stderr != "" {
		t.Fatalf("%s %q: status %d, says %q", name, args, got.status, got.stderr)
	}
	return got.stdout
}

// Whatever has properties or a list of values explains itself.
func TestHelp(t *testing.T) {
	for _, c := range []struct{ args, want string }{
		{"-help", "usage: govmd [options]"},
		{"-h", "\n-kernel FILE\n"},
		{"-version", "govmd version "},
		{"-M help", "\npc                   Standard PC (i440FX + PIIX, 1996) (alias of pc-i440fx-7.2)\n"},
		{"-machine help", "\npc-i440fx-7.2        Standard PC (i440FX + PIIX, 1996) (default)\n"},
		{"-M ?", "Supported machines are:\n"},
		{"-M pc,help", "pc-i440fx-7.2-machine options:\n"},
		{"-M microvm,help", "\n  auto-kernel-cmdline=<OnOffAuto>"},
		{"-accel help", "\nkvm\nqtest\n"},
		{"-cpu help", "\nx86 host "},
		{"-cpu help", "\nRecognized CPUID flags:\n"},
		{"-smp help", "\n  sockets=<num>\n"},
		{"-boot help", "\n  once=<str>\n"},
		{"-rtc help", "\n  clock=<str> "},
		{"-device help", "name \"isa-serial\", bus ISA"},
		{"-device ?", "name \"loader\""},
		{"-device isa-serial,help", "\n  iobase=<uint32>"},
		{"-device virtio-rng,help", "virtio-rng-pci options:\n"},
		{"-device loader,help", "\n  cpu-num=<uint32>"},
		{"-object help", "List of user creatable objects:\n"},
		{"-object rng-random,help", "\n  filename=<string>"},
		{"-chardev help", "Available chardev backend types:\n"},
		{"-chardev socket,help", "\n  reconnect=<num>"},
		{"-mon help", "\n  mode=<str>"},
		{"-action help", "\n  panic=<str>"},
		{"-global help", "\n  property=<str>"},
		{"-d help", "\nguest_errors "},
		{"-L help", "/usr/share/seabios\n"},
		{"-display help", "none\n"},
	} {
		if got := help(t, program, strings.Fields(c.args)...); !strings.Contains(got, c.want) {
			t.Errorf("%s prints %q, without %q", c.args, got, c.want)
		}
	}
}

var (
	deviceLine   = regexp.MustCompile(`(?m)^name "([^"]+)"(?:, bus ([^,\n]+))?`)
	propertyLine = regexp.MustCompile(`(?m)^  ([^ =]+)=<([^>]+)>`)
)

// onlyOurs are properties that QEMU's devices lack.
var onlyOurs = map[string]bool{"nvme.rerror": true, "nvme.werror": true}

// Names, buses, properties and their types are QEMU's.
func TestDevicesAreQEMUs(t *testing.T) {
	qemu := findQEMU(t)
	theirs := map[string]string{}
	for _, m := range deviceLine.FindAllStringSubmatch(help(t, qemu, "-device", "help"), -1) {
		theirs[m[1]] = m[2]
	}
	ours := deviceLine.FindAllStringSubmatch(help(t, program, "-device", "help"), -1)
	if len(ours) == 0 {
		t.Fatal("there are no devices")
	}
	for _, m := range ours {
		bus, ok := theirs[m[1]]
		if !ok || bus != m[2] {
			t.Errorf("%s is on bus %q, in QEMU on %q (known there: %v)", m[1], m[2], bus, ok)
			continue
		}
		types := map[string]string{}
		for _, p := range propertyLine.FindAllStringSubmatch(help(t, qemu, "-device", m[1]+",help"), -1) {
			types[p[1]] = p[2]
		}
		for _, p := range propertyLine.FindAllStringSubmatch(help(t, program, "-device", m[1]+",help"), -1) {
			if onlyOurs[m[1]+"."+p[1]] || p[1] == "console-size" { // the latter is in QEMU behind a switch of old machines
				continue
			}
			if types[p[1]] != p[2] {
				t.Errorf("%s.%s is a %s, in QEMU %q", m[1], p[1], p[2], types[p[1]])
			}
		}
	}
}

// Warnings go to standard error, one line each, and stop nothing.
func TestWarnings(t *testing.T) {
	for _, c := range []struct{ args, want string }{
		{"-global foo.bar=1", "govmd: warning: global foo.bar has invalid class name\n"},
		{"-fw_cfg name=x,string=y", "govmd: warning: externally provided fw_cfg item names should be prefixed with \"opt/\"\n"},
		{"-chardev socket,id=c,path=c,server,wait=off", "govmd: -chardev socket,id=c,path=c,server,wait=off: warning: short-form boolean option 'server' deprecated; Please use server=on instead\n"},
	} {
		p := begin(t, append([]string{"-accel", "qtest", "-S", "-qmp", qmpSocket}, strings.Fields(c.args)...)...)
		q := p.dialQMP("qmp")
		if err := q.Execute(p.ctx, "quit", nil, nil); err != nil {
			t.Error(err)
		}
		p.expectEnd(0)
		if got := p.stderr.Text(); got != c.want {
			t.Errorf("%s says %q, want %q", c.args, got, c.want)
		}
	}
}

// A help text that cannot be printed is an error.
func TestHelpToFullDisk(t *testing.T) {
	got := runShell(t, t.TempDir(), program+" -help >/dev/full")
	if got.status != 1 || !strings.HasPrefix(got.stderr, "govmd: ") || strings.Count(got.stderr, "\n") != 1 {
		t.Errorf("status %d, %q", got.status, got.stderr)
	}
}

// Diagnostics begin with the name that the program was called by.
func TestNameOfTheProgram(t *testing.T) {
	got := runShell(t, t.TempDir(), "ln -s "+program+" kvm-spice && ./kvm-spice -nope")
	if !strings.HasPrefix(got.stderr, "kvm-spice: -nope: ") {
		t.Errorf("it says %q", got.stderr)
	}
}
