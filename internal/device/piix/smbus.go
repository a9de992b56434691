package piix

import (
	"errors"
	"sync"

	"govmd/internal/memory"
)

var errBadState = errors.New("the number of registers is not what it is here")

// Registers of the SMBus host controller (PIIX4, section 7.3).
const (
	smbHostStatus  = 0
	smbSlaveStatus = 1
	smbHostControl = 2
	smbBlockData   = 7
	smbRegs        = 14

	smbDeviceError = 1 << 2
	smbCleared     = 0x1e // status bits that are cleared by writing ones
	smbStart       = 1 << 6
	smbKill        = 1 << 1
)

// smbus is the SMBus host controller, with nothing on its bus: transactions end
// at once, because no device acknowledges its address.
type smbus struct {
	ports *memory.Region

	mu    sync.Mutex // guards what follows
	regs  [smbRegs]uint8
	block [32]uint8
	index int // in block
}

func newSMBus(sys *memory.System) *smbus {
	s := &smbus{}
	s.ports = sys.NewIO("pm-smbus", smbRegion, s, memory.Spec{Max: 4, ImplMax: 1})
	return s
}

func (s *smbus) reset() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.regs, s.block, s.index = [smbRegs]uint8{}, [32]uint8{}, 0
}

// ReadIO implements memory.Handler.
func (s *smbus) ReadIO(off uint64, _ int) uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case off >= smbRegs:
		return 0
	case off == smbHostControl:
		s.index = 0 // section 7.3.3: reading it makes the block array start anew
		return uint64(s.regs[off] &^ smbStart)
	case off == smbBlockData:
		v := s.block[s.index]
		s.index = (s.index + 1) % len(s.block)
		return uint64(v)
	}
	return uint64(s.regs[off])
}

// WriteIO implements memory.Handler.
func (s *smbus) WriteIO(off uint64, _ int, v uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	b := uint8(v)
	switch {
	case off >= smbRegs:
	case off == smbHostStatus:
		s.regs[off] &^= b & smbCleared
	case off == smbSlaveStatus:
		s.regs[off] &^= b
	case off == smbHostControl:
		s.regs[off] = b &^ (smbStart | smbKill)
		if b&smbStart != 0 && b&smbKill == 0 {
			s.regs[smbHostStatus] |= smbDeviceError
		}
	case off == smbBlockData:
		s.block[s.index] = b
		s.index = (s.index + 1) % len(s.block)
	default:
		s.regs[off] = b
	}
}

// save returns the registers, the block array and the place in it.
func (s *smbus) save() []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append(append(append([]byte{}, s.regs[:]...), s.block[:]...), byte(s.index))
}

func (s *smbus) load(p []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(p) != len(s.regs)+len(s.block)+1 || int(p[len(p)-1]) >= len(s.block) {
		return errBadState
	}
	n := copy(s.regs[:], p)
	n += copy(s.block[:], p[n:])
	s.index = int(p[n])
	return nil
}
