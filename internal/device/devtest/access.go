package devtest

import (
	"encoding/binary"

	"govmd/internal/memory"
)

func (m *Machine) read(s *memory.Space, addr uint64, size int) uint64 {
	var b [8]byte
	s.ReadIO(addr, b[:size])
	m.pump()
	return binary.LittleEndian.Uint64(b[:])
}

func (m *Machine) write(s *memory.Space, addr uint64, size int, v uint64) {
	var b [8]byte
	binary.LittleEndian.PutUint64(b[:], v)
	s.WriteIO(addr, b[:size])
	m.pump()
}

// In8 reads a port, as a vCPU does.
func (m *Machine) In8(port uint16) uint8 { return uint8(m.read(m.Env.IO, uint64(port), 1)) }

// In16 reads a port.
func (m *Machine) In16(port uint16) uint16 { return uint16(m.read(m.Env.IO, uint64(port), 2)) }

// In32 reads a port.
func (m *Machine) In32(port uint16) uint32 { return uint32(m.read(m.Env.IO, uint64(port), 4)) }

// Out8 writes a port, as a vCPU does.
func (m *Machine) Out8(port uint16, v uint8) { m.write(m.Env.IO, uint64(port), 1, uint64(v)) }

// Out16 writes a port.
func (m *Machine) Out16(port uint16, v uint16) { m.write(m.Env.IO, uint64(port), 2, uint64(v)) }

// Out32 writes a port.
func (m *Machine) Out32(port uint16, v uint32) { m.write(m.Env.IO, uint64(port), 4, uint64(v)) }

// Read8 reads guest-physical memory, RAM or a device's, as a vCPU does.
func (m *Machine) Read8(addr uint64) uint8 { return uint8(m.read(m.Env.Mem, addr, 1)) }

// Read16 reads guest-physical memory.
func (m *Machine) Read16(addr uint64) uint16 { return uint16(m.read(m.Env.Mem, addr, 2)) }

// Read32 reads guest-physical memory.
func (m *Machine) Read32(addr uint64) uint32 { return uint32(m.read(m.Env.Mem, addr, 4)) }

// Read64 reads guest-physical memory.
func (m *Machine) Read64(addr uint64) uint64 { return m.read(m.Env.Mem, addr, 8) }

// Write8 writes guest-physical memory, RAM or a device's, as a vCPU does.
func (m *Machine) Write8(addr uint64, v uint8) { m.write(m.Env.Mem, addr, 1, uint64(v)) }

// Write16 writes guest-physical memory.
func (m *Machine) Write16(addr uint64, v uint16) { m.write(m.Env.Mem, addr, 2, uint64(v)) }

// Write32 writes guest-physical memory.
func (m *Machine) Write32(addr uint64, v uint32) { m.write(m.Env.Mem, addr, 4, uint64(v)) }

// Write64 writes guest-physical memory.
func (m *Machine) Write64(addr uint64, v uint64) { m.write(m.Env.Mem, addr, 8, v) }

// ReadMem returns n bytes of guest-physical memory.
func (m *Machine) ReadMem(addr uint64, n int) []byte {
	m.TB.Helper()
	p := make([]byte, n)
	if err := m.Env.Mem.Read(addr, p); err != nil {
		m.TB.Fatal(err)
	}
	return p
}

// WriteMem copies p into guest-physical memory.
func (m *Machine) WriteMem(addr uint64, p []byte) {
	m.TB.Helper()
	if err := m.Env.Mem.Write(addr, p); err != nil {
		m.TB.Fatal(err)
	}
}

// CheckIn8 fails the test unless the port reads as want.
func (m *Machine) CheckIn8(port uint16, want uint8, what string) {
	m.TB.Helper()
	if got := m.In8(port); got != want {
		m.TB.Errorf("%s: port %#x = %#02x, want %#02x", what, port, got, want)
	}
}

// CheckRead32 fails the test unless the memory word reads as want.
func (m *Machine) CheckRead32(addr uint64, want uint32, what string) {
	m.TB.Helper()
	if got := m.Read32(addr); got != want {
		m.TB.Errorf("%s: %#x = %#08x, want %#08x", what, addr, got, want)
	}
}
