package pci

import "fmt"

// Capability IDs.
const (
	CapPM     = 0x01
	CapMSI    = 0x05
	CapVendor = 0x09
	CapMSIX   = 0x11
	CapSATA   = 0x12
)

// firstCap is where the capabilities may begin: behind the header.
const firstCap = 0x40

type capSpace struct {
	used [ConventionalSize]bool
}

// AddCapability adds a capability of size bytes, of which the first two are its
// ID and the link to the next. off is its place, or 0 for the first that is
// free. It returns the place. The newest capability is the first in the list.
func (d *Device) AddCapability(id uint8, off, size int) (int, error) {
	if size < 2 {
		size = 2
	}
	if off == 0 {
		off = d.freeCap(size)
	}
	if off < firstCap || off%4 != 0 || off+size > ConventionalSize {
		return 0, fmt.Errorf("%s: no room for a capability of %d bytes", d.Describe(), size)
	}
	for i := off; i < off+size; i++ {
		if d.caps.used[i] {
			return 0, fmt.Errorf("%s: capability %#x at %#x overlaps another one", d.Describe(), id, off)
		}
	}
	for i := off; i < off+size; i++ {
		d.caps.used[i] = true
	}
	d.config.SetU8(off, id)
	d.config.SetU8(off+1, d.config.U8(RegCapabilities))
	d.config.SetU8(RegCapabilities, uint8(off))
	d.config.Update(RegStatus, 0, StatusCapabilities)
	return off, nil
}

// Reserve keeps capabilities away from registers of the function's own.
func (d *Device) Reserve(off, size int) {
	for i := off; i < off+size && i < ConventionalSize; i++ {
		d.caps.used[i] = true
	}
}

func (d *Device) freeCap(size int) int {
	for off := firstCap; off+size <= ConventionalSize; off += 4 {
		free := true
		for i := off; i < off+size && free; i++ {
			free = !d.caps.used[i]
		}
		if free {
			return off
		}
	}
	return 0
}

// FindCapability returns the place of the first capability with that ID, or 0.
func (d *Device) FindCapability(id uint8) int {
	off := int(d.config.U8(RegCapabilities))
	for n := 0; off >= firstCap && n < (ConventionalSize-firstCap)/4; n++ {
		if d.config.U8(off) == id {
			return off
		}
		off = int(d.config.U8(off+1)) &^ 3
	}
	return 0
}

// AddPM adds the power-management capability (PCI Power Management 1.2): the
// function keeps its state in D3hot, so the state bits are there to be read back.
func (d *Device) AddPM(off int) error {
	off, err := d.AddCapability(CapPM, off, 8)
	if err != nil {
		return err
	}
	const version3, noSoftReset, stateMask = 3, 1 << 3, 3
	d.config.SetU16(off+2, version3)
	d.config.SetU16(off+4, noSoftReset)
	d.config.Writable(off+4, 2, stateMask)
	return nil
}
