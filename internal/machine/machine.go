// Package machine makes a virtual machine out of its parts: the board with its
// devices, the vCPUs, guest memory, firmware or kernel.
package machine

import (
	"context"
	"fmt"
	"os"
	"slices"
	"sync"

	"github.com/sirupsen/logrus"

	"govmd/internal/block"
	"govmd/internal/chardev"
	"govmd/internal/clock"
	"govmd/internal/device"
	"govmd/internal/device/fwcfg"
	"govmd/internal/device/rtc"
	"govmd/internal/display/input"
	"govmd/internal/machine/accel"
	"govmd/internal/machine/boot"
	"govmd/internal/machine/cpu"
	"govmd/internal/memory"
	"govmd/internal/memory/hostmem"
	"govmd/internal/object"
	"govmd/internal/runstate"
	"govmd/internal/state"
)

// Machine is one virtual machine. Its methods run on the control lane unless
// they say otherwise.
type Machine struct {
	Config
	Env *device.Env
	// Blocks are the images, drives and media.
	Blocks *block.Graph
	Accel  accel.Accel
	Run    *runstate.Controller
	Root   *object.Node

	ram         []*hostmem.Backend // in the order in which the guest has it
	model       *cpu.Model
	mem, io     *memory.Space
	cpus        []*VCPU
	boot        bootSource // nil: firmware, or nothing, starts the vCPUs at the reset vector
	ended       chan runstate.Cause
	buses       []*device.Bus // those that no device provides
	loaders     []*boot.Plan
	fwcfg       *fwcfg.Device    // nil on a board without
	romImage    romImage         // the board's firmware; none where the size is 0
	usedGlobals map[int]bool     // by index
	queries     sync.WaitGroup   // answers to query-cpus that are on their way
	current     map[uint64]int64 // the vCPU that a monitor session has chosen; on the lane
	living      context.Context  // ends when the machine is being closed
	die         context.CancelFunc
	closing     sync.Once
	undo        []func()
	refusals    refusals
}

// bootSource puts a kernel in place at every reset and sets the boot vCPU to
// its entry point.
type bootSource interface {
	// reset follows a reset of all devices and vCPUs.
	reset() error
	// wake follows one that leaves memory alone, after suspend to RAM.
	wake() error
}

// New builds a machine, stopped in state prelaunch and reset.
func New(cfg Config) (*Machine, error) {
	m := &Machine{Config: cfg, Root: &object.Node{}, ended: make(chan runstate.Cause, 1), usedGlobals: map[int]bool{}}
	m.living, m.die = context.WithCancel(context.Background())
	if err := m.make(); err != nil {
		m.Close()
		return nil, err
	}
	return m, nil
}

func (m *Machine) make() error {
	cfg := &m.Config
	clocks, err := clock.New()
	if err != nil {
		return err
	}
	m.onClose(clocks.Close)
	m.Run = runstate.New(cfg.Lane, cfg.Events, clocks.Virtual)
	m.Run.SetPolicy(cfg.Policy)
	sys := m.memorySystem()
	m.mem = sys.NewSpace("memory", 0)
	m.io = sys.NewSpace("I/O", 1<<16)
	m.Env = &device.Env{
		Clock: clocks, Lane: cfg.Lane, Events: cfg.Events, Run: m.Run, State: &state.Registry{}, Log: cfg.Log,
		Memory: sys, Mem: m.mem, IO: m.io, Root: m.Root,
		Chardev: func(id string, fe chardev.Frontend) (chardev.Port, error) { return cfg.Chardevs.Attach(id, fe) },
		Object:  cfg.Objects.Find, CPUs: cfg.SMP.CPUs, Net: cfg.Net,
	}
	m.Env.Input = input.New(m.Run, clocks.Virtual)
	m.onClose(m.Env.Input.Close)
	m.makeBlocks(clocks)
	if err := object.Add(m.Root, cfg.Board, "machine"); err != nil {
		return err
	}
	m.describeBoard()
	for _, name := range []string{"unattached", "peripheral", "peripheral-anon"} {
		m.Root.Container("/machine/" + name)
	}
	if err := m.registerState(); err != nil {
		return err
	}
	if err := m.checkBoot(); err != nil {
		return err
	}
	if err := m.chooseAccel(); err != nil {
		return err
	}
	if cfg.OpenDrives != nil {
		more, err := cfg.OpenDrives(m.Blocks)
		if err != nil {
			return err
		}
		m.Devices = append(more, m.Devices...)
	}
	return m.build()
}

func (m *Machine) onClose(fn func()) { m.undo = append(m.undo, fn) }

// Ended delivers why the machine is over. It may be received from anywhere.
func (m *Machine) Ended() <-chan runstate.Cause { return m.ended }

// Log returns where the machine logs.
func (m *Machine) log() *logrus.Logger { return m.Config.Log }

func (m *Machine) build() error {
	hooks := runstate.Hooks{
		Reset: m.reset, Powerdown: m.powerdown,
		End: func(c runstate.Cause) { m.ended <- c }, Watchdog: m.watchdog, Ready: m.ready,
	}
	if s, ok := m.Board.(sleeper); ok {
		hooks.Suspend, hooks.Wakeup = s.sleep, func(r runstate.WakeReason) { m.wakeup(s, r) }
	}
	if m.Accel == nil {
		m.Run.Attach(nil, hooks)
		return m.Board.build(m)
	}
	m.Run.Attach(m.Accel, hooks)
	if err := m.Accel.Wire(m.Env.Memory, m.mem, m.io, m.mapRefused); err != nil {
		return err
	}
	if err := m.makeVCPUs(); err != nil {
		return err
	}
	if err := m.makeRAM(); err != nil {
		return err
	}
	if err := m.Board.build(m); err != nil {
		return err
	}
	if err := m.plugConfigured(); err != nil {
		return err
	}
	if err := m.Board.finish(m); err != nil {
		return err
	}
	m.Env.Running = true
	if err := m.coldReset(); err != nil {
		return err
	}
	return m.mapIsWhole()
}

// plug makes a board's own device part of the machine.
func (m *Machine) plug(bus *device.Bus, d device.Device) error {
	device.PlaceUnattached(m.Env, d)
	if err := m.applyDefaults(d); err != nil {
		return err
	}
	return device.Plug(m.Env, bus, d)
}

// plugNamed is plug for a device with a place of its own below /machine.
func (m *Machine) plugNamed(name string, bus *device.Bus, d device.Device) error {
	if err := object.Add(m.Board, d, name); err != nil {
		return err
	}
	return m.plug(bus, d)
}

// addBus makes a bus that no device provides part of the machine.
func (m *Machine) addBus(b *device.Bus) {
	m.buses = append(m.buses, b)
	_ = object.Add(m.Root.Container("/machine/unattached"), b, b.Name()) // the name is free
}

// plugChips plugs the accelerator's interrupt controllers and timer.
func (m *Machine) plugChips(pic, pit bool) error {
	return m.Accel.PlugChips(m.Env, pic, pit, m.applyDefaults)
}

// create returns a device of the board's own.
func (m *Machine) create(typeName string) (device.Device, error) { return device.Create(typeName, "") }

// applyDefaults sets what the machine's version and -global say of d.
func (m *Machine) applyDefaults(d device.Device) error {
	if err := object.ApplyDefaults(d, m.Board.common().info.Compat, nil); err != nil {
		return err
	}
	err := object.ApplyDefaults(d, m.Globals, func(i int) { m.usedGlobals[i] = true })
	if err != nil {
		return fmt.Errorf("%w%s", err, object.Hint(d, err))
	}
	return nil
}

// CheckGlobals warns of every -global that can mean nothing here: its type is
// unknown, or the board alone makes devices of that type and has made none.
func (m *Machine) CheckGlobals() {
	for i, g := range m.Globals {
		if m.usedGlobals[i] {
			continue
		}
		switch t := object.Lookup(g.Type); {
		case t == nil || !t.IsA("device"):
			m.log().Warnf("global %s.%s has invalid class name", g.Type, g.Prop)
		case !t.UserCreatable && !t.Abstract:
			m.log().Warnf("global %s.%s=%s not used", g.Type, g.Prop, g.Value)
		}
	}
}

// ramName is the name of a board's RAM.
func ramName(b Board) string {
	if r, ok := b.(interface{ ramName() string }); ok {
		return r.ramName()
	}
	return "ram"
}

// reset is the run state's hook: it cannot fail, so what cannot be loaded again
// (a kernel file that has gone) ends the machine.
func (m *Machine) reset(runstate.Cause) {
	if r := m.rtc(); r != nil && m.Boot.Once != "" {
		m.orEnd("reset", m.setBootDevices(r, false))
	}
	m.orEnd("reset", m.coldReset())
}

// rtc returns the clock of the board "pc"; nil on others.
func (m *Machine) rtc() *rtc.Device {
	if b, ok := m.Board.(interface{ clock() *rtc.Device }); ok {
		return b.clock()
	}
	return nil
}

func (m *Machine) orEnd(what string, err error) {
	if err != nil {
		m.log().Errorf("%s: %v", what, err)
		m.Run.RequestShutdown(runstate.CauseHostError)
	}
}

// coldReset brings everything into the state after power-on, with what starts
// the guest in place.
func (m *Machine) coldReset() error {
	if err := m.resetDevices(); err != nil {
		return err
	}
	if m.boot != nil {
		if err := m.boot.reset(); err != nil {
			return err
		}
	}
	return m.runLoaders()
}

func (m *Machine) resetDevices() error {
	device.Reset(m.Env.Roots()...)
	for _, c := range m.cpus {
		if err := c.reset(); err != nil {
			return err
		}
	}
	return nil
}

func (m *Machine) powerdown() {
	if p, ok := m.Board.(powerer); ok {
		p.pressPowerButton()
	}
}

func (m *Machine) wakeup(s sleeper, r runstate.WakeReason) {
	err := m.resetDevices()
	if err == nil && m.boot != nil {
		err = m.boot.wake()
	}
	m.orEnd("waking up", err)
	s.wake(r)
}

// Close ends the machine: vCPUs, devices, memory. It runs when the lane has
// ended, or on it.
func (m *Machine) Close() {
	m.closing.Do(func() {
		m.die()
		if m.Run != nil {
			m.Run.Close()
		}
		if m.Accel != nil {
			m.Accel.Pause()
		}
		if m.Env != nil {
			for _, d := range slices.Backward(m.Env.Roots()) {
				device.Unplug(d)
			}
		}
		if m.Accel != nil {
			m.Accel.Close()
		}
		m.queries.Wait()
		for i := len(m.undo) - 1; i >= 0; i-- {
			m.undo[i]()
		}
	})
}

// FindFirmware returns the path of a firmware file: as named, or in the first
// firmware directory that has it.
func (m *Machine) FindFirmware(name string) (string, error) {
	if path, ok := m.findFile(name); ok {
		return path, nil
	}
	return "", fmt.Errorf("could not load firmware '%s': it is neither a file nor in %v; install the package seabios or give its directory with -L",
		name, m.FirmwareDirs)
}

// findFile returns the path of a file: as named, or in the first firmware
// directory that has it.
func (m *Machine) findFile(name string) (path string, ok bool) {
	if _, err := os.Stat(name); err == nil {
		return name, true
	}
	for _, dir := range m.FirmwareDirs {
		path := dir + "/" + name
		if _, err := os.Stat(path); err == nil {
			return path, true
		}
	}
	return "", false
}
