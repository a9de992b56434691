package memory

// Window is a long-lived view of a small piece of RAM, for a virtqueue's rings.
// Where the RAM is in this process is looked up again only when the map has
// changed since, so an access is a few nanoseconds.
//
// Loads are acquire and stores are release operations, with a full barrier after
// a store. Offsets must make guest addresses that are multiples of the size,
// else the access fails with FaultMisaligned. Stores mark the RAM dirty.
//
// A window is used by one goroutine at a time: its queue's lock guards it. Errors
// are *AccessError, among them FaultDisabled when bus mastering is off.
type Window struct {
	d     *DMA
	addr  uint64
	size  uint64
	write bool

	gen   uint64 // of the map that the rest is from
	why   Fault  // not 0: there is no such RAM
	block *Block // held by windows
	off   uint64 // of the window in block
}

// Window returns a view of size bytes at addr, which must be one piece of RAM.
func (d *DMA) Window(addr, size uint64, write bool) (*Window, error) {
	if size == 0 {
		return nil, d.fault(addr, size, write, FaultRange)
	}
	w := &Window{d: d, addr: addr, size: size, write: write}
	w.lookUp()
	if w.why != 0 {
		return nil, d.fault(addr, size, write, w.why)
	}
	return w, nil
}

// Addr returns the guest's address of the window.
func (w *Window) Addr() uint64 { return w.addr }

// Size returns the window's size in bytes.
func (w *Window) Size() uint64 { return w.size }

// Close ends the window; accesses fail from then on.
func (w *Window) Close() {
	w.drop()
	w.size = 0
}

func (w *Window) drop() {
	if w.block != nil {
		w.block.releaseWindow()
		w.block = nil
	}
}

// lookUp finds the RAM in the present map.
func (w *Window) lookUp() {
	if w.size == 0 { // closed
		w.why = FaultRange
		return
	}
	w.gen = w.d.sp.gen.Load() // before the table: the next access looks again if it changes now
	b, why := w.d.borrow(w.d.sp.table.Load(), w.addr, w.size, w.write)
	if why == FaultDisabled { // says nothing about the map
		w.drop()
		w.why, w.gen = why, w.gen-1
		return
	}
	if why == 0 && b.Size() < w.size {
		b.Release(0)
		why = FaultCrosses
	}
	if why != 0 {
		w.drop()
		w.why = why
		return
	}
	w.why, w.off = 0, b.off
	if w.block != b.block {
		w.drop()
		w.block = b.block
		w.block.windows.Add(1)
	}
	b.Release(0)
}

// at checks an access of n bytes at off and returns its offset in w.block.
func (w *Window) at(off, n uint64, write bool) (uint64, *AccessError) {
	if w.gen != w.d.sp.gen.Load() {
		w.lookUp()
	}
	if w.why != 0 || w.d.off.Load() || off > w.size || n > w.size-off || (write && !w.write) {
		return 0, w.fault(off, n, write)
	}
	return w.off + off, nil
}

func (w *Window) fault(off, n uint64, write bool) *AccessError {
	why := w.why
	switch {
	case w.d.off.Load():
		why = FaultDisabled
	case off > w.size || n > w.size-off:
		why = FaultRange
	case why == 0 && write && !w.write:
		why = FaultReadOnly
	}
	return w.d.fault(w.addr+off, n, write, why)
}

// Read copies from the window.
func (w *Window) Read(off uint64, p []byte) error {
	at, err := w.at(off, uint64(len(p)), false)
	if err != nil {
		return err
	}
	if !w.block.m.copyOut(p, at) {
		return w.d.fault(w.addr+off, uint64(len(p)), false, FaultGone)
	}
	return nil
}

// Write copies into the window.
func (w *Window) Write(off uint64, p []byte) error {
	at, err := w.at(off, uint64(len(p)), true)
	if err != nil {
		return err
	}
	ok := w.block.m.copyIn(at, p)
	w.block.markDirty(at, uint64(len(p)))
	if !ok {
		return w.d.fault(w.addr+off, uint64(len(p)), true, FaultGone)
	}
	return nil
}

// aligned is at for a number of n bytes.
func (w *Window) aligned(off, n uint64, write bool) (uint64, *AccessError) {
	if (w.addr+off)&(n-1) != 0 {
		return 0, w.d.fault(w.addr+off, n, write, FaultMisaligned)
	}
	return w.at(off, n, write)
}

// LoadU16 loads a little-endian number: Go has no 16-bit atomics, so the aligned
// 32-bit word that it is in is loaded.
func (w *Window) LoadU16(off uint64) (uint16, error) {
	at, err := w.aligned(off, 2, false)
	if err != nil {
		return 0, err
	}
	v, ok := w.block.m.load32(at &^ 3)
	if !ok {
		return 0, w.d.fault(w.addr+off, 2, false, FaultGone)
	}
	return uint16(v >> (8 * (at & 2))), nil
}

// LoadU32 loads a little-endian number.
func (w *Window) LoadU32(off uint64) (uint32, error) {
	at, err := w.aligned(off, 4, false)
	if err != nil {
		return 0, err
	}
	v, ok := w.block.m.load32(at)
	if !ok {
		return 0, w.d.fault(w.addr+off, 4, false, FaultGone)
	}
	return v, nil
}

// LoadU64 loads a little-endian number.
func (w *Window) LoadU64(off uint64) (uint64, error) {
	at, err := w.aligned(off, 8, false)
	if err != nil {
		return 0, err
	}
	v, ok := w.block.m.load64(at)
	if !ok {
		return 0, w.d.fault(w.addr+off, 8, false, FaultGone)
	}
	return v, nil
}

// StoreU16 stores a little-endian number by exchanging the aligned 32-bit word
// that it is in, whose other half it does not change. Where that half is the
// device's too (a used ring's flags and index), StoreU32 of both is cheaper.
func (w *Window) StoreU16(off uint64, v uint16) error {
	at, err := w.aligned(off, 2, true)
	if err != nil {
		return err
	}
	ok := w.block.m.store16(at, v)
	w.block.markDirty(at, 2)
	if !ok {
		return w.d.fault(w.addr+off, 2, true, FaultGone)
	}
	return nil
}

// StoreU32 stores a little-endian number.
func (w *Window) StoreU32(off uint64, v uint32) error {
	at, err := w.aligned(off, 4, true)
	if err != nil {
		return err
	}
	ok := w.block.m.store32(at, v)
	w.block.markDirty(at, 4)
	if !ok {
		return w.d.fault(w.addr+off, 4, true, FaultGone)
	}
	return nil
}

// StoreU64 stores a little-endian number.
func (w *Window) StoreU64(off uint64, v uint64) error {
	at, err := w.aligned(off, 8, true)
	if err != nil {
		return err
	}
	ok := w.block.m.store64(at, v)
	w.block.markDirty(at, 8)
	if !ok {
		return w.d.fault(w.addr+off, 8, true, FaultGone)
	}
	return nil
}
