package pci

import (
	"sync/atomic"

	"govmd/internal/memory"
)

// ConfigPorts is configuration mechanism 1: the address register at port 0xcf8
// and the data window at 0xcfc (PCI Local Bus 3.0, section 3.2.2.3.2). Only a
// double word reaches the address register; the bytes there are other
// registers, of which chipsets have one: the reset control at 0xcf9.
type ConfigPorts struct {
	bus   *Bus
	addr  atomic.Uint32
	reset atomic.Pointer[memory.Handler]
}

// The ports of mechanism 1.
const (
	PortConfigAddress = 0xcf8
	PortConfigData    = 0xcfc

	configEnable    = 1 << 31
	configAddrBits  = configEnable | 0xfffffc
	resetControlOff = 1
)

// Address returns the address register. It is a host bridge's saved state.
func (p *ConfigPorts) Address() uint32 { return p.addr.Load() }

// SetAddress sets the address register.
func (p *ConfigPorts) SetAddress(v uint32) { p.addr.Store(v & configAddrBits) }

// SetResetControl has h serve the byte at port 0xcf9, at offset 0; nil ends that.
func (p *ConfigPorts) SetResetControl(h memory.Handler) {
	if h == nil {
		p.reset.Store(nil)
		return
	}
	p.reset.Store(&h)
}

// AddressRegion returns the four ports at PortConfigAddress.
func (p *ConfigPorts) AddressRegion(s *memory.System) *memory.Region {
	return s.NewIO("pci-conf-idx", 4, (*addressPort)(p), memory.Spec{Max: 4, ImplMax: 4})
}

// DataRegion returns the four ports at PortConfigData.
func (p *ConfigPorts) DataRegion(s *memory.System) *memory.Region {
	return s.NewIO("pci-conf-data", 4, (*dataPort)(p), memory.Spec{Max: 4, ImplMax: 4})
}

type addressPort ConfigPorts

func (p *addressPort) ReadIO(off uint64, size int) uint64 {
	switch {
	case size == 4:
		return uint64(p.addr.Load())
	case size == 1 && off == resetControlOff:
		if h := p.reset.Load(); h != nil {
			return (*h).ReadIO(0, 1)
		}
	}
	return uint64(ones(size))
}

func (p *addressPort) WriteIO(off uint64, size int, v uint64) {
	switch {
	case size == 4:
		p.addr.Store(uint32(v) & configAddrBits)
	case size == 1 && off == resetControlOff:
		if h := p.reset.Load(); h != nil {
			(*h).WriteIO(0, 1, v)
		}
	}
}

type dataPort ConfigPorts

func (p *dataPort) ReadIO(off uint64, size int) uint64 {
	a := p.addr.Load()
	if a&configEnable == 0 {
		return uint64(ones(size))
	}
	return uint64(p.bus.ReadConfig(uint8(a>>16), uint8(a>>8), int(a&0xfc)+int(off), size))
}

func (p *dataPort) WriteIO(off uint64, size int, v uint64) {
	if a := p.addr.Load(); a&configEnable != 0 {
		p.bus.WriteConfig(uint8(a>>16), uint8(a>>8), int(a&0xfc)+int(off), size, uint32(v))
	}
}
