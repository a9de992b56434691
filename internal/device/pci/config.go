package pci

import (
	"encoding/binary"
	"sync"
)

// ConfigSize is the size of a function's configuration space in bytes. A
// conventional function answers only in the first ConventionalSize of them.
const (
	ConfigSize       = 4096
	ConventionalSize = 256
)

// Offsets in the configuration header (PCI Local Bus 3.0, section 6.1).
const (
	RegVendor          = 0x00
	RegDevice          = 0x02
	RegCommand         = 0x04
	RegStatus          = 0x06
	RegRevision        = 0x08
	RegClass           = 0x09 // programming interface, sub-class, class
	RegCacheLine       = 0x0c
	RegLatency         = 0x0d
	RegHeaderType      = 0x0e
	RegBAR0            = 0x10
	RegPrimaryBus      = 0x18 // bridges
	RegSecondaryBus    = 0x19
	RegSubordinateBus  = 0x1a
	RegSubsystemVendor = 0x2c
	RegSubsystem       = 0x2e
	RegROM             = 0x30
	RegCapabilities    = 0x34
	RegBridgeROM       = 0x38
	RegInterruptLine   = 0x3c
	RegInterruptPin    = 0x3d
	RegBridgeControl   = 0x3e
)

// Bits of the command register.
const (
	CommandIO          = 1 << 0
	CommandMemory      = 1 << 1
	CommandMaster      = 1 << 2
	CommandSERR        = 1 << 8
	CommandINTxDisable = 1 << 10
)

// Bits of the status register.
const (
	StatusInterrupt    = 1 << 3
	StatusCapabilities = 1 << 4
	StatusFastB2B      = 1 << 7
	StatusDevselMedium = 1 << 9
	statusErrors       = 0xf900 // write 1 to clear
)

const headerMultifunction = 0x80

// Config is the configuration space of a function: the bytes, which of their
// bits the guest may write, and which it clears by writing ones. Its methods may
// be called from any goroutine. Offsets are the device's own; one beyond the
// space is a programming error and panics.
type Config struct {
	mu       sync.Mutex
	data     [ConfigSize]byte
	writable [ConfigSize]byte
	w1c      [ConfigSize]byte
}

// U8 returns a byte.
func (c *Config) U8(off int) uint8 { return uint8(c.get(off, 1)) }

// U16 returns a little-endian word.
func (c *Config) U16(off int) uint16 { return uint16(c.get(off, 2)) }

// U32 returns a little-endian double word.
func (c *Config) U32(off int) uint32 { return c.get(off, 4) }

// SetU8 sets a byte, the bits that the guest cannot write included.
func (c *Config) SetU8(off int, v uint8) { c.set(off, 1, uint32(v)) }

// SetU16 sets a word.
func (c *Config) SetU16(off int, v uint16) { c.set(off, 2, uint32(v)) }

// SetU32 sets a double word.
func (c *Config) SetU32(off int, v uint32) { c.set(off, 4, v) }

// Update clears and then sets bits of a word in one step.
func (c *Config) Update(off int, clear, set uint16) {
	c.mu.Lock()
	defer c.mu.Unlock()
	p := c.data[off : off+2]
	binary.LittleEndian.PutUint16(p, binary.LittleEndian.Uint16(p)&^clear|set)
}

// Writable lets the guest write the bits of mask, size bytes long (1, 2 or 4), and no others there.
func (c *Config) Writable(off, size int, mask uint32) {
	c.mu.Lock()
	defer c.mu.Unlock()
	put(c.writable[off:off+size], mask)
}

// WriteOneToClear makes the bits of mask, size bytes long, ones that the guest
// clears by writing ones.
func (c *Config) WriteOneToClear(off, size int, mask uint32) {
	c.mu.Lock()
	defer c.mu.Unlock()
	put(c.w1c[off:off+size], mask)
}

func (c *Config) get(off, size int) uint32 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return get(c.data[off : off+size])
}

func (c *Config) set(off, size int, v uint32) {
	c.mu.Lock()
	defer c.mu.Unlock()
	put(c.data[off:off+size], v)
}

// guestWrite writes as far as the masks allow.
func (c *Config) guestWrite(off, size int, v uint32) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := off; i < off+size; i++ {
		b := byte(v)
		v >>= 8
		c.data[i] = c.data[i]&^c.writable[i] | b&c.writable[i]
		c.data[i] &^= b & c.w1c[i]
	}
}

func get(p []byte) uint32 {
	var v uint32
	for i := len(p) - 1; i >= 0; i-- {
		v = v<<8 | uint32(p[i])
	}
	return v
}

func put(p []byte, v uint32) {
	for i := range p {
		p[i] = byte(v)
		v >>= 8
	}
}
