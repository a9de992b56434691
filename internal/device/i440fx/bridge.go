package i440fx

import (
	"sync"

	"govmd/internal/device/pci"
)

// Registers of the bridge's configuration space.
const (
	regRAMSize = 0x57 // not Intel's: RAM in units of 8 MiB, for coreboot
	regPAM     = 0x59 // to 0x5f
	regSMRAM   = 0x72

	smramOpen    = 1 << 6
	smramClosed  = 1 << 5
	smramLocked  = 1 << 4
	smramEnable  = 1 << 3
	smramSegment = 2 // the only one there is: 0xa0000 to 0xbffff
)

// Bridge is the function at 00:00.0, device "i440FX". Host plugs it in.
type Bridge struct {
	pci.Device
	host *Host

	mu       sync.Mutex // guards what follows
	segments [segments]segment
	smram    smram
}

// Realize implements device.Device.
func (b *Bridge) Realize() error {
	err := b.Setup(pci.Identity{Vendor: pci.VendorIntel, Device: 0x1237, Revision: 2, Class: 0x060000})
	if err != nil {
		return err
	}
	c := b.Config()
	c.Update(pci.RegStatus, 0, pci.StatusDevselMedium|pci.StatusFastB2B)
	// Plain storage for what programs the DRAM controller, which is not there.
	for _, r := range [][2]int{{0x50, 0x56}, {0x58, 0x58}, {0x60, 0x68}, {0x70, 0x70}, {0x90, 0x93}} {
		for off := r[0]; off <= r[1]; off++ {
			c.Writable(off, 1, 0xff)
		}
	}
	c.SetU8(regRAMSize, uint8(min(b.host.RAMSize>>23, 0xff)))
	c.Writable(regPAM, 1, 0x30)
	for off := regPAM + 1; off < regPAM+7; off++ {
		c.Writable(off, 1, 0x33)
	}
	c.SetU8(regSMRAM, smramSegment)
	c.Writable(regSMRAM, 1, smramOpen|smramClosed|smramLocked|smramEnable)
	return b.realizeShadow()
}

// ConfigWritten implements pci.ConfigWriter.
func (b *Bridge) ConfigWritten(off, size int) {
	if off < regPAM+7 && off+size > regPAM || off <= regSMRAM && off+size > regSMRAM {
		b.update()
	}
}

// ConfigReloaded implements pci.ConfigReloader.
func (b *Bridge) ConfigReloaded() { b.update() }

// update makes the map of the first megabyte follow the registers.
func (b *Bridge) update() {
	b.mu.Lock()
	defer b.mu.Unlock()
	c := b.Config()
	s := c.U8(regSMRAM)
	if s&smramLocked != 0 { // section 3.2.25: until the next reset
		s &^= smramOpen
		c.SetU8(regSMRAM, s)
		c.Writable(regSMRAM, 1, smramClosed)
	}
	var modes [segments]mode
	for i := range modes {
		// PAM0 has only an upper half.
		n := i + 1
		modes[i] = mode(c.U8(regPAM+n/2)>>(4*(n&1))) & (readRAM | writeRAM)
	}
	b.applyShadow(modes, s&smramEnable != 0 && s&(smramOpen|smramClosed) == smramOpen)
}
