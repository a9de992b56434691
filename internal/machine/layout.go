package machine

import (
	"fmt"
	"path/filepath"

	"govmd/internal/machine/accel"
	"govmd/internal/machine/boot"
	"govmd/internal/memory"
)

const (
	// RAM ends here at the latest below 4 GiB: above are PCI, the interrupt
	// controllers and the firmware. A machine with more has its low RAM end at a
	// whole GiB, so that the rest is aligned too.
	lowRAMMax   = 0xe0000000
	lowRAMSplit = 0xc0000000
	fourGiB     = 1 << 32

	maxFirmware = 16 << 20
	isaBIOSMax  = 128 << 10
)

// layout is where a PC's RAM is.
type layout struct {
	below, above uint64 // bytes of RAM below and from 4 GiB
}

// mapRAM places RAM in the guest's physical space and returns the region at
// address 0. limit is the most that there may be below 4 GiB, 0 for the usual.
func (l *layout) mapRAM(m *Machine, limit uint64) (low *memory.Region, err error) {
	switch {
	case limit != 0:
		limit = min(limit, lowRAMMax)
	case m.RAM > lowRAMMax:
		limit = lowRAMSplit
	default:
		limit = lowRAMMax
	}
	l.below = min(m.RAM, limit)
	l.above = m.RAM - l.below
	root := m.mem.Root()
	if low, err = m.ramRegion("ram-below-4g", 0, l.below); err != nil {
		return nil, err
	}
	if err := root.Add(0, low); err != nil {
		return nil, err
	}
	if l.above > 0 {
		high, err := m.ramRegion("ram-above-4g", l.below, l.above)
		if err != nil {
			return nil, err
		}
		return low, root.Add(fourGiB, high)
	}
	return low, nil
}

// checkAddressSpace refuses memory that the processor model cannot address. A
// board's own RAM ends above 4 GiB at the latest where it would if all of it but
// lowRAMSplit bytes were there.
func (m *Machine) checkAddressSpace() error {
	if m.RAM <= lowRAMMax {
		return nil
	}
	last, limit := uint64(fourGiB)+m.RAM-lowRAMSplit-1, uint64(1)<<m.model.PhysBits-1
	if last > limit {
		return fmt.Errorf("Address space limit %#x < %#x phys-bits too low (%d): -cpu ...,phys-bits=N sets more, less memory needs none", limit, last, m.model.PhysBits)
	}
	return nil
}

// firmwareMap is the map that firmware is given: it makes the guest's from it.
func (l *layout) firmwareMap() boot.MemoryMap {
	var m boot.MemoryMap
	m.Set(0, l.below, boot.RAM)
	m.Set(fourGiB, l.above, boot.RAM)
	m.Set(accel.ReservedAddr, accel.ReservedSize, boot.Reserved)
	return m
}

// romImage is a file in the guest's ROM.
type romImage struct {
	name string
	size uint64
}

// loadFirmware maps the board's firmware in the given container: at the end of
// 4 GiB, and the last of it below 1 MiB too, where real mode reaches it.
func (m *Machine) loadFirmware(in *memory.Region, name string) error {
	if f := m.Board.common().firmware; f != "" {
		name = f
	}
	path, err := m.FindFirmware(name)
	if err != nil {
		return err
	}
	image, err := boot.ReadFile("firmware", path, maxFirmware)
	if err != nil {
		return err
	}
	size := uint64(len(image))
	if size == 0 || size%65536 != 0 {
		return fmt.Errorf("firmware '%s' has %d bytes: it must be a multiple of 64 KiB", path, size)
	}
	rom, err := m.newROM("pc.bios", size)
	if err != nil {
		return err
	}
	if err := rom.Write(0, image); err != nil {
		return err
	}
	m.romImage = romImage{filepath.Base(path), size}
	sys := m.Env.Memory
	region := sys.NewROM("pc.bios", rom, 0, size)
	isa := min(size, isaBIOSMax)
	if err := in.AddOverlap(fourGiB-size, region, 1); err != nil {
		return err
	}
	return in.AddOverlap(1<<20-isa, sys.NewAlias("isa-bios", region, size-isa, isa), 1)
}

func (m *Machine) newROM(name string, size uint64) (*memory.Block, error) {
	b, err := m.Env.Memory.NewBlock(memory.BlockConfig{Name: name, Size: size, Dump: true})
	if err != nil {
		return nil, err
	}
	m.onClose(func() { _ = b.Close() })
	return b, nil
}
