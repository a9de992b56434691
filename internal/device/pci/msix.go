package pci

import (
	"fmt"
	"math/bits"

	"govmd/internal/device"
	"govmd/internal/memory"
)

const (
	msixEntry      = 16 // bytes of the table for a vector
	msixMaxVectors = 2048
	msixCapSize    = 12

	msixEnable       = 1 << 15
	msixFunctionMask = 1 << 14
	msixVectorMask   = 1
)

// msix is the MSI-X capability (PCI Local Bus 3.0, section 6.8.2).
type msix struct {
	dev     *Device
	cap     int
	vectors []Vector
	gate    gate
}

// EnableMSIX gives the function MSI-X with up to 2048 vectors. The table and
// the array of pending bits are put at the given offsets, multiples of 8, into
// the container that BAR number bar maps; where that BAR has not been registered
// a 32-bit one is made that is just large enough. Functions call it in Realize.
func (d *Device) EnableMSIX(vectors, bar int, table, pba uint32) error {
	if vectors < 1 || vectors > msixMaxVectors || bar < 0 || bar > 5 || table%8 != 0 || pba%8 != 0 {
		return fmt.Errorf("%s: %d MSI-X vectors in base address register %d are not possible", d.Describe(), vectors, bar)
	}
	if d.msix != nil {
		return fmt.Errorf("%s: MSI-X is there already", d.Describe())
	}
	tableSize, pbaSize := uint64(vectors)*msixEntry, msixPBASize(vectors)
	end := max(uint64(table)+tableSize, uint64(pba)+pbaSize)
	if uint64(table) < uint64(pba)+pbaSize && uint64(pba) < uint64(table)+tableSize {
		return fmt.Errorf("%s: MSI-X table and pending bits overlap", d.Describe())
	}
	mem := d.Env().Memory
	r := d.bars[bar].region
	if r == nil {
		size := max(4096, uint64(1)<<bits.Len64(end-1))
		r = mem.NewContainer(d.TypeName()+"-msix", size)
		if err := d.RegisterBAR(bar, BARMem32, r); err != nil {
			return err
		}
	}
	if end > r.Size() {
		return fmt.Errorf("%s: MSI-X table does not fit in base address register %d", d.Describe(), bar)
	}
	off, err := d.AddCapability(CapMSIX, 0, msixCapSize)
	if err != nil {
		return err
	}
	m := &msix{dev: d, cap: off, vectors: make([]Vector, vectors)}
	for i := range m.vectors {
		m.vectors[i].dev = d
		m.vectors[i].masked = true
	}
	d.config.SetU16(off+2, uint16(vectors-1))
	d.config.Writable(off+2, 2, msixEnable|msixFunctionMask)
	d.config.SetU32(off+4, table|uint32(bar))
	d.config.SetU32(off+8, pba|uint32(bar))
	spec := memory.Spec{Min: 4, Max: 8, ImplMin: 4, ImplMax: 4}
	if err := r.AddOverlap(uint64(table), mem.NewIO("msix-table", tableSize, (*msixTable)(m), spec), 1); err != nil {
		return err
	}
	if err := r.AddOverlap(uint64(pba), mem.NewIO("msix-pba", pbaSize, (*msixPBA)(m), spec), 1); err != nil {
		return err
	}
	d.msix = m
	return nil
}

// EnableMSIXOwnBAR gives the function MSI-X in a BAR of its own, laid out as
// guests know it from QEMU: the table, and the pending bits at the middle of a page.
func (d *Device) EnableMSIXOwnBAR(vectors, bar int) error {
	pba := uint32(2048)
	if n := uint32(vectors) * msixEntry; n > pba {
		pba = n
	}
	return d.EnableMSIX(vectors, bar, 0, pba)
}

func msixPBASize(vectors int) uint64 { return uint64(vectors+63) / 64 * 8 }

// MSIXVectors returns how many MSI-X vectors the function has.
func (d *Device) MSIXVectors() int {
	if d.msix == nil {
		return 0
	}
	return len(d.msix.vectors)
}

// MSIX returns MSI-X vector i, or nil when there is no such vector.
func (d *Device) MSIX(i int) *Vector {
	if d.msix == nil || i < 0 || i >= len(d.msix.vectors) {
		return nil
	}
	return &d.msix.vectors[i]
}

// MSIXEnabled reports whether the guest has enabled MSI-X, in which case the
// function does not use its pin.
func (d *Device) MSIXEnabled() bool {
	return d.msix != nil && d.config.U16(d.msix.cap+2)&msixEnable != 0
}

// update applies the control register. d.access is held, or nothing runs yet.
func (m *msix) update() {
	ctl := m.dev.config.U16(m.cap + 2)
	g := m.dev.messageGate(ctl&msixEnable != 0, ctl&msixFunctionMask != 0)
	if g == m.gate {
		return
	}
	m.gate = g
	for i := range m.vectors {
		m.vectors[i].setGate(g)
	}
}

func (m *msix) reset() {
	m.gate = gateOff
	for i := range m.vectors {
		m.vectors[i].set(device.MSIMessage{}, true, gateOff)
	}
}

// msixTable serves the table.
type msixTable msix

func (m *msixTable) ReadIO(off uint64, _ int) uint64 {
	i := off / msixEntry
	if i >= uint64(len(m.vectors)) {
		return 0
	}
	v := &m.vectors[i]
	v.mu.Lock()
	defer v.mu.Unlock()
	switch off % msixEntry / 4 {
	case 0:
		return v.msg.Addr & 0xffffffff
	case 1:
		return v.msg.Addr >> 32
	case 2:
		return uint64(v.msg.Data)
	}
	if v.masked {
		return msixVectorMask
	}
	return 0
}

func (m *msixTable) WriteIO(off uint64, _ int, val uint64) {
	i := off / msixEntry
	if i >= uint64(len(m.vectors)) {
		return
	}
	v := &m.vectors[i]
	v.mu.Lock()
	defer v.mu.Unlock()
	msg, masked := v.msg, v.masked
	switch off % msixEntry / 4 {
	case 0:
		msg.Addr = msg.Addr&^0xffffffff | val&0xfffffffc
	case 1:
		msg.Addr = msg.Addr&0xffffffff | val<<32
	case 2:
		msg.Data = uint32(val)
	case 3:
		masked = val&msixVectorMask != 0
	}
	v.apply(msg, masked, v.gate)
}

// msixPBA serves the array of pending bits, which the guest only reads.
type msixPBA msix

func (m *msixPBA) ReadIO(off uint64, _ int) uint64 {
	var bits uint64
	for i := 0; i < 32; i++ {
		n := off*8 + uint64(i)
		if n >= uint64(len(m.vectors)) {
			break
		}
		if m.vectors[n].isPending() {
			bits |= 1 << i
		}
	}
	return bits
}

func (m *msixPBA) WriteIO(uint64, int, uint64) {}
