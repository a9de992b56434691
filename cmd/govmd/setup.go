package main

import (
	"govmd/internal/chardev"
	"govmd/internal/machine"
	"govmd/internal/option"
)

// setup is what the command line asks for.
type setup struct {
	cfg machine.Config

	machineOpts option.List // of all -machine, in order
	accels      accelChoice
	smp         machine.SMPOptions
	ram         uint64 // 0 for the default
	maxRAM      uint64 // with slots
	slots       uint64
	memPath     string
	memPrealloc bool
	numa        []numaSetup
	chardevs    []chardevSetup
	fds         []fdSetup
	escape      byte     // -echr
	serials     []string // what -serial named, in order; "" for none
	monitors    []monitorSetup
	noMonitor   bool // -monitor, -mon or -qmp: there is no default monitor
	debugCon    string
	objects     []objectSetup
	blockdevs   []blockdevSetup
	netdevs     []netdevSetup
	drives      []driveSetup
	snapshot    bool // -snapshot
	qtest       string
	pidFile     string
	logFile     string
	logItems    string
	processName string
	runAs       *identity // -runas; nil to stay who we are
	daemonize   bool
	memLock     bool // -overcommit mem-lock=on
	// guestInMessages is -msg guest-name=on.
	guestInMessages bool
	paused          bool // -S
	noDefaults      bool
	nographic       bool
	display         string // "default" or "none"
	vga, nic        string // "" or "none"
	warnings        []string
	help            func() error // prints what was asked for instead of running
}

// chardevSetup is a character device and the option that asks for it.
type chardevSetup struct {
	chardev.Config
	given string
}

// onTerminal reports whether the device is the program's terminal.
func (c chardevSetup) onTerminal() bool {
	_, ok := c.Backend.(chardev.StdioConfig)
	return ok
}

type monitorSetup struct {
	chardev string
	human   bool // mode=readline
	pretty  bool
	given   string
}

type objectSetup struct {
	option.Keyval
	given string
}

// warn keeps what is to be said about an option once the log is open.
func (s *setup) warn(given string, texts ...string) {
	for _, t := range texts {
		s.warnings = append(s.warnings, given+": warning: "+oneLine(t))
	}
}
