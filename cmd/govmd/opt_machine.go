package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/google/uuid"

	"govmd/internal/option"
	"govmd/internal/qmp/qjson"
)

// setMachine gives a machine property a value.
func (s *setup) setMachine(key, value string) {
	s.machineOpts = append(s.machineOpts, option.Item{Key: key, Value: value})
}

func machineProp(key string) func(*setup, string, string) error {
	return func(s *setup, _, v string) error {
		s.setMachine(key, v)
		return nil
	}
}

func machineFile(key string) func(*setup, string, string) error {
	return func(s *setup, _, v string) error {
		if v == "" {
			return errors.New("the file's name is empty")
		}
		s.setMachine(key, v)
		return nil
	}
}

func applyMachine(s *setup, _, text string) error {
	if option.IsHelp(text) {
		s.help = printMachines
		return nil
	}
	kv, err := option.ParseKeyval(text, "type")
	if err != nil {
		return err
	}
	root := kv.Doc.Root()
	if kv.Help {
		name := root.Get("type")
		s.help = printMachines
		if name.Exists() {
			s.help = func() error { return printMachineProperties(name.Text()) }
		}
		return nil
	}
	for m := root.First(); m.Exists(); m = m.Next() {
		// Once there were underscores in these names.
		if err := s.machineMember(strings.ReplaceAll(string(m.Key()), "_", "-"), m); err != nil {
			return err
		}
	}
	return nil
}

// machineMember takes one key of -machine; some have options of their own too.
func (s *setup) machineMember(key string, v qjson.Value) error {
	if v.Kind() != qjson.String {
		for m := v.First(); m.Exists(); m = m.Next() {
			name := string(m.Key())
			if m.Kind() != qjson.String {
				return fmt.Errorf("Parameter '%s.%s' is unexpected", key, name)
			}
			if err := s.machineSub(key, name, m.Text()); err != nil {
				return err
			}
		}
		return nil
	}
	switch text := v.Text(); key {
	case "accel":
		s.accels.machine = strings.Split(text, ":")
	case "kernel-irqchip":
		return checkIRQChip(text)
	default:
		s.setMachine(key, text)
	}
	return nil
}

func (s *setup) machineSub(key, name, text string) error {
	list := option.List{{Key: name, Value: text}}
	switch key {
	case "smp":
		return s.smpOptions(list)
	case "memory":
		if name == "max-size" {
			list[0].Key = "maxmem"
		}
		return s.memoryOptions(list)
	case "boot":
		return s.bootOptions(list)
	}
	return fmt.Errorf("Parameter '%s.%s' is unexpected", key, name)
}

// accelChoice is what was said about accelerators, in each of the ways to.
type accelChoice struct {
	accel   []string // -accel, in order
	machine []string // -machine accel=A:B, -enable-kvm
}

var knownAccels = []string{"kvm", "qtest"}

// choose returns the first accelerator that there is.
func (c *accelChoice) choose() (string, error) {
	names := slices.Concat(c.accel, c.machine)
	switch {
	case len(names) == 0:
		return "kvm", nil
	case c.accel != nil && c.machine != nil:
		return "", errors.New(`The -accel and "-machine accel=" options are incompatible`)
	}
	for _, name := range names {
		if slices.Contains(knownAccels, name) {
			return name, nil
		}
	}
	return "", fmt.Errorf("invalid accelerator %s: %s are there", names[0], strings.Join(knownAccels, " and "))
}

func applyAccel(s *setup, _, text string) error {
	list := option.Parse(text, "accel")
	name, _ := list.Get("accel")
	if option.IsHelp(name) {
		s.help = func() error {
			return printf("Accelerators supported in %s:\n%s\n", program(), strings.Join(knownAccels, "\n"))
		}
		return nil
	}
	if name == "" {
		return errors.New("Parameter 'accel' is missing")
	}
	for _, it := range list.Without("accel") {
		if it.Key != "kernel-irqchip" || name != "kvm" {
			return fmt.Errorf("Property '%s-accel.%s' not found", name, it.Key)
		}
		if err := checkIRQChip(it.Value); err != nil {
			return err
		}
	}
	s.accels.accel = append(s.accels.accel, name)
	return nil
}

func checkIRQChip(text string) error {
	switch text {
	case "on":
		return nil
	case "off", "split":
		return fmt.Errorf("kernel-irqchip=%s is not supported: with KVM the interrupt controllers are KVM's", text)
	}
	return fmt.Errorf("Parameter 'kernel-irqchip' does not accept value '%s'", text)
}

func applyEnableKVM(s *setup, _, _ string) error {
	s.accels.machine = []string{"kvm"}
	return nil
}

func applyCPU(s *setup, _, text string) error {
	if option.IsHelp(text) {
		s.help = printCPUs
		return nil
	}
	if model, _, _ := strings.Cut(text, ","); model == "" {
		return errors.New("the model is missing: -cpu help lists those that there are")
	}
	s.cfg.CPU = text
	return nil
}

var smpSchema = &option.Schema{Name: "smp-opts", Implied: "cpus", Keys: []option.Key{
	{Name: "cpus", Type: option.Number, Help: "vCPUs at the start"},
	{Name: "maxcpus", Type: option.Number, Help: "vCPUs that there may become"},
	{Name: "sockets", Type: option.Number}, {Name: "dies", Type: option.Number, Help: "in a socket"},
	{Name: "cores", Type: option.Number, Help: "in a die"}, {Name: "threads", Type: option.Number, Help: "in a core"},
}}

func applySMP(s *setup, _, text string) error {
	list := option.Parse(text, smpSchema.Implied)
	if first, _ := list.Get("cpus"); list.Help() || option.IsHelp(first) {
		s.help = func() error { return printf("%s", smpSchema.HelpText()) }
		return nil
	}
	return s.smpOptions(list)
}

func (s *setup) smpOptions(list option.List) error {
	if _, ok := list.Get("clusters"); ok {
		return errors.New("clusters not supported by this machine's CPU topology")
	}
	o, err := smpSchema.Check(list)
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

func applyMemory(s *setup, _, text string) error { return s.memoryOptions(option.Parse(text, "size")) }

// memorySchema has sizes as text: they are in MiB unless they have a suffix.
var memorySchema = &option.Schema{Name: "memory", Implied: "size", Keys: []option.Key{
	{Name: "size"}, {Name: "slots", Type: option.Number}, {Name: "maxmem"},
}}

// memoryPage is what the size of memory is rounded up to.
const memoryPage = 8192

func (s *setup) memoryOptions(list option.List) error {
	o, err := memorySchema.Check(list)
	if err != nil {
		return err
	}
	size := func(key string) (uint64, error) {
		n, err := option.ParseSizeIn(o.Str(key), 'M')
		if errors.Is(err, option.ErrRange) {
			return 0, fmt.Errorf("Value '%s' is out of range for parameter '%s'", o.Str(key), key)
		}
		if err != nil {
			return 0, fmt.Errorf("Parameter '%s' expects a non-negative number below 2^64; "+
				"optional suffix k, M, G, T, P or E means kilo-, mega-, giga-, tera-, peta- and exabytes", key)
		}
		return n, nil
	}
	if o.Has("size") {
		n, err := size("size")
		if err != nil {
			return err
		}
		if n > 1<<62 {
			return fmt.Errorf("ram size too large: %s", o.Str("size"))
		}
		s.ram = (n + memoryPage - 1) / memoryPage * memoryPage
	}
	if o.Has("maxmem") {
		if s.maxRAM, err = size("maxmem"); err != nil {
			return err
		}
	}
	s.slots = o.Number("slots", 0)
	return nil
}

// maxSlots is how many pieces of memory ACPI has names for.
const maxSlots = 256

// checkMemory refuses what -m says of memory to be added.
func (s *setup) checkMemory() error {
	switch {
	case s.maxRAM == 0 && s.slots > 0:
		return errors.New("slots specified but no max-size")
	case s.maxRAM == 0:
		return nil
	case s.maxRAM < s.cfg.RAM:
		return fmt.Errorf("invalid value of maxmem: maximum memory size (0x%x) must be at least the initial memory size (0x%x)", s.maxRAM, s.cfg.RAM)
	case s.slots > 0 && s.maxRAM == s.cfg.RAM:
		return fmt.Errorf("invalid value of maxmem: memory slots were specified but maximum memory size (0x%x) is equal to the initial memory size (0x%x)",
			s.maxRAM, s.cfg.RAM)
	case s.slots > maxSlots:
		return fmt.Errorf("unsupported amount of memory slots: %d", s.slots)
	}
	s.cfg.MaxRAM, s.cfg.Slots = s.maxRAM, s.slots
	return nil
}

var nameSchema = &option.Schema{Name: "name", Implied: "guest", Keys: []option.Key{
	{Name: "guest"}, {Name: "process"}, {Name: "debug-threads", Type: option.Bool},
}}

func applyName(s *setup, _, text string) error {
	o, err := nameSchema.Check(option.Parse(text, nameSchema.Implied))
	if err != nil {
		return err
	}
	if o.Has("guest") {
		s.cfg.Name = o.Str("guest")
		s.nameMessages()
	}
	if o.Has("process") {
		s.processName = o.Str("process")
	}
	return nil // threads have names, whatever debug-threads is
}

func applyUUID(s *setup, _, text string) error {
	id, err := uuid.Parse(text)
	if err != nil || len(text) != 36 {
		return errors.New("failed to parse UUID string: wrong format")
	}
	s.cfg.UUID = id
	return nil
}

func applyFirmwareDir(s *setup, _, dir string) error {
	if option.IsHelp(dir) {
		dirs := append(slices.Clone(s.cfg.FirmwareDirs), firmwareDirs...)
		s.help = func() error { return printf("%s\n", strings.Join(dirs, "\n")) }
		return nil
	}
	s.cfg.FirmwareDirs = append(s.cfg.FirmwareDirs, dir)
	return nil
}
