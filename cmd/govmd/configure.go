package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"govmd/internal/chardev"
	"govmd/internal/machine"
	"govmd/internal/object"
	"govmd/internal/option"
)

// defaultRAM is what a machine has when -m is not given.
const defaultRAM = 128 << 20

// firmwareDirs are where distributions put firmware.
var firmwareDirs = []string{"/usr/share/seabios", "/usr/share/qemu", "/usr/lib/ipxe/qemu"}

// configure turns what was asked for into the machine's configuration.
func (v *vm) configure() error {
	s := v.setup
	name, _ := s.machineOpts.Get("type")
	board, err := machine.NewBoard(name)
	if err != nil {
		return machineError(name, err)
	}
	info := board.Info()
	for _, it := range s.machineOpts.Without("type") {
		if err := object.SetText(board, it.Key, it.Value); err != nil {
			return &usageError{fmt.Sprintf("-machine %s=%s", it.Key, it.Value),
				fmt.Errorf("%w%s", err, object.Hint(board, err))}
		}
	}
	if name == "" {
		name = info.Name
	}
	if s.smp == (machine.SMPOptions{}) {
		one := uint64(1)
		s.smp.CPUs = &one
	}
	if s.cfg.SMP, err = s.smp.Resolve(name, info.MaxCPUs); err != nil {
		return err
	}
	if s.cfg.Accel, err = s.accels.choose(); err != nil {
		return err
	}
	if err := s.configureMemory(info, board); err != nil {
		return err
	}
	if s.qtest != "" && s.cfg.Accel != "qtest" {
		return &usageError{"-qtest " + s.qtest, errors.New("goes with -accel qtest alone")}
	}
	s.cfg.Board = board
	s.cfg.FirmwareDirs = append(s.cfg.FirmwareDirs, firmwareDirs...)
	s.cfg.Lane, s.cfg.Events, s.cfg.Log = v.lane, &v.bus, v.log
	s.cfg.Chardevs = &v.chardevs
	s.cfg.Objects = &v.objects
	s.cfg.Yanks = &v.yanks
	s.cfg.Files, s.cfg.OpenDrives = &v.fds, v.openDrives
	if err := v.defaults(info); err != nil {
		return err
	}
	v.cfg = s.cfg
	return s.checkMonitors()
}

// checkMonitors refuses monitors on character devices that are not there.
func (s *setup) checkMonitors() error {
	for _, m := range s.monitors {
		if !slices.ContainsFunc(s.chardevs, func(c chardevSetup) bool { return c.ID == m.chardev }) {
			return &usageError{m.given, fmt.Errorf("chardev '%s' not found", m.chardev)}
		}
	}
	return nil
}

func machineError(name string, err error) error {
	var names []string
	for _, i := range machine.Boards() {
		names = append(names, i.Name)
		if i.Alias != "" {
			names = append(names, i.Alias)
		}
	}
	return &usageError{"-machine " + name, fmt.Errorf("%w%s", err, option.DidYouMean(name, names))}
}

// defaults adds the devices that a machine has unless told otherwise.
func (v *vm) defaults(info *machine.Info) error {
	s := v.setup
	if !s.noDefaults && info.RAM && !s.hasSerial() {
		if err := s.defaultSerial(); err != nil {
			return err
		}
	}
	if !s.noDefaults && s.nographic && !s.noMonitor {
		if err := s.defaultMonitor(); err != nil {
			return err
		}
	}
	copy(s.cfg.Serial[:], s.serials)
	if s.debugCon != "" {
		s.cfg.Devices = append(s.cfg.Devices, machine.DeviceConfig{
			Driver: "isa-debugcon", Given: "-debugcon",
			Props: []machine.PropSetting{{Name: "chardev", Text: s.debugCon}},
		})
	}
	return nil
}

// noticeMissing tells of default devices that are left out.
func (v *vm) noticeMissing() {
	s := v.setup
	if s.noDefaults || s.cfg.Board.Info().Alias != "pc" {
		return
	}
	var missing []string
	if s.vga == "" && s.display == "default" {
		missing = append(missing, "display adapter (-vga none)")
	}
	if s.nic == "" {
		missing = append(missing, "network card (-nic none)")
	}
	if len(missing) > 0 {
		v.log.Infof("of this machine's default devices these are not there yet and left out: %s", strings.Join(missing, ", "))
	}
}

// hasSerial reports whether the user has said what serial ports there are.
func (s *setup) hasSerial() bool {
	return len(s.serials) > 0 || slices.ContainsFunc(s.cfg.Devices, func(d machine.DeviceConfig) bool {
		return d.Driver == "isa-serial"
	})
}

// defaultSerial is the first port: with -nographic on the terminal, which it
// shares with the monitor where there is no other.
func (s *setup) defaultSerial() error {
	const id = "serial0"
	cfg := chardev.Config{ID: id, Backend: chardev.NullConfig{}}
	if s.nographic {
		cfg.Backend, cfg.Mux = chardev.StdioConfig{Signal: s.noMonitor}, !s.noMonitor
	}
	s.serials = []string{id}
	if err := s.addChardev("-nographic", cfg); err != nil || !cfg.Mux {
		return err
	}
	s.addMonitor(monitorSetup{chardev: id, human: true, given: "-nographic"})
	return nil
}

// defaultMonitor is what -nographic means where the serial port is elsewhere: the
// terminal is the monitor's, unless another has it.
func (s *setup) defaultMonitor() error {
	if slices.ContainsFunc(s.chardevs, chardevSetup.onTerminal) {
		return nil
	}
	const id = "compat_monitor0"
	s.addMonitor(monitorSetup{chardev: id, human: true, given: "-nographic"})
	return s.addChardev("-nographic", chardev.Config{ID: id, Backend: chardev.StdioConfig{Signal: true}})
}
