package main

import (
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/google/uuid"

	"govmd/internal/chardev"
	"govmd/internal/machine"
	"govmd/internal/machine/boot"
	"govmd/internal/object"
	"govmd/internal/option"
	"govmd/internal/runstate"
)

// setup is what the command line asks for.
type setup struct {
	cfg machine.Config

	machineOpts option.List // of all -machine, in order
	accels      []string
	smp         machine.SMPOptions
	ram         uint64
	chardevs    []chardev.Config
	serials     []string // what -serial named, in order
	monitors    []monitorConfig
	debugCon    string
	objects     []option.Keyval
	qtest       string
	pidFile     string
	logFile     string
	logItems    string
	paused      bool // -S
	noDefaults  bool
	nographic   bool
	display     string
	vga, nic    string
	muxed       map[string]bool // character devices that several front ends share
	help        func()          // prints what was asked for instead of running
}

type monitorConfig struct {
	chardev string
	pretty  bool
}

// optionDef is one option of the command line.
type optionDef struct {
	name  string
	arg   string // what it takes, for the help text; "" for nothing
	help  string
	apply func(s *setup, arg string) error
}

// usageError is a mistake on the command line.
type usageError struct {
	option, text string
}

func (e *usageError) Error() string {
	if e.option == "" {
		return e.text
	}
	return e.option + ": " + e.text
}

// parseArgs reads the command line.
func parseArgs(args []string) (*setup, error) {
	s := &setup{display: "default", muxed: map[string]bool{}}
	s.cfg.Boot = boot.NewOrder()
	s.cfg.RTC = machine.RTC{Base: "utc", Clock: "host", DriftFix: "none"}
	for i := 0; i < len(args); i++ {
		arg := args[i]
		name, ok := strings.CutPrefix(arg, "-")
		if !ok {
			return nil, &usageError{arg, "drives are not supported yet: expected an option"}
		}
		name = strings.TrimPrefix(name, "-")
		def := findOption(name)
		if def == nil {
			text := "invalid option"
			if near := option.Nearest(name, optionNames()); near != "" {
				text += fmt.Sprintf("; did you mean '-%s'?", near)
			}
			return nil, &usageError{arg, text}
		}
		value := ""
		if def.arg != "" {
			if i++; i == len(args) {
				return nil, &usageError{arg, "requires an argument"}
			}
			value = args[i]
		}
		if err := def.apply(s, value); err != nil {
			if def.arg != "" {
				arg += " " + value
			}
			return nil, &usageError{arg, err.Error()}
		}
		if s.help != nil {
			return s, nil
		}
	}
	return s, nil
}

func findOption(name string) *optionDef {
	for i := range options {
		if options[i].name == name {
			return &options[i]
		}
	}
	return nil
}

func optionNames() (names []string) {
	for _, o := range options {
		names = append(names, o.name)
	}
	return names
}

// options are all options; init fills it, for -help refers to it.
var options []optionDef

func init() {
	options = []optionDef{
		{"help", "", "show this text", func(s *setup, _ string) error { s.help = printHelp; return nil }},
		{"h", "", "", func(s *setup, _ string) error { s.help = printHelp; return nil }},
		{"version", "", "show the version", func(s *setup, _ string) error { s.help = printVersion; return nil }},
		{"machine", "[type=]NAME[,PROP=VALUE...]", "machine type and its properties; 'help' lists types", applyMachine},
		{"M", "NAME[,PROP=VALUE...]", "", applyMachine},
		{"accel", "kvm|qtest", "what executes the vCPUs", applyAccel},
		{"enable-kvm", "", "the same as -accel kvm", func(s *setup, _ string) error { s.accels = []string{"kvm"}; return nil }},
		{"cpu", "MODEL[,FEATURE=on|off...]", "CPU model; 'help' lists them", applyCPU},
		{"smp", "[cpus=]N[,maxcpus=N][,sockets=N][,dies=N][,cores=N][,threads=N]", "number and grouping of vCPUs", applySMP},
		{"m", "[size=]MEGS", "guest memory, in MiB unless it has a suffix", applyMemory},
		{"name", "[guest=]NAME", "name of the machine", applyName},
		{"uuid", "UUID", "UUID of the machine", applyUUID},
		{"kernel", "FILE", "Linux kernel to start without firmware: bzImage or ELF", machineProp("kernel")},
		{"initrd", "FILE", "initial ramdisk", machineProp("initrd")},
		{"append", "TEXT", "kernel command line", machineProp("append")},
		{"bios", "FILE", "firmware", machineProp("firmware")},
		{"L", "DIR", "where to look for firmware, before the usual places", func(s *setup, dir string) error {
			s.cfg.FirmwareDirs = append(s.cfg.FirmwareDirs, dir)
			return nil
		}},
		{"boot", "[order=]DRIVES[,once=DRIVES][,menu=on|off][,splash=FILE][,splash-time=MS][,reboot-timeout=MS][,strict=on|off]", "boot order", applyBoot},
		{"rtc", "[base=utc|localtime|DATE][,clock=host|rt|vm][,driftfix=none|slew]", "the clock", applyRTC},
		{"device", "TYPE[,id=ID][,bus=BUS][,PROP=VALUE...]", "add a device; 'help' lists types, 'TYPE,help' properties", applyDevice},
		{"object", "TYPE,id=ID[,PROP=VALUE...]", "create an object", applyObject},
		{"global", "TYPE.PROP=VALUE", "default of a device property", applyGlobal},
		{"chardev", "BACKEND,id=ID[,PROP=VALUE...]", "character device: null, file, stdio, socket", applyChardev},
		{"serial", "DEV", "serial port: stdio, null, none, file:PATH, unix:PATH, tcp:HOST:PORT, chardev:ID", applySerial},
		{"debugcon", "DEV", "debug console", applyDebugCon},
		{"mon", "[chardev=]ID[,mode=control][,pretty=on|off]", "monitor on a character device", applyMon},
		{"qmp", "DEV", "QMP monitor, such as unix:PATH,server=on,wait=off", func(s *setup, dev string) error { return applyQMP(s, dev, false) }},
		{"qmp-pretty", "DEV", "the same, with indented output", func(s *setup, dev string) error { return applyQMP(s, dev, true) }},
		{"monitor", "none", "", only("none", "null")},
		{"parallel", "none", "", only("none", "null")},
		{"qtest", "DEV", "serve the qtest protocol; goes with -accel qtest", func(s *setup, dev string) error { s.qtest = dev; return nil }},
		{"smbios", "type=N[,KEY=VALUE...] or file=FILE", "SMBIOS tables", applySMBIOS},
		{"fw_cfg", "[name=]NAME,file=FILE or string=TEXT", "a file for the firmware", applyFwCfg},
		{"S", "", "do not start the vCPUs until 'cont'", func(s *setup, _ string) error { s.paused = true; return nil }},
		{"no-reboot", "", "end instead of resetting", func(s *setup, _ string) error { s.cfg.NoReboot = true; return nil }},
		{"no-shutdown", "", "pause instead of ending", func(s *setup, _ string) error { s.cfg.NoShutdown = true; return nil }},
		{"action", "reboot=reset|shutdown,shutdown=poweroff|pause,panic=pause|shutdown|exit-failure|none", "what follows what the guest does", applyAction},
		{"nodefaults", "", "no default devices", func(s *setup, _ string) error { s.noDefaults = true; return nil }},
		{"no-user-config", "", "no configuration files: there are none", func(*setup, string) error { return nil }},
		{"nographic", "", "no display, serial port on the terminal", func(s *setup, _ string) error {
			s.nographic, s.display = true, "none"
			return nil
		}},
		{"display", "none", "display", only("none")},
		{"vga", "none", "display adapter", func(s *setup, v string) error { s.vga = v; return only("none")(s, v) }},
		{"nic", "none", "network card", func(s *setup, v string) error { s.nic = v; return only("none")(s, v) }},
		{"net", "none", "", func(s *setup, v string) error { s.nic = v; return only("none")(s, v) }},
		{"no-hpet", "", "no event timer", func(s *setup, _ string) error { return machineProp("hpet")(s, "off") }},
		{"no-acpi", "", "no ACPI", func(s *setup, _ string) error { return machineProp("acpi")(s, "off") }},
		{"pidfile", "FILE", "write the process id to FILE", func(s *setup, f string) error { s.pidFile = f; return nil }},
		{"D", "FILE", "log to FILE instead of standard error", func(s *setup, f string) error { s.logFile = f; return nil }},
		{"d", "ITEM[,ITEM...]", "what to log; 'help' lists items", applyLogItems},
	}
}

// only is an option that takes one of a few words; others are of what is not
// there yet.
func only(words ...string) func(*setup, string) error {
	return func(_ *setup, v string) error {
		if !slices.Contains(words, v) {
			return fmt.Errorf("'%s' is not supported: '%s' is", v, strings.Join(words, "' and '"))
		}
		return nil
	}
}

func machineProp(key string) func(*setup, string) error {
	return func(s *setup, v string) error {
		s.machineOpts = append(s.machineOpts, option.Item{Key: key, Value: v})
		return nil
	}
}

func applyMachine(s *setup, text string) error {
	list := option.Parse(text, "type")
	if list.Help() {
		s.help = printMachines
		return nil
	}
	for _, it := range list {
		if it.Key == "accel" {
			s.accels = strings.Split(it.Value, ":")
			continue
		}
		s.machineOpts = append(s.machineOpts, it)
	}
	return nil
}

func applyAccel(s *setup, text string) error {
	list := option.Parse(text, "accel")
	if list.Help() {
		s.help = func() { fmt.Print("Accelerators supported in govmd:\nkvm\nqtest\n") }
		return nil
	}
	name, _ := list.Get("accel")
	if rest := list.Without("accel"); len(rest) > 0 {
		return fmt.Errorf("Property '%s-accel.%s' not found", name, rest[0].Key)
	}
	s.accels = append(s.accels, name)
	return nil
}

func applyCPU(s *setup, text string) error {
	if option.IsHelp(text) {
		s.help = printCPUs
	}
	s.cfg.CPU = text
	return nil
}

var smpSchema = &option.Schema{Name: "smp-opts", Implied: "cpus", Keys: []option.Key{
	{Name: "cpus", Type: option.Number}, {Name: "maxcpus", Type: option.Number}, {Name: "sockets", Type: option.Number},
	{Name: "dies", Type: option.Number}, {Name: "cores", Type: option.Number}, {Name: "threads", Type: option.Number},
}}

func applySMP(s *setup, text string) error {
	o, err := smpSchema.Parse(text)
	if err != nil {
		return err
	}
	for key, field := range map[string]**uint64{
		"cpus": &s.smp.CPUs, "maxcpus": &s.smp.MaxCPUs, "sockets": &s.smp.Sockets,
		"dies": &s.smp.Dies, "cores": &s.smp.Cores, "threads": &s.smp.Threads,
	} {
		if o.Has(key) {
			v := o.Number(key, 0)
			*field = &v
		}
	}
	return nil
}

func applyMemory(s *setup, text string) error {
	list := option.Parse(text, "size")
	for _, it := range list {
		switch it.Key {
		case "size":
			n, err := option.ParseSizeIn(it.Value, 'M')
			if err != nil {
				return fmt.Errorf("Parameter 'size' expects a non-negative number below 2^64")
			}
			const page = 8192
			if s.ram = (n + page - 1) / page * page; s.ram == 0 {
				return fmt.Errorf("ram size too small: a machine needs at least 1 MiB")
			}
		case "slots", "maxmem":
			return fmt.Errorf("'%s' is not supported: memory cannot be added while the machine runs", it.Key)
		default:
			return fmt.Errorf("Invalid parameter '%s'", it.Key)
		}
	}
	return nil
}

func applyName(s *setup, text string) error {
	for _, it := range option.Parse(text, "guest") {
		switch it.Key {
		case "guest":
			s.cfg.Name = it.Value
		case "debug-threads": // threads are always named
		default:
			return fmt.Errorf("Invalid parameter '%s'", it.Key)
		}
	}
	return nil
}

func applyUUID(s *setup, text string) error {
	id, err := uuid.Parse(text)
	if err != nil || len(text) != 36 {
		return fmt.Errorf("failed to parse UUID string: wrong format")
	}
	s.cfg.UUID = id
	return nil
}

func applyBoot(s *setup, text string) error {
	var pairs []boot.Pair
	for _, it := range option.Parse(text, "order") {
		pairs = append(pairs, boot.Pair{Key: it.Key, Value: it.Value})
	}
	return s.cfg.Boot.Add(pairs)
}

var rtcSchema = &option.Schema{Name: "rtc", Keys: []option.Key{{Name: "base"}, {Name: "clock"}, {Name: "driftfix"}}}

func applyRTC(s *setup, text string) error {
	o, err := rtcSchema.Parse(text)
	if err != nil {
		return err
	}
	for key, field := range map[string]*string{"base": &s.cfg.RTC.Base, "clock": &s.cfg.RTC.Clock, "driftfix": &s.cfg.RTC.DriftFix} {
		if o.Has(key) {
			*field = o.Str(key)
		}
	}
	return nil
}

func applyGlobal(s *setup, text string) error {
	target, value, ok := strings.Cut(text, "=")
	i := strings.LastIndexByte(target, '.')
	if strings.HasPrefix(text, "driver=") {
		o, err := (&option.Schema{Name: "global", Keys: []option.Key{{Name: "driver"}, {Name: "property"}, {Name: "value"}}}).Parse(text)
		if err != nil {
			return err
		}
		s.cfg.Globals = append(s.cfg.Globals, object.Default{Type: o.Str("driver"), Prop: o.Str("property"), Value: o.Str("value")})
		return nil
	}
	if !ok || i <= 0 {
		return fmt.Errorf("expected TYPE.PROPERTY=VALUE")
	}
	s.cfg.Globals = append(s.cfg.Globals, object.Default{Type: target[:i], Prop: target[i+1:], Value: value})
	return nil
}

var actionSchema = &option.Schema{Name: "action", Keys: []option.Key{{Name: "reboot"}, {Name: "shutdown"}, {Name: "panic"}, {Name: "watchdog"}}}

func applyAction(s *setup, text string) error {
	o, err := actionSchema.Parse(text)
	if err != nil {
		return err
	}
	for _, it := range o.List {
		switch it.Key + "=" + it.Value {
		case "reboot=reset":
			s.cfg.NoReboot = false
		case "reboot=shutdown":
			s.cfg.NoReboot = true
		case "shutdown=poweroff":
			s.cfg.NoShutdown = false
		case "shutdown=pause":
			s.cfg.NoShutdown = true
		case "panic=pause", "panic=shutdown", "panic=exit-failure", "panic=none":
			s.cfg.PanicAction = runstate.PanicAction(it.Value)
		default:
			return fmt.Errorf("Parameter '%s' does not accept value '%s'", it.Key, it.Value)
		}
	}
	return nil
}

func applySMBIOS(s *setup, text string) error {
	pairs, err := smbiosPairs(text)
	s.cfg.SMBIOS = append(s.cfg.SMBIOS, pairs)
	return err
}

func applyFwCfg(s *setup, text string) error {
	list := option.Parse(text, "name")
	item := machine.FwCfgItem{}
	item.Name, _ = list.Get("name")
	file, hasFile := list.Get("file")
	str, hasString := list.Get("string")
	if rest := list.Without("name", "file", "string"); len(rest) > 0 {
		return fmt.Errorf("Invalid parameter '%s'", rest[0].Key)
	}
	switch {
	case item.Name == "":
		return fmt.Errorf("name is missing")
	case len(item.Name) > 55:
		return fmt.Errorf("name too long (max. 55 char)")
	case hasFile == hasString:
		return fmt.Errorf("exactly one of file and string must be given")
	case hasString:
		item.Data = []byte(str)
	default:
		data, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		item.Data = data
	}
	s.cfg.FwCfg = append(s.cfg.FwCfg, item)
	return nil
}

func applyLogItems(s *setup, text string) error {
	if option.IsHelp(text) {
		s.help = printLogItems
		return nil
	}
	s.logItems = text
	return nil
}
