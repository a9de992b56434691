// Package ide is the IDE functions of the PIIX3 and PIIX4: two channels with the
// ports and interrupts that PCs have always had, and bus-master DMA. Section
// numbers are those of the data sheets (Intel 290550 and 290562); the bus-master
// registers are also in "Programming Interface for Bus Master IDE Controller" 1.0.
package ide

import (
	"sync"

	"govmd/internal/device"
	"govmd/internal/device/ata"
	"govmd/internal/device/drive"
)

// channel is a cable with up to two drives.
type channel struct {
	f     *function
	n     int
	cable *ata.Cable
	line  *device.Line

	mu      sync.Mutex // shared with the drives; guards what follows
	control byte
	sel     int // the drive that is selected
	bm      busMaster
}

// Lock implements ata.Port.
func (c *channel) Lock() *sync.Mutex { return &c.mu }

// Data implements ata.Port: the guest moves the data.
func (c *channel) Data(*ata.Drive) {}

// Done implements ata.Port.
func (c *channel) Done(*ata.Drive) {}

// Interrupt implements ata.Port. Only the selected drive drives the cable's interrupt.
func (c *channel) Interrupt(d *ata.Drive) {
	if s := c.selected(); s != nil && s == d && d.INTRQ() && c.control&ata.ControlNIEN == 0 {
		c.bm.status |= bmInterrupt
	}
	c.drive()
}

func (c *channel) drive() {
	d := c.selected()
	c.line.SetLevel(d != nil && d.INTRQ() && c.control&ata.ControlNIEN == 0)
}

func (c *channel) selected() *ata.Drive { return c.cable.Drive(c.sel) }

// each calls fn for the drives that are there.
func (c *channel) each(fn func(*ata.Drive)) {
	for i := range 2 {
		if d := c.cable.Drive(i); d != nil {
			fn(d)
		}
	}
}

// commandBlock is the eight ports of the command block.
type commandBlock struct{ *channel }

const (
	regDevice  = 6
	regCommand = 7

	cmdDiagnose = 0x90
)

func (b commandBlock) ReadIO(off uint64, size int) uint64 {
	c := b.channel
	c.mu.Lock()
	defer c.mu.Unlock()
	d := c.selected()
	switch {
	case d == nil:
		return 0
	case off == 0:
		return uint64(d.ReadData(size))
	}
	var v uint64
	for i := range size {
		v |= uint64(d.ReadReg(int(off)+i, c.control)) << (8 * i)
	}
	return v
}

func (b commandBlock) WriteIO(off uint64, size int, v uint64) {
	c := b.channel
	if off == 0 {
		c.mu.Lock()
		defer c.mu.Unlock()
		if d := c.selected(); d != nil {
			d.WriteData(size, uint32(v))
		}
		return
	}
	for i := range size {
		c.write(int(off)+i, byte(v>>(8*i)))
	}
}

func (c *channel) write(reg int, v byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	d := c.selected()
	c.control &^= ata.ControlHOB
	if reg == regCommand {
		c.command(d, v)
		return
	}
	if d != nil && d.Busy() {
		return
	}
	// Both drives take note.
	c.each(func(d *ata.Drive) { d.WriteReg(reg, v) })
	if reg == regDevice {
		c.sel = int(v >> 4 & 1)
		c.drive()
	}
}

func (c *channel) command(d *ata.Drive, v byte) {
	if v == cmdDiagnose { // it is for both, whichever is selected
		c.each(func(o *ata.Drive) {
			if o != d {
				o.Diagnose()
			}
		})
		c.sel = 0
		d = c.selected()
	}
	if d != nil {
		d.Start(v)
	}
}

// controlBlock is the port of the alternate status and device control registers.
type controlBlock struct{ *channel }

func (b controlBlock) ReadIO(uint64, int) uint64 {
	c := b.channel
	c.mu.Lock()
	defer c.mu.Unlock()
	if d := c.selected(); d != nil {
		return uint64(d.Regs().Status)
	}
	return 0
}

func (b controlBlock) WriteIO(_ uint64, _ int, v uint64) {
	c := b.channel
	c.mu.Lock()
	was := c.control
	c.control = byte(v)
	begin := was&ata.ControlSRST == 0 && c.control&ata.ControlSRST != 0
	switch {
	case begin:
		c.each((*ata.Drive).SoftReset)
	case was&ata.ControlSRST != 0 && c.control&ata.ControlSRST == 0:
		c.each((*ata.Drive).EndReset)
		c.sel = 0
		c.each(func(d *ata.Drive) { d.Regs().Device &^= 1 << 4 })
	}
	c.drive()
	var drives []*ata.Drive
	if begin {
		c.each(func(d *ata.Drive) { drives = append(drives, d) })
	}
	c.mu.Unlock()
	for _, d := range drives {
		d.CancelParked()
	}
}

// resetEnter is the channel's part of a reset of the function.
func (c *channel) resetEnter() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.control, c.sel = 0, 0
	c.bm = busMaster{}
}

func (c *channel) resetHold() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.drive()
}

// Gather implements ata.Port.
func (c *channel) Gather(_ *ata.Drive, pos *ata.Pos, s *drive.Segs, want int) error {
	return c.bm.gather(c.f.dma, pos, s, want)
}
