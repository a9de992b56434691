package pci

import (
	"fmt"
	"math/bits"

	"govmd/internal/memory"
)

// BARType is the kind of a base address register: the low bits that it reads as.
type BARType uint32

// The kinds of base address registers; Prefetch is added to those of memory.
const (
	BARMem32    BARType = 0
	BARIO       BARType = 1
	BARMem64    BARType = 4
	BARPrefetch BARType = 8
)

const (
	romBAR  = 6
	numBARs = 7

	romEnable = 1
)

type bar struct {
	region *memory.Region // nil: not implemented
	typ    BARType
	rom    bool
	reg    int // offset of the register
	size   uint64
	mapped bool
	addr   uint64 // valid when mapped
}

// RegisterBAR makes r what base address register n (0 to 5) maps. Its size must
// be a power of two, of at least 4 bytes of ports or 16 bytes of memory; a 64-bit
// register takes up the next one too. The region is mapped and unmapped as the
// guest programs the register. Functions call this in Realize.
func (d *Device) RegisterBAR(n int, typ BARType, r *memory.Region) error {
	size := r.Size()
	limit, least := 6, uint64(16)
	if d.bridge {
		limit = 2
	}
	if typ == BARIO {
		least = 4
	}
	switch {
	case n < 0 || n >= limit || typ&BARMem64 != 0 && n+1 >= limit:
		return fmt.Errorf("%s: there is no base address register %d", d.Describe(), n)
	case d.bars[n].region != nil || n > 0 && d.bars[n-1].region != nil && d.bars[n-1].typ&BARMem64 != 0:
		return fmt.Errorf("%s: base address register %d is taken", d.Describe(), n)
	case bits.OnesCount64(size) != 1 || size < least || typ&BARMem64 == 0 && size > 1<<31:
		return fmt.Errorf("%s: base address register %d cannot map %#x bytes", d.Describe(), n, size)
	}
	d.OwnRegion(r)
	d.addBAR(n, bar{region: r, typ: typ, reg: RegBAR0 + 4*n, size: size})
	return nil
}

// BAR returns the region that register n maps, or nil.
func (d *Device) BAR(n int) *memory.Region { return d.bars[n].region }

// BARAddr returns where the region of register n is mapped now.
func (d *Device) BARAddr(n int) (addr uint64, mapped bool) {
	d.access.Lock()
	defer d.access.Unlock()
	return d.bars[n].addr, d.bars[n].mapped
}

func (d *Device) romReg() int {
	if d.bridge {
		return RegBridgeROM
	}
	return RegROM
}

func (d *Device) addBAR(n int, b bar) {
	d.bars[n] = b
	mask := ^(b.size - 1)
	if b.rom {
		d.config.Writable(b.reg, 4, uint32(mask)|romEnable)
		return
	}
	d.config.SetU32(b.reg, uint32(b.typ))
	d.config.Writable(b.reg, 4, uint32(mask))
	if b.typ&BARMem64 != 0 {
		d.config.Writable(b.reg+4, 4, uint32(mask>>32))
	}
}

// target returns where the registers say that the region is. Addresses that no
// sizing or half-written register should ever cause to be mapped are left out:
// 0, and those that reach the end of the space or 4 GiB.
func (b *bar) target(d *Device) (addr uint64, ok bool) {
	command := d.config.U16(RegCommand)
	v := d.config.U32(b.reg)
	end := uint64(1<<32 - 1)
	switch {
	case b.typ == BARIO:
		if command&CommandIO == 0 {
			return 0, false
		}
		addr, end = uint64(v), 1<<16
	case command&CommandMemory == 0 || b.rom && v&romEnable == 0:
		return 0, false
	case b.typ&BARMem64 != 0:
		addr, end = uint64(d.config.U32(b.reg+4))<<32|uint64(v), 1<<64-1
	default:
		addr = uint64(v)
	}
	addr &^= b.size - 1
	last := addr + b.size - 1
	sized := last == 1<<32-1 // also half of a 64-bit register's sizing
	return addr, addr != 0 && last > addr && last < end && !sized
}

// updateMappings maps the BARs where the registers say. d.access is held.
func (d *Device) updateMappings() {
	changed := false
	for i := range d.bars {
		b := &d.bars[i]
		if b.region == nil {
			continue
		}
		if addr, ok := b.target(d); ok != b.mapped || ok && addr != b.addr {
			changed = true
			break
		}
	}
	if !changed || !d.alive {
		return
	}
	d.Env().Memory.Update(func() {
		for i := range d.bars {
			b := &d.bars[i]
			if b.region == nil {
				continue
			}
			addr, ok := b.target(d)
			if ok == b.mapped && (!ok || addr == b.addr) {
				continue
			}
			b.unmap(d)
			if ok {
				b.mapAt(d, addr)
			}
		}
	})
}

// barPriority puts BARs above what else the host bridge shows on the bus.
const barPriority = 1

func (b *bar) space(d *Device) *memory.Region {
	if b.typ == BARIO {
		return d.bus.io
	}
	return d.bus.mem
}

func (b *bar) mapAt(d *Device, addr uint64) {
	if err := b.space(d).AddOverlap(addr, b.region, barPriority); err != nil {
		d.GuestErrorf("base address register at %#x: %v", b.reg, err)
		return
	}
	b.mapped, b.addr = true, addr
	if traceMap.On() {
		traceMap.Emit(d.Address(), b.reg, addr)
	}
}

func (b *bar) unmap(d *Device) {
	if b.mapped {
		b.space(d).Remove(b.region)
		b.mapped = false
		if traceUnmap.On() {
			traceUnmap.Emit(d.Address(), b.reg, b.addr)
		}
	}
}

// unmapBARs unmaps all and returns all regions, also those that were not mapped
// just now but may still be in use.
func (d *Device) unmapBARs() []*memory.Region {
	var list []*memory.Region
	d.Env().Memory.Update(func() {
		for i := range d.bars {
			if b := &d.bars[i]; b.region != nil {
				b.unmap(d)
				list = append(list, b.region)
			}
		}
	})
	return list
}
