package smbios

import (
	"encoding/binary"
	"fmt"
	"strings"

	"govmd/internal/option"
)

// Constants of the standard's enumerations that say "other", "unknown" and the
// like.
const (
	noHandle     = 0xfffe // error information: none
	unknownWidth = 0xffff
	gib          = 1 << 30
	minDIMM      = 16 * gib
	maxDIMMs     = 0x200
	maxTable32   = 0xffff
)

// table collects finished structures.
type table struct {
	Tables
}

func (t *table) add(b []byte) {
	t.table = append(t.table, b...)
	t.count++
	t.max = max(t.max, len(b))
}

// Build encodes the structures.
func (c *Config) Build() (*Tables, error) {
	if c.Sockets < 1 || c.Sockets > 256 || c.Cores < 1 || c.Threads < 1 || c.Cores > 0xffff || c.Threads > 0xffff {
		return nil, fmt.Errorf("SMBIOS tables for %d sockets of %d cores, %d threads", c.Sockets, c.Cores, c.Threads)
	}
	t := &table{Tables{entry: c.Entry}}
	for _, b := range c.user.raw {
		t.add(b)
	}
	// A structure that came from a file replaces the one made here.
	build := func(kind uint8, f func(*table) error) error {
		if c.user.loaded[kind] {
			return nil
		}
		return f(t)
	}
	for _, s := range []struct {
		kind uint8
		f    func(*table) error
	}{
		{0, c.bios}, {1, c.system}, {2, c.board}, {3, c.chassis}, {4, c.processors}, {8, c.ports}, {11, c.oemStrings},
		{16, c.memoryArray}, {17, c.dimms}, {19, c.memoryRanges}, {32, c.bootStatus}, {41, c.onboardDevices},
	} {
		if err := build(s.kind, s.f); err != nil {
			return nil, err
		}
	}
	t.add(newStructure(127, 0x7f00).bytes())
	if c.Entry == Entry32 && len(t.table) > maxTable32 {
		return nil, fmt.Errorf("SMBIOS table of %d bytes does not fit the 32-bit entry point (%d bytes): use smbios-entry-point-type=64",
			len(t.table), maxTable32)
	}
	return &t.Tables, nil
}

// value is what the user gave for a key, or else a default.
func (c *Config) value(kind uint8, key, otherwise string) string {
	if v, ok := c.user.fields[kind][key]; ok {
		return v
	}
	return otherwise
}

// numeric is value for keys whose values have been checked.
func (c *Config) numeric(kind uint8, key string, otherwise uint64) uint64 {
	if v, ok := c.user.fields[kind][key]; ok {
		n, _ := parseNumber(key, v)
		return n
	}
	return otherwise
}

// bios is type 0 (section 7.1).
func (c *Config) bios(t *table) error {
	if !c.BIOS && !c.user.given[0] {
		return nil
	}
	s := newStructure(0, 0)
	s.string(c.value(0, "vendor", c.Manufacturer))
	s.string(c.value(0, "version", c.Version))
	s.word(0xe800) // where its code would begin
	s.string(c.value(0, "date", ""))
	s.byte(0)
	s.qword(1 << 3)         // characteristics are not listed
	flags := byte(1<<4 | 4) // a virtual machine; content may be distributed
	if on, err := option.BoolValue("uefi", c.value(0, "uefi", "off")); err == nil && on {
		flags |= 1 << 3
	}
	s.byte(0, flags)
	major, minor, _ := parseRelease(c.value(0, "release", "0.0"))
	s.byte(major, minor, 0xff, 0xff)
	t.add(s.bytes())
	return nil
}

// system is type 1 (section 7.2).
func (c *Config) system(t *table) error {
	s := newStructure(1, 0x100)
	s.string(c.value(1, "manufacturer", c.Manufacturer))
	s.string(c.value(1, "product", c.Product))
	s.string(c.value(1, "version", c.Version))
	s.string(c.value(1, "serial", ""))
	id := c.UUID
	if c.user.uuid != nil {
		id = *c.user.uuid
	}
	// On the wire the first three groups are little-endian (7.2.1).
	s.dword(binary.BigEndian.Uint32(id[0:]))
	s.word(binary.BigEndian.Uint16(id[4:]))
	s.word(binary.BigEndian.Uint16(id[6:]))
	s.byte(id[8:]...)
	s.byte(6) // woken by the power switch
	s.string(c.value(1, "sku", ""))
	s.string(c.value(1, "family", ""))
	t.add(s.bytes())
	return nil
}

// board is type 2 (section 7.3), made only if asked for.
func (c *Config) board(t *table) error {
	if !c.user.given[2] {
		return nil
	}
	s := newStructure(2, 0x200)
	s.string(c.value(2, "manufacturer", c.Manufacturer))
	s.string(c.value(2, "product", c.Product))
	s.string(c.value(2, "version", c.Version))
	s.string(c.value(2, "serial", ""))
	s.string(c.value(2, "asset", ""))
	s.byte(1) // hosts others
	s.string(c.value(2, "location", ""))
	s.word(0x300)
	s.byte(0x0a, 0) // a motherboard; contains no objects
	t.add(s.bytes())
	return nil
}

// chassis is type 3 (section 7.4).
func (c *Config) chassis(t *table) error {
	s := newStructure(3, 0x300)
	s.string(c.value(3, "manufacturer", c.Manufacturer))
	s.byte(1) // other
	s.string(c.value(3, "version", c.Version))
	s.string(c.value(3, "serial", ""))
	s.string(c.value(3, "asset", ""))
	s.byte(3, 3, 3, 2) // states: safe, safe, safe; security unknown
	s.dword(0)
	s.byte(0, 0, 0, 0)
	s.string(c.value(3, "sku", ""))
	t.add(s.bytes())
	return nil
}

// processors are type 4 (section 7.5), one for each socket.
func (c *Config) processors(t *table) error {
	clamp := func(n int) byte { return byte(min(n, 255)) }
	for i := range c.Sockets {
		s := newStructure(4, 0x400+uint16(i))
		s.string(fmt.Sprintf("%s %d", c.value(4, "sock_pfx", "CPU"), i))
		s.byte(3, 1) // a central processor of another family
		s.string(c.value(4, "manufacturer", c.Manufacturer))
		s.qword(c.numeric(4, "processor-id", c.ProcessorID))
		s.string(c.value(4, "version", c.Version))
		s.byte(0)
		s.word(0)
		s.word(uint16(c.numeric(4, "max-speed", 2000)))
		s.word(uint16(c.numeric(4, "current-speed", 2000)))
		s.byte(0x41, 1) // there and enabled; other kind of socket
		s.word(0xffff)  // no caches described
		s.word(0xffff)
		s.word(0xffff)
		s.string(c.value(4, "serial", ""))
		s.string(c.value(4, "asset", ""))
		s.string(c.value(4, "part", ""))
		s.byte(clamp(c.Cores), clamp(c.Cores), clamp(c.Threads))
		s.word(2) // characteristics unknown
		s.word(1)
		if c.Entry == Entry64 {
			s.word(uint16(c.Cores))
			s.word(uint16(c.Cores))
			s.word(uint16(c.Threads))
		}
		t.add(s.bytes())
	}
	return nil
}

// ports are type 8 (section 7.9).
func (c *Config) ports(t *table) error {
	for i, v := range c.user.ports {
		s := newStructure(8, 0x800+uint16(i))
		connector, _ := parseNumber("", orZero(v["connector_type"]))
		port, _ := parseNumber("", orZero(v["port_type"]))
		s.string(v["internal_reference"])
		s.byte(0)
		s.string(v["external_reference"])
		s.byte(byte(connector), byte(port))
		t.add(s.bytes())
	}
	return nil
}

func orZero(s string) string {
	if s == "" {
		return "0"
	}
	return s
}

// oemStrings is type 11 (section 7.12): as many as have numbers.
func (c *Config) oemStrings(t *table) error {
	if len(c.user.strings) == 0 {
		return nil
	}
	if len(c.user.strings) > maxStrings {
		return fmt.Errorf("%d SMBIOS OEM strings: at most %d", len(c.user.strings), maxStrings)
	}
	s := newStructure(11, 0xb00)
	for _, v := range c.user.strings {
		// An empty string would end the list.
		if v == "" {
			v = " "
		}
		s.addString(v)
	}
	s.byte(s.n)
	t.add(s.bytes())
	return nil
}

func (c *Config) memorySize() (n uint64) {
	for _, r := range c.Memory {
		n += r.Size
	}
	return n
}

// dimmSize is 16 GiB, or more if that would make too many for their handles.
func (c *Config) dimmSize() uint64 {
	size := uint64(minDIMM)
	for c.memorySize()/size >= maxDIMMs {
		size *= 2
	}
	return size
}

func (c *Config) dimmCount() int {
	size := c.dimmSize()
	return int((c.memorySize() + size - 1) / size)
}

// memoryArray is type 16 (section 7.17).
func (c *Config) memoryArray(t *table) error {
	s := newStructure(16, 0x1000)
	s.byte(1, 3, 6) // elsewhere; system memory; corrects multi-bit errors
	const extended = 0x80000000
	if kb := c.memorySize() >> 10; kb < extended {
		s.dword(uint32(kb))
		s.word(noHandle)
		s.word(uint16(c.dimmCount()))
		s.qword(0)
	} else {
		s.dword(extended)
		s.word(noHandle)
		s.word(uint16(c.dimmCount()))
		s.qword(c.memorySize())
	}
	t.add(s.bytes())
	return nil
}

// dimms are type 17 (section 7.18): RAM in equal pieces.
func (c *Config) dimms(t *table) error {
	left := c.memorySize()
	for i := range c.dimmCount() {
		size := min(left, c.dimmSize())
		left -= size
		s := newStructure(17, 0x1100+uint16(i))
		s.word(0x1000)
		s.word(noHandle)
		s.word(unknownWidth)
		s.word(unknownWidth)
		mb := uint32((size + 1<<20 - 1) >> 20)
		const extended = 0x7fff
		s.word(uint16(min(mb, extended)))
		s.byte(9, 0) // a DIMM, of no set
		s.string(fmt.Sprintf("%s %d", c.value(17, "loc_pfx", "DIMM"), i))
		s.string(c.value(17, "bank", ""))
		s.byte(7)                                                    // RAM
		s.word(1 << 1)                                               // other
		s.word(uint16(min(c.numeric(17, "speed", 0), unknownWidth))) // 0: unknown
		s.string(c.value(17, "manufacturer", c.Manufacturer))
		s.string(c.value(17, "serial", ""))
		s.string(c.value(17, "asset", ""))
		s.string(c.value(17, "part", ""))
		s.byte(0)
		if mb >= extended {
			s.dword(mb)
		} else {
			s.dword(0)
		}
		s.word(uint16(min(c.numeric(17, "speed", 0), unknownWidth)))
		s.word(0)
		s.word(0)
		s.word(0)
		t.add(s.bytes())
	}
	return nil
}

// memoryRanges are type 19 (section 7.20).
func (c *Config) memoryRanges(t *table) error {
	for i, r := range c.Memory {
		if r.Size == 0 {
			continue
		}
		s := newStructure(19, 0x1300+uint16(i))
		first, last := r.Base>>10, (r.Base+r.Size-1)>>10
		const extended = 0xffffffff
		long := last >= extended
		if long {
			s.dword(extended)
			s.dword(extended)
		} else {
			s.dword(uint32(first))
			s.dword(uint32(last))
		}
		s.word(0x1000)
		s.byte(1)
		if long {
			s.qword(r.Base)
			s.qword(r.Base + r.Size - 1)
		} else {
			s.qword(0)
			s.qword(0)
		}
		t.add(s.bytes())
	}
	return nil
}

// bootStatus is type 32 (section 7.33): no error.
func (c *Config) bootStatus(t *table) error {
	s := newStructure(32, 0x2000)
	s.byte(0, 0, 0, 0, 0, 0, 0)
	t.add(s.bytes())
	return nil
}

// onboardDevices are type 41 (section 7.42).
func (c *Config) onboardDevices(t *table) error {
	for i, v := range c.user.devices {
		s := newStructure(41, 0x2900+uint16(i))
		instance, _ := parseNumber("", orZero(v["instance"]))
		s.string(v["designation"])
		kind := deviceKind(v["kind"])
		if kind == 0 {
			kind = 1
		}
		s.byte(kind|0x80, byte(instance)) // enabled
		bus, devfn, ok := uint8(0xff), uint8(0xff), false
		if id := v["pcidev"]; id != "" {
			if c.PCIDevice != nil {
				bus, devfn, ok = c.PCIDevice(id)
			}
			if !ok {
				return qemuErrorf("No PCI device %s for SMBIOS type 41 entry %s", id, strings.TrimSpace(v["designation"]))
			}
			s.word(0)
		} else {
			s.word(0xffff)
		}
		s.byte(bus, devfn)
		t.add(s.bytes())
	}
	return nil
}
