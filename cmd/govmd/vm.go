package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/sirupsen/logrus"
	"golang.org/x/sys/unix"

	"govmd/internal/chardev"
	"govmd/internal/event"
	"govmd/internal/lane"
	"govmd/internal/machine"
	"govmd/internal/machine/qtest"
	"govmd/internal/monitor"
	"govmd/internal/object"
	"govmd/internal/option"
	"govmd/internal/qmp"
	"govmd/internal/qmp/qjson"
	"govmd/internal/runstate"
)

// vm is the running program: the machine with what surrounds it.
type vm struct {
	setup    *setup
	cfg      machine.Config
	lane     *lane.Lane
	bus      event.Bus
	log      *logrus.Logger
	chardevs chardev.Registry
	objects  object.Node // /objects
	registry *qmp.Registry
	monitor  *monitor.Monitor
	machine  *machine.Machine
	undo     []func()
}

// newVM turns what was asked for into a configuration.
func newVM(s *setup) (*vm, error) {
	v := &vm{setup: s, lane: lane.New()}
	if err := v.openLog(); err != nil {
		return nil, err
	}
	if err := v.configure(); err != nil {
		return nil, err
	}
	return v, nil
}

func (v *vm) openLog() error {
	var w io.Writer = os.Stderr
	if name := v.setup.logFile; name != "" {
		f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o644)
		if err != nil {
			return &usageError{"-D " + name, err.Error()}
		}
		w = f
	}
	v.log = newLogger(w)
	if v.setup.logItems != "" {
		if err := setLogItems(v.log, v.setup.logItems); err != nil {
			return &usageError{"-d " + v.setup.logItems, err.Error()}
		}
	}
	return nil
}

// defaultRAM is what a machine has when -m is not given.
const defaultRAM = 128 << 20

// firmwareDirs are where distributions put firmware.
var firmwareDirs = []string{"/usr/share/seabios", "/usr/share/qemu", "/usr/lib/ipxe/qemu"}

func (v *vm) configure() error {
	s := v.setup
	typeName, _ := s.machineOpts.Get("type")
	board, err := machine.NewBoard(typeName)
	if err != nil {
		return &usageError{"-machine " + typeName, err.Error()}
	}
	for _, it := range s.machineOpts.Without("type") {
		if err := object.SetText(board, it.Key, it.Value); err != nil {
			return &usageError{"-machine " + it.Key + "=" + it.Value, err.Error() + propertyHint(board, it.Key)}
		}
	}
	info := board.Info()
	if s.smp == (machine.SMPOptions{}) {
		one := uint64(1)
		s.smp.CPUs = &one
	}
	if s.cfg.SMP, err = s.smp.Resolve(typeOr(typeName, info), info.MaxCPUs); err != nil {
		return err
	}
	if s.cfg.Accel, err = chooseAccel(s.accels); err != nil {
		return err
	}
	if s.cfg.RAM = s.ram; s.ram == 0 {
		s.cfg.RAM = defaultRAM
	}
	s.cfg.Board = board
	s.cfg.FirmwareDirs = append(s.cfg.FirmwareDirs, firmwareDirs...)
	s.cfg.Lane, s.cfg.Events, s.cfg.Log = v.lane, &v.bus, v.log
	s.cfg.Chardevs = &v.chardevs
	s.cfg.Objects = func(id string) object.Object { return v.objects.Child(id) }
	v.defaults(info)
	v.cfg = s.cfg
	return nil
}

func propertyHint(o object.Object, key string) string {
	var names []string
	for _, p := range o.Obj().Properties() {
		if p.Name == key {
			return ""
		}
		names = append(names, p.Name)
	}
	if near := option.Nearest(key, names); near != "" {
		return fmt.Sprintf("; did you mean '%s'?", near)
	}
	return ""
}

func typeOr(name string, info *machine.Info) string {
	if name == "" {
		return info.Name
	}
	return name
}

// chooseAccel returns the first accelerator that is there.
func chooseAccel(names []string) (string, error) {
	if len(names) == 0 {
		return "kvm", nil
	}
	for _, name := range names {
		if name == "kvm" || name == "qtest" {
			return name, nil
		}
	}
	return "", fmt.Errorf("invalid accelerator %s: kvm and qtest are supported", names[0])
}

// defaults adds the devices that a machine has unless told otherwise.
func (v *vm) defaults(info *machine.Info) {
	s := v.setup
	if len(s.serials) == 0 && !s.noDefaults && info.RAM {
		backend, mux := any(chardev.NullConfig{}), false
		if s.nographic && !s.usesStdio() {
			backend, mux = chardev.StdioConfig{}, true
		}
		s.chardevs = append(s.chardevs, chardev.Config{ID: "serial0", Backend: backend, Mux: mux})
		s.serials = []string{"serial0"}
	}
	copy(s.cfg.Serial[:], s.serials)
	if s.debugCon != "" {
		s.cfg.Devices = append(s.cfg.Devices, machine.DeviceConfig{Driver: "isa-debugcon",
			Props: []machine.PropSetting{{Name: "chardev", Text: s.debugCon}}})
	}
	s.cfg.FirmwareSerial = s.nographic
	if !s.noDefaults && info.Alias == "pc" {
		var missing []string
		if s.vga == "" && s.display == "default" {
			missing = append(missing, "display adapter (-vga none)")
		}
		if s.nic == "" {
			missing = append(missing, "network card (-nic none)")
		}
		missing = append(missing, "CD-ROM and floppy drive (-nodefaults)")
		v.log.Infof("this machine's default %s: not there yet and left out", join(missing))
	}
}

func (s *setup) usesStdio() bool {
	for _, c := range s.chardevs {
		if _, ok := c.Backend.(chardev.StdioConfig); ok {
			return true
		}
	}
	return false
}

func join(words []string) string {
	switch len(words) {
	case 0:
		return ""
	case 1:
		return words[0]
	}
	text := words[0]
	for _, w := range words[1 : len(words)-1] {
		text += ", " + w
	}
	return text + " and " + words[len(words)-1]
}

func (v *vm) onClose(fn func()) { v.undo = append(v.undo, fn) }

// build makes the machine and everything around it. After an error close
// leaves nothing behind.
func (v *vm) build() error {
	go v.lane.Run()
	if err := v.writePIDFile(); err != nil {
		return err
	}
	for _, c := range v.setup.chardevs {
		d, err := v.chardevs.Add(context.Background(), c)
		if err != nil {
			return &usageError{"chardev " + c.ID, err.Error()}
		}
		d.SetMuxHooks(chardev.MuxHooks{Quit: func() { v.requestEnd(runstate.CauseHostUI) }})
	}
	v.onClose(v.chardevs.Close)
	if err := v.onLane(v.makeObjects); err != nil {
		return err
	}
	err := v.onLane(func() (err error) {
		v.machine, err = machine.New(v.cfg)
		return err
	})
	if err != nil {
		return err
	}
	if err := v.serveMonitors(); err != nil {
		return err
	}
	if err := v.serveQtest(); err != nil {
		return err
	}
	if v.setup.paused || v.machine.Accel == nil {
		return nil
	}
	return v.onLane(v.machine.Run.Start)
}

func (v *vm) onLane(fn func() error) (err error) {
	if e := v.lane.Do(context.Background(), func() { err = fn() }); e != nil {
		return e
	}
	return err
}

// makeObjects creates what -object names.
func (v *vm) makeObjects() error {
	for _, kv := range v.setup.objects {
		root := kv.Doc.Root()
		typeName, id := root.Get("qom-type").Text(), root.Get("id").Text()
		if err := v.makeObject(kv, typeName, id); err != nil {
			return &usageError{fmt.Sprintf("-object %s,id=%s", typeName, id), err.Error()}
		}
	}
	return nil
}

func (v *vm) makeObject(kv option.Keyval, typeName, id string) error {
	t := object.Lookup(typeName)
	if t == nil || t.Abstract || !t.UserCreatable || t.IsA("device") {
		return fmt.Errorf("invalid object type: %s", typeName)
	}
	if err := option.CheckID("id", id); err != nil {
		return err
	}
	o, err := object.New(typeName)
	if err != nil {
		return err
	}
	for m := kv.Doc.Root().First(); m.Exists(); m = m.Next() {
		name := string(m.Key())
		if name == "qom-type" || name == "id" {
			continue
		}
		if m.Kind() == qjson.String && !kv.JSON {
			err = object.SetText(o, name, m.Text())
		} else {
			err = object.Set(o, name, scalar(m))
		}
		if err != nil {
			return err
		}
	}
	if c, ok := o.(interface{ Complete() error }); ok {
		if err := c.Complete(); err != nil {
			return err
		}
	}
	if err := object.Add(&v.objects, o, id); err != nil {
		return fmt.Errorf("attempt to add duplicate object '%s'", id)
	}
	o.Obj().Freeze()
	return nil
}

// serveMonitors puts the commands together and attaches the monitors.
func (v *vm) serveMonitors() error {
	if err := v.onLane(func() error { return object.Add(v.machine.Root, &v.objects, "objects") }); err != nil {
		return err
	}
	v.registry = qmp.NewRegistry()
	v.monitor = monitor.New(monitor.Config{
		Registry: v.registry, Lane: v.lane, Bus: &v.bus, Package: "govmd-" + version,
	})
	v.registry.Add(v.monitor.Commands()...)
	v.registry.Add(v.machine.Commands()...)
	v.registry.Add(v.machine.Run.Commands()...)
	v.registry.AddEvents(runstate.Events()...)
	v.registry.AddEvents(machine.Events()...)
	for _, m := range v.setup.monitors {
		if _, err := v.chardevs.Attach(m.chardev, v.monitor.Frontend(monitor.Options{Pretty: m.pretty})); err != nil {
			return &usageError{"-mon chardev=" + m.chardev, err.Error()}
		}
	}
	v.onClose(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		v.monitor.Close(ctx)
	})
	return nil
}

// serveQtest attaches the qtest server to the socket that -qtest names.
func (v *vm) serveQtest() error {
	text := v.setup.qtest
	if text == "" {
		return nil
	}
	if v.cfg.Accel != "qtest" {
		return &usageError{"-qtest " + text, "goes with -accel qtest alone"}
	}
	cfg, _, err := chardev.ParseShort("qtest", text)
	if err == nil {
		_, err = v.chardevs.Add(context.Background(), cfg)
	}
	if err == nil {
		_, err = v.chardevs.Attach("qtest", qtest.Frontend(qtest.New(v.machine.QtestTarget())))
	}
	if err != nil {
		return &usageError{"-qtest " + text, err.Error()}
	}
	return nil
}

func (v *vm) writePIDFile() error {
	name := v.setup.pidFile
	if name == "" {
		return nil
	}
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return &usageError{"-pidfile " + name, err.Error()}
	}
	lock := unix.Flock_t{Type: unix.F_WRLCK}
	if err := unix.FcntlFlock(f.Fd(), unix.F_SETLK, &lock); err != nil {
		return &usageError{"-pidfile " + name, "another process uses it"}
	}
	if err := f.Truncate(0); err == nil {
		_, err = fmt.Fprintf(f, "%d\n", os.Getpid())
	}
	v.onClose(func() { _ = os.Remove(name) })
	if err != nil {
		return &usageError{"-pidfile " + name, err.Error()}
	}
	return nil
}

func (v *vm) requestEnd(cause runstate.Cause) {
	if v.machine != nil {
		v.machine.Run.RequestShutdown(cause)
	}
}

// wait serves until the machine is over and returns the exit status.
func (v *vm) wait() (code int, err error) {
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	signal.Ignore(syscall.SIGPIPE)
	for {
		select {
		case sig := <-signals:
			v.log.Infof("terminating on signal %d", sig.(syscall.Signal))
			v.requestEnd(runstate.CauseHostSignal)
		case cause := <-v.machine.Ended():
			if code, ok := v.machine.Run.ExitCode(); ok {
				return code, nil
			}
			switch {
			case cause == runstate.CauseHostError:
				return 1, errors.New("the machine ended because of the error above")
			case cause == runstate.CauseGuestPanic && v.cfg.PanicAction == runstate.PanicExitFailure:
				return 1, nil
			}
			return 0, nil
		}
	}
}

// close ends everything in the reverse order of its making: the monitors last
// of what clients see, so that they get the events of the end.
func (v *vm) close() {
	if v.machine != nil {
		_ = v.onLane(func() error { v.machine.Close(); return nil })
	}
	for i := len(v.undo) - 1; i >= 0; i-- {
		v.undo[i]()
	}
	v.lane.Close()
	<-v.lane.Done()
}
