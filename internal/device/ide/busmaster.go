package ide

import (
	"encoding/binary"

	"govmd/internal/device/ata"
	"govmd/internal/device/drive"
	"govmd/internal/memory"
)

// Bits of the command and status registers (section 2.7).
const (
	bmStart   = 1 << 0
	bmToGuest = 1 << 3

	bmActive    = 1 << 0
	bmError     = 1 << 1
	bmInterrupt = 1 << 2
	bmCapable   = 3 << 5 // storage for what the guest's drivers know of the drives
)

// busMaster is the registers of a channel.
type busMaster struct {
	command byte
	status  byte
	table   uint32 // address of the table of descriptors
}

const (
	descriptorSize = 8
	tableEntries   = 64 << 10 / descriptorSize
	endOfTable     = 1 << 31
)

// gather walks the table of physical region descriptors: address, byte count (0
// means 64 KiB), and a bit for the last one.
func (b *busMaster) gather(dma *memory.DMA, pos *ata.Pos, s *drive.Segs, want int) error {
	return pos.Gather(s, dma, want, tableEntries, func(n uint32) (ata.Region, error) {
		var e [descriptorSize]byte
		err := dma.Read(uint64(b.table)+uint64(n)*descriptorSize, e[:])
		ctl := binary.LittleEndian.Uint32(e[4:])
		size := ctl & 0xfffe
		if size == 0 {
			size = 1 << 16
		}
		return ata.Region{Addr: uint64(binary.LittleEndian.Uint32(e[:]) &^ 1), Size: size, Last: ctl&endOfTable != 0}, err
	})
}

// DMAReady implements ata.Port.
func (c *channel) DMAReady(*ata.Drive) bool { return c.bm.status&bmActive != 0 }

// DMAEnd implements ata.Port. The bus master is active as long as its table has more.
func (c *channel) DMAEnd(_ *ata.Drive, pos ata.Pos, failed bool) {
	if failed {
		c.bm.status = c.bm.status&^bmActive | bmError
	} else if pos.End {
		c.bm.status &^= bmActive
	}
}

// start follows a write to the command register.
func (c *channel) start(v byte) {
	was := c.bm.command
	c.bm.command = v & (bmStart | bmToGuest)
	switch {
	case was&bmStart != 0 && v&bmStart == 0:
		// What is under way ends by itself: the drive tells.
		c.bm.status &^= bmActive
	case was&bmStart == 0 && v&bmStart != 0:
		c.bm.status |= bmActive
		c.each(func(d *ata.Drive) {
			if d.WantsDMA() {
				d.DMAGo()
			}
		})
	}
}

// bmRegisters is the 16 ports of the base address register: eight for each channel.
type bmRegisters struct{ f *function }

func (r bmRegisters) ReadIO(off uint64, size int) (v uint64) {
	for i := range size {
		v |= uint64(r.read(int(off)+i)) << (8 * i)
	}
	return v
}

func (r bmRegisters) read(off int) byte {
	c := r.f.channels[off>>3&1]
	c.mu.Lock()
	defer c.mu.Unlock()
	switch reg := off & 7; reg {
	case 0:
		return c.bm.command
	case 2:
		return c.bm.status
	case 4, 5, 6, 7:
		return byte(c.bm.table >> (8 * (reg - 4)))
	}
	return 0xff
}

func (r bmRegisters) WriteIO(off uint64, size int, v uint64) {
	for i := range size {
		r.write(int(off)+i, byte(v>>(8*i)))
	}
}

func (r bmRegisters) write(off int, v byte) {
	c := r.f.channels[off>>3&1]
	c.mu.Lock()
	defer c.mu.Unlock()
	switch reg := off & 7; reg {
	case 0:
		c.start(v)
	case 2:
		clear := v & (bmError | bmInterrupt)
		c.bm.status = c.bm.status&^(clear|bmCapable) | v&bmCapable
	case 4, 5, 6, 7:
		shift := 8 * (reg - 4)
		c.bm.table = (c.bm.table&^(0xff<<shift) | uint32(v)<<shift) &^ 3
	}
}
