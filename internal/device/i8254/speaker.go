package i8254

import (
	"errors"
	"sync"

	"govmd/internal/device"
	"govmd/internal/device/sysbus"
	"govmd/internal/memory"
	"govmd/internal/object"
	"govmd/internal/state"
)

// SpeakerTypeName is the type of the speaker's port.
const SpeakerTypeName = "isa-pcspk"

const (
	speakerPort = 0x61

	speakerGate    = 1 << 0 // of counter 2
	speakerData    = 1 << 1 // lets counter 2's output through to the speaker
	speakerChecks  = 3 << 2 // error reporting, for which there is no source
	speakerRefresh = 1 << 4 // changes with each refresh of memory
	speakerOut     = 1 << 5 // counter 2's output

	speakerWritable = speakerGate | speakerData | speakerChecks

	refreshTicks = 18 // what BIOSes program counter 1 with: a refresh each 15 us
)

// Speaker is port 0x61: the gate and output of counter 2. Nothing is heard. The
// board sets the exported field before Plug.
type Speaker struct {
	device.Base
	PIT *Device

	mu   sync.Mutex // taken before the timer's
	bits uint8      // those that were written
}

func init() {
	device.Register(object.Type{Name: SpeakerTypeName, Description: "PC speaker",
		New: func() object.Object { return &Speaker{} }})
}

// Realize implements device.Device.
func (s *Speaker) Realize() error {
	if s.PIT == nil {
		return errors.New("the speaker belongs to a board that has an interval timer")
	}
	r := s.Env().Memory.NewIO("pcspk", 1, s, memory.Spec{ImplMax: 1})
	return sysbus.MapIO(s, speakerPort, r)
}

// Unrealize implements device.Device.
func (s *Speaker) Unrealize() {}

// ReadIO implements memory.Handler.
func (s *Speaker) ReadIO(uint64, int) uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	v := uint64(s.bits)
	out, tick := s.PIT.output2()
	if out {
		v |= speakerOut
	}
	if tick/refreshTicks&1 != 0 {
		v |= speakerRefresh
	}
	return v
}

// WriteIO implements memory.Handler.
func (s *Speaker) WriteIO(_ uint64, _ int, v uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.bits = uint8(v) & speakerWritable
	s.PIT.setGate(v&speakerGate != 0)
}

// ResetEnter implements device.ResetEnterer. The timer's reset lowers the gate.
func (s *Speaker) ResetEnter() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.bits = 0
}

type speakerState struct {
	Bits uint8 `cbor:"bits"`
}

// States implements device.Stater.
func (s *Speaker) States() []state.Entry {
	return []state.Entry{state.Of("", 1,
		func() speakerState {
			s.mu.Lock()
			defer s.mu.Unlock()
			return speakerState{s.bits}
		},
		func(v *speakerState) error {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.bits = v.Bits & speakerWritable // the gate is the timer's state
			return nil
		})}
}
