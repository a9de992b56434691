package devtest

import (
	"sync"

	"govmd/internal/device"
	"govmd/internal/device/sysbus"
	"govmd/internal/memory"
	"govmd/internal/object"
	"govmd/internal/state"
)

// inputsPort is where AddInputs puts its port.
const inputsPort = 0xe000

const inputsType = "devtest-inputs"

// inputs drives the pins of an interrupt controller as the levels say that are
// written to its port, which has a bit for each.
type inputs struct {
	device.Base
	lines []*device.Line
	read  func() uint8

	mu     sync.Mutex // guards levels and keeps their changes in order
	levels []bool
}

func init() {
	device.Register(object.Type{Name: inputsType, Description: "drives interrupts",
		New: func() object.Object { return &inputs{} }})
}

// AddInputs plugs in what drives the pins of an interrupt controller, and
// returns its port: a write sets the levels of eight pins, and a read is one of
// read, which may acknowledge an interrupt. The levels are state, and are driven
// again when they are loaded, as all devices do.
func (m *Machine) AddInputs(pins []*device.Pin, read func() uint8) Range {
	m.TB.Helper()
	d, err := device.Create(inputsType, "inputs")
	if err != nil {
		m.TB.Fatal(err)
	}
	in := d.(*inputs)
	in.read, in.levels = read, make([]bool, len(pins))
	for _, p := range pins {
		in.lines = append(in.lines, p.Connect(inputsType))
	}
	if err := m.Insert(nil, in); err != nil {
		m.TB.Fatal(err)
	}
	return InputsRange(len(pins))
}

// InputsRange is the port of AddInputs for n pins.
func InputsRange(n int) Range { return Ports(inputsPort, uint64(n+7)/8) }

// Realize implements device.Device.
func (d *inputs) Realize() error {
	r := d.Env().Memory.NewIO(inputsType, uint64(len(d.lines)+7)/8, d, memory.Spec{ImplMax: 1})
	return sysbus.MapIO(d, inputsPort, r)
}

// Unrealize implements device.Device.
func (d *inputs) Unrealize() {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, l := range d.lines {
		l.SetLevel(false)
	}
}

// ReadIO implements memory.Handler.
func (d *inputs) ReadIO(uint64, int) uint64 { return uint64(d.read()) }

// WriteIO implements memory.Handler.
func (d *inputs) WriteIO(off uint64, _ int, v uint64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for i := int(off) * 8; i < min(len(d.lines), int(off)*8+8); i++ {
		d.levels[i] = v>>(i&7)&1 != 0
		d.lines[i].SetLevel(d.levels[i])
	}
}

type savedInputs struct {
	Levels []bool `cbor:"levels"`
}

// States implements device.Stater.
func (d *inputs) States() []state.Entry {
	return []state.Entry{state.Of("", 1, func() savedInputs {
		d.mu.Lock()
		defer d.mu.Unlock()
		return savedInputs{append([]bool{}, d.levels...)}
	}, func(s *savedInputs) error {
		d.mu.Lock()
		defer d.mu.Unlock()
		for i := range min(len(d.levels), len(s.Levels)) {
			d.levels[i] = s.Levels[i]
			d.lines[i].SetLevel(s.Levels[i])
		}
		return nil
	})}
}
