package pci

import (
	"fmt"
	"math/bits"

	"govmd/internal/device"
)

const (
	msiMaxVectors = 32

	msiEnable       = 1 << 0
	msiCapableShift = 1
	msiUseShift     = 4
	msiUseMask      = 7 << msiUseShift
	msi64           = 1 << 7
	msiMaskable     = 1 << 8
)

// msi is the MSI capability (PCI Local Bus 3.0, section 6.8.1).
type msi struct {
	dev     *Device
	cap     int
	size    int
	data    int // offset of the message data
	mask    int // offset of the mask bits, or 0
	vectors []Vector
}

// EnableMSI gives the function MSI with up to 32 vectors, a power of two, with
// 64-bit addresses and, if maskable, a mask bit for each vector. off is the
// capability's place or 0. Functions call it in Realize.
func (d *Device) EnableMSI(vectors, off int, maskable bool) error {
	if vectors < 1 || vectors > msiMaxVectors || bits.OnesCount(uint(vectors)) != 1 {
		return fmt.Errorf("%s: %d MSI vectors are not possible: 1, 2, 4, 8, 16 and 32 are", d.Describe(), vectors)
	}
	if d.msi != nil {
		return fmt.Errorf("%s: MSI is there already", d.Describe())
	}
	m := &msi{dev: d, size: 14, vectors: make([]Vector, vectors)}
	if maskable {
		m.size = 24
	}
	off, err := d.AddCapability(CapMSI, off, m.size)
	if err != nil {
		return err
	}
	m.cap, m.data = off, off+12
	ctl := uint16(msi64 | bits.TrailingZeros(uint(vectors))<<msiCapableShift)
	d.config.Writable(off+2, 2, msiEnable|msiUseMask)
	d.config.Writable(off+4, 4, 0xfffffffc)
	d.config.Writable(off+8, 4, 0xffffffff)
	d.config.Writable(off+12, 2, 0xffff)
	if maskable {
		ctl |= msiMaskable
		m.mask = off + 16
		d.config.Writable(m.mask, 4, ones32(vectors))
	}
	d.config.SetU16(off+2, ctl)
	for i := range m.vectors {
		m.vectors[i].dev = d
	}
	d.msi = m
	return nil
}

func ones32(n int) uint32 { return uint32(1<<n - 1) }

// MSIVectors returns how many MSI vectors the function has.
func (d *Device) MSIVectors() int {
	if d.msi == nil {
		return 0
	}
	return len(d.msi.vectors)
}

// MSI returns MSI vector i, or nil when there is no such vector. The guest may
// have enabled fewer, see MSIEnabled: interrupts of the others are lost.
func (d *Device) MSI(i int) *Vector {
	if d.msi == nil || i < 0 || i >= len(d.msi.vectors) {
		return nil
	}
	return &d.msi.vectors[i]
}

// MSIEnabled returns how many MSI vectors the guest uses, 0 when it has not
// enabled MSI.
func (d *Device) MSIEnabled() int {
	if d.msi == nil {
		return 0
	}
	return d.msi.inUse()
}

func (m *msi) inUse() int {
	ctl := m.dev.config.U16(m.cap + 2)
	if ctl&msiEnable == 0 {
		return 0
	}
	return min(len(m.vectors), 1<<(ctl&msiUseMask>>msiUseShift))
}

// update applies the registers. d.access is held, or nothing runs yet.
func (m *msi) update() {
	c := &m.dev.config
	n := m.inUse()
	addr := uint64(c.U32(m.cap+8))<<32 | uint64(c.U32(m.cap+4))
	data := uint32(c.U16(m.data))
	mask := uint32(0)
	if m.mask != 0 {
		mask = c.U32(m.mask)
	}
	for i := range m.vectors {
		msg := device.MSIMessage{Addr: addr, Data: data}
		if n > 1 {
			msg.Data = data&^uint32(n-1) | uint32(i&(n-1))
		}
		m.vectors[i].set(msg, mask>>i&1 != 0, m.dev.messageGate(i < n, false))
	}
}

func (m *msi) reset() {
	for i := range m.vectors {
		m.vectors[i].set(device.MSIMessage{}, false, gateOff)
	}
}

// overlayPending puts the pending bits into what was read from configuration space.
func (m *msi) overlayPending(off, size int, v uint32) uint32 {
	if m.mask == 0 || !overlaps(off, size, m.mask+4, 4) {
		return v
	}
	for i := range m.vectors {
		if !m.vectors[i].isPending() {
			continue
		}
		if bit := 8*(m.mask+4-off) + i; bit >= 0 && bit < 8*size {
			v |= 1 << bit
		}
	}
	return v
}
