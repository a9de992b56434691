package memory

import "sync/atomic"

// DMA is the memory that a device may access: RAM and, for reading, ROM. Other
// devices' registers are out of reach: a guest could have a device ring its own
// doorbell while it holds its own mutex. Errors are *AccessError.
type DMA struct {
	sp   *Space
	name string
	off  atomic.Bool
}

// NewDMA returns access to the space for the named device, enabled.
func (sp *Space) NewDMA(name string) *DMA { return &DMA{sp: sp, name: name} }

// Name returns the device's name.
func (d *DMA) Name() string { return d.name }

// SetEnabled lets accesses through or has them fail, as PCI's bus-master enable
// bit does. What was borrowed before stays borrowed.
func (d *DMA) SetEnabled(on bool) { d.off.Store(!on) }

// Enabled returns what SetEnabled has set, initially true.
func (d *DMA) Enabled() bool { return !d.off.Load() }

func (d *DMA) fault(addr, size uint64, write bool, why Fault) *AccessError {
	return &AccessError{Who: d.name, Addr: addr, Size: size, Write: write, Fault: why}
}

// find returns the entry that serves addr, and how much of size bytes it serves.
func (d *DMA) find(t *table, addr, size uint64, write bool) (e *entry, n uint64, why Fault) {
	if d.off.Load() {
		return nil, 0, FaultDisabled
	}
	if addr > d.sp.last || size-1 > d.sp.last-addr {
		return nil, 0, FaultUnassigned
	}
	e = t.find(addr)
	switch {
	case e.region == nil:
		return nil, 0, FaultUnassigned
	case e.block == nil:
		return nil, 0, FaultNotRAM
	case write && e.readOnly:
		return nil, 0, FaultReadOnly
	}
	n = size
	if rest := e.last - addr; rest < n-1 {
		n = rest + 1
	}
	return e, n, 0
}

// Read copies from guest memory. After an error a part of p may have been changed.
func (d *DMA) Read(addr uint64, p []byte) error {
	t := d.sp.table.Load()
	for len(p) > 0 {
		e, n, why := d.find(t, addr, uint64(len(p)), false)
		if why != 0 {
			return d.fault(addr, uint64(len(p)), false, why)
		}
		if err := e.block.readAt(e.blockOff+(addr-e.first), p[:n]); err != nil {
			return d.fault(addr, n, false, err.Fault)
		}
		p, addr = p[n:], addr+n
	}
	return nil
}

// Write copies to guest memory and marks it dirty. After an error a part may
// have been written.
func (d *DMA) Write(addr uint64, p []byte) error {
	t := d.sp.table.Load()
	for len(p) > 0 {
		e, n, why := d.find(t, addr, uint64(len(p)), true)
		if why != 0 {
			return d.fault(addr, uint64(len(p)), true, why)
		}
		if err := e.block.writeAt(e.blockOff+(addr-e.first), p[:n]); err != nil {
			return d.fault(addr, n, true, err.Fault)
		}
		p, addr = p[n:], addr+n
	}
	return nil
}

// ReadU16 reads a little-endian number. An aligned one is read at once.
func (d *DMA) ReadU16(addr uint64) (uint16, error) {
	var p [2]byte
	err := d.Read(addr, p[:])
	return uint16(value(p[:])), err
}

// ReadU32 reads a little-endian number. An aligned one is read at once.
func (d *DMA) ReadU32(addr uint64) (uint32, error) {
	var p [4]byte
	err := d.Read(addr, p[:])
	return uint32(value(p[:])), err
}

// ReadU64 reads a little-endian number. An aligned one is read at once.
func (d *DMA) ReadU64(addr uint64) (uint64, error) {
	var p [8]byte
	err := d.Read(addr, p[:])
	return value(p[:]), err
}

// WriteU16 writes a little-endian number. An aligned one is written at once.
func (d *DMA) WriteU16(addr uint64, v uint16) error {
	var p [2]byte
	put(p[:], uint64(v))
	return d.Write(addr, p[:])
}

// WriteU32 writes a little-endian number. An aligned one is written at once.
func (d *DMA) WriteU32(addr uint64, v uint32) error {
	var p [4]byte
	put(p[:], uint64(v))
	return d.Write(addr, p[:])
}

// WriteU64 writes a little-endian number. An aligned one is written at once.
func (d *DMA) WriteU64(addr uint64, v uint64) error {
	var p [8]byte
	put(p[:], v)
	return d.Write(addr, p[:])
}

// Borrow lends size bytes at addr, which must be one piece of RAM (or of ROM,
// unless write is set). Nothing is lent, without an error, if size is 0.
func (d *DMA) Borrow(addr, size uint64, write bool) (Borrow, error) {
	if size == 0 {
		return Borrow{}, nil
	}
	b, why := d.borrow(d.sp.table.Load(), addr, size, write)
	if why == 0 && b.Size() < size {
		b.Release(0)
		b, why = Borrow{}, FaultCrosses
	}
	if why != 0 {
		return Borrow{}, d.fault(addr, size, write, why)
	}
	return b, nil
}

// BorrowVec lends size bytes at addr in as many pieces as it takes, appended to
// dst. After an error nothing more is lent than dst was before.
func (d *DMA) BorrowVec(addr, size uint64, write bool, dst []Borrow) ([]Borrow, error) {
	t := d.sp.table.Load()
	had := len(dst)
	for size > 0 {
		b, why := d.borrow(t, addr, size, write)
		if why != 0 {
			for _, x := range dst[had:] {
				x.Release(0)
			}
			return dst[:had], d.fault(addr, size, write, why)
		}
		dst = append(dst, b)
		addr, size = addr+b.Size(), size-b.Size()
	}
	return dst, nil
}

// borrow lends what is in one piece.
func (d *DMA) borrow(t *table, addr, size uint64, write bool) (Borrow, Fault) {
	e, n, why := d.find(t, addr, size, write)
	if why != 0 {
		return Borrow{}, why
	}
	b := e.block
	if write && b.readOnly {
		return Borrow{}, FaultReadOnly
	}
	if !b.acquire() {
		return Borrow{}, FaultGone
	}
	off := e.blockOff + (addr - e.first)
	return Borrow{block: b, off: off, bytes: b.m.bytes[off : off+n : off+n], write: write}, 0
}
