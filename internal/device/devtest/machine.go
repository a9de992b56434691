// Package devtest builds machines without vCPUs, for tests that drive devices
// register by register: the virtual clock moves only by Advance, interrupt pins
// and MSI messages are recorded, and character devices are scripted.
package devtest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"testing"
	"time"

	"github.com/sirupsen/logrus"

	"govmd/internal/block"
	"govmd/internal/chardev"
	"govmd/internal/clock"
	"govmd/internal/device"
	"govmd/internal/device/isa"
	"govmd/internal/display/input"
	"govmd/internal/event"
	"govmd/internal/lane"
	"govmd/internal/memory"
	"govmd/internal/net"
	"govmd/internal/object"
	"govmd/internal/runstate"
	"govmd/internal/state"
)

// RAMSize is how much RAM a new machine has, at guest-physical address 0.
const RAMSize = 4 << 20

// Machine is a machine for tests. It runs (its state is "running"), but nothing
// executes in it. All methods are for the test's own goroutine.
type Machine struct {
	TB  testing.TB
	Env *device.Env

	RAM *memory.Block // RAMSize bytes at address 0
	ISA *device.Bus   // an ISA bus that maps in the port space and the memory space
	IRQ [16]*Probe    // the ISA bus's interrupt inputs
	MSI *MSI          // records message-signalled interrupts

	// Ticks says that the machine has a timer that runs from a reset on, as the
	// PC's does: Twin expects no rest of it.
	Ticks bool

	chardevs map[string]*Chardev
	objects  map[string]object.Object
	actions  []Action
	settlers []func()
	watches  []func() any

	mu     sync.Mutex
	calls  []string
	events []event.Event
}

// New returns a running machine that is taken down at the end of the test.
func New(tb testing.TB) *Machine {
	tb.Helper()
	clocks, err := clock.New()
	if err != nil {
		tb.Fatal(err)
	}
	clocks.Virtual.SetManual()
	log := logrus.New()
	log.SetOutput(io.Discard)
	log.SetLevel(logrus.DebugLevel)
	m := &Machine{
		TB:       tb,
		MSI:      &MSI{},
		chardevs: map[string]*Chardev{},
		objects:  map[string]object.Object{},
	}
	l := lane.New()
	bus := &event.Bus{}
	bus.Subscribe(func(s event.Stamped) {
		m.mu.Lock()
		m.events = append(m.events, s.Event)
		m.mu.Unlock()
	})
	mem := memory.NewSystem()
	m.Env = &device.Env{
		Clock:   clocks,
		Lane:    l,
		Events:  bus,
		Run:     runstate.New(l, bus, clocks.Virtual),
		State:   &state.Registry{},
		Log:     log,
		Memory:  mem,
		Mem:     mem.NewSpace("memory", 0),
		IO:      mem.NewSpace("I/O", 1<<16),
		MSI:     m.MSI,
		Net:     net.New(net.Env{Lane: l, Bus: bus}),
		Chardev: m.attach,
		Object:  func(id string) object.Object { return m.objects[id] },
		Root:    &object.Node{},
		CPUs:    2,
	}
	m.Env.Input = input.New(m.Env.Run, clocks.Virtual)
	m.Env.Blocks = block.NewGraph(block.Env{Bus: bus, RunState: m.Env.Run, Clock: clocks})
	m.Env.Run.Attach(nil, runstate.Hooks{
		Reset:     func(c runstate.Cause) { m.record("reset " + string(c)) },
		Powerdown: func() { m.record("powerdown") },
		Suspend:   func() { m.record("suspend") },
		Wakeup:    func(r runstate.WakeReason) { m.record("wakeup " + string(r)) },
		End:       func(c runstate.Cause) { m.record("end " + string(c)) },
		Watchdog:  func(a runstate.WatchdogAction) { m.record("watchdog " + string(a)) },
	})
	m.RAM, err = mem.NewBlock(memory.BlockConfig{Name: "ram", Size: RAMSize})
	if err != nil {
		tb.Fatal(err)
	}
	ram := mem.NewRAM("ram", m.RAM, 0, RAMSize)
	if err := m.Env.Mem.Root().Add(0, ram); err != nil {
		tb.Fatal(err)
	}
	var pins [16]*device.Pin
	for i := range m.IRQ {
		m.IRQ[i] = NewProbe(fmt.Sprintf("isa %d", i))
		pins[i] = m.IRQ[i].Pin
	}
	m.ISA = device.NewRootBus(isa.BusKind, "isa.0", isa.New(m.Env.IO.Root(), m.Env.Mem.Root(), pins))
	go l.Run()
	tb.Cleanup(func() {
		if len(m.Env.Blocks.Backends()) > 0 {
			m.Do(m.closeDrives)
		}
		l.Close()
		<-l.Done()
		m.Env.Input.Close()
		clocks.Close()
		m.Env.Mem.Root().Remove(ram)
		if err := m.RAM.Close(); err != nil {
			tb.Error(err)
		}
	})
	m.Do(func() {
		if err := m.Env.Run.Start(); err != nil {
			tb.Error(err)
		}
	})
	return m
}

// Do runs fn on the control lane and waits for it and for what was posted before.
func (m *Machine) Do(fn func()) {
	m.TB.Helper()
	if err := m.Env.Lane.Do(context.Background(), fn); err != nil {
		m.TB.Fatal(err)
	}
}

// Sync waits until the control lane has done what was posted to it.
func (m *Machine) Sync() { m.Do(func() {}) }

// Plug creates a device of the given type, sets props (name, value, name,
// value..., as option text), plugs it into bus and returns it. id may be empty.
func (m *Machine) Plug(bus *device.Bus, typeName, id string, props ...string) device.Device {
	m.TB.Helper()
	d, err := m.TryPlug(bus, typeName, id, props...)
	if err != nil {
		m.TB.Fatalf("%s: %v", typeName, err)
	}
	return d
}

// TryPlug is Plug for devices that may be refused.
func (m *Machine) TryPlug(bus *device.Bus, typeName, id string, props ...string) (device.Device, error) {
	d, err := m.Create(typeName, id, props...)
	if err != nil {
		return nil, err
	}
	return d, m.Insert(bus, d)
}

// Create returns a device with the given properties, for Insert.
func (m *Machine) Create(typeName, id string, props ...string) (device.Device, error) {
	d, err := device.Create(typeName, id)
	if err != nil {
		return nil, err
	}
	for i := 0; i+1 < len(props); i += 2 {
		if err := object.SetText(d, props[i], props[i+1]); err != nil {
			return nil, err
		}
	}
	return d, nil
}

// Insert makes a device that the test has created part of the machine.
func (m *Machine) Insert(bus *device.Bus, d device.Device) (err error) {
	m.Do(func() { err = device.Plug(m.Env, bus, d) })
	return err
}

// Unplug takes a device out of the machine.
func (m *Machine) Unplug(d device.Device) { m.Do(func() { device.Unplug(d) }) }

// Reset resets the devices, as a reset of the machine does.
func (m *Machine) Reset(devs ...device.Device) { m.Do(func() { device.Reset(devs...) }) }

// Devices returns all realized devices of the machine.
func (m *Machine) Devices() []device.Device {
	var list []device.Device
	object.Walk(m.Env.Root, func(o object.Object) {
		if d, ok := o.(device.Device); ok && d.Dev().Realized() {
			list = append(list, d)
		}
	})
	return list
}

// AddObject makes a user-created object known to devices by its ID.
func (m *Machine) AddObject(id string, o object.Object) { m.objects[id] = o }

// Advance lets d of guest time pass: timers that expire on the way run.
func (m *Machine) Advance(d time.Duration) {
	m.Env.Clock.Virtual.Advance(m.Env.Clock.Virtual.Now() + int64(d))
	m.pump()
}

// Calls returns and forgets what has happened to the run state since the last
// call: "reset CAUSE", "end CAUSE", "powerdown", "suspend", "wakeup".
func (m *Machine) Calls() []string {
	m.Sync()
	m.mu.Lock()
	defer m.mu.Unlock()
	c := m.calls
	m.calls = nil
	return c
}

// Events returns and forgets the events that were published since the last call.
func (m *Machine) Events() []event.Event {
	m.Sync()
	m.mu.Lock()
	defer m.mu.Unlock()
	e := m.events
	m.events = nil
	return e
}

func (m *Machine) record(what string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.calls) < 1000 {
		m.calls = append(m.calls, what)
	}
}

var errNoChardev = errors.New("no such character device")

func (m *Machine) attach(id string, fe chardev.Frontend) (chardev.Port, error) {
	c := m.chardevs[id]
	if c == nil {
		return nil, fmt.Errorf("%q: %w", id, errNoChardev)
	}
	return c, c.attach(fe)
}
