package main

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"govmd/internal/option"
)

// serviceOptions are how the program fits in with the rest of a host: docs/service.md.
var serviceOptions = []optionDef{
	{"daemonize", "", "go to the background once everything listens and the machine is there", flag(func(s *setup) { s.daemonize = true })},
	{"runas", "USER|UID:GID", "give up root's rights for those of this user once everything is open", applyRunAs},
	{"readconfig", "FILE", "read options from a file: [group \"id\"], then key = \"value\" lines", nil}, // init: it refers to options
	{"msg", "[timestamp=on|off][,guest-name=on|off]", "what messages begin with", applyMsg},
	{"overcommit", "[mem-lock=on|off][,cpu-pm=on|off]", "keep all memory in RAM; let idle vCPUs keep their CPUs", applyOvercommit},
}

func init() { serviceOptions[2].apply = applyReadConfig }

var msgSchema = &option.Schema{Name: "msg", Keys: []option.Key{
	{Name: "timestamp", Type: option.Bool, Help: "begin with the time, in UTC"},
	{Name: "guest-name", Type: option.Bool, Help: "begin with the guest's name, of -name"},
}}

// messages is what diagnostics begin with besides the program's name. It is the
// process's, as standard error is.
var messages struct {
	timestamp atomic.Bool
	guest     atomic.Pointer[string] // nil: messages do not say
}

func applyMsg(s *setup, given, text string) error {
	o, err := s.parse(msgSchema, given, text)
	if err != nil || o.Help {
		return err
	}
	messages.timestamp.Store(o.Bool("timestamp", false))
	s.guestInMessages = o.Bool("guest-name", false)
	s.nameMessages()
	return nil
}

// nameMessages is called when the guest's name, or whether messages have it, changes.
func (s *setup) nameMessages() {
	messages.guest.Store(nil)
	if s.guestInMessages && s.cfg.Name != "" {
		messages.guest.Store(&s.cfg.Name)
	}
}

// messagePrefix is what -msg asks for, with a space after each.
func messagePrefix() string {
	var b strings.Builder
	if messages.timestamp.Load() {
		b.WriteString(time.Now().UTC().Format("2006-01-02T15:04:05.000000Z") + " ")
	}
	if name := messages.guest.Load(); name != nil {
		b.WriteString(*name + " ")
	}
	return b.String()
}

var overcommitSchema = &option.Schema{Name: "overcommit", Keys: []option.Key{
	{Name: "mem-lock", Type: option.Bool, Help: "keep the memory of the guest and of the program in RAM"},
	{Name: "cpu-pm", Type: option.Bool, Help: "leave HLT, PAUSE and MWAIT to the guest"},
}}

func applyOvercommit(s *setup, given, text string) error {
	o, err := s.parse(overcommitSchema, given, text)
	if err != nil || o.Help {
		return err
	}
	s.memLock = o.Bool("mem-lock", false)
	s.cfg.CPUPM = o.Bool("cpu-pm", false)
	return nil
}

// configGroups are the options that a configuration file can have, by the names
// that its groups have there.
var configGroups = map[string]string{"memory": "m", "smp-opts": "smp", "boot-opts": "boot"}

func init() {
	for _, name := range []string{
		"accel", "action", "add-fd", "chardev", "device", "drive", "fsdev", "fw_cfg", "global", "machine", "mon", "msg",
		"name", "netdev", "numa", "object", "overcommit", "rtc", "sandbox", "smbios", "spice", "trace", "virtfs", "vnc",
	} {
		configGroups[name] = name
	}
}

func applyReadConfig(s *setup, _, name string) error {
	f, err := os.Open(name)
	if err != nil {
		return fmt.Errorf("Could not open '%s': %w", name, pathReason(err))
	}
	defer f.Close()
	sections, err := option.ParseConfig(name, f)
	if err != nil {
		return err
	}
	for _, sec := range sections {
		if err := s.applySection(sec); err != nil {
			return fmt.Errorf("%s:%d: %w", name, sec.Line, err)
		}
	}
	return nil
}

// applySection does what an option of the section's group would.
func (s *setup) applySection(sec option.Section) error {
	name, ok := configGroups[sec.Group]
	if !ok {
		return fmt.Errorf("There is no option group '%s'%s", sec.Group, option.DidYouMean(sec.Group, slices.Sorted(maps.Keys(configGroups))))
	}
	def := findOption(name)
	if def == nil {
		return fmt.Errorf("group '%s': %w", sec.Group, unknownOption(name))
	}
	list := sec.List
	if sec.ID != "" {
		list = append(slices.Clone(list), option.Item{Key: "id", Value: sec.ID})
	}
	text := list.String()
	if err := def.apply(s, "-"+name+" "+text, text); err != nil {
		return fmt.Errorf("group '%s': %w", sec.Group, err)
	}
	if s.help != nil {
		return errors.New("there is no help in a configuration file")
	}
	return nil
}

// checkDaemon refuses what needs the terminal that a daemon leaves.
func (s *setup) checkDaemon() error {
	if !s.daemonize {
		return nil
	}
	if s.nographic {
		return errors.New("-nographic cannot be used with -daemonize")
	}
	if i := slices.IndexFunc(s.chardevs, chardevSetup.onTerminal); i >= 0 {
		return &usageError{s.chardevs[i].given, errDaemonStdio}
	}
	return nil
}
