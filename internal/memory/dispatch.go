package memory

import (
	"encoding/binary"
	"math/bits"
)

// Read reads len(p) bytes from RAM, ROM and devices, which are accessed in
// pieces that they take. What is not mapped reads as all ones. The only error is
// FaultGone; p is all ones then where the memory is missing.
func (sp *Space) Read(addr uint64, p []byte) error { return sp.read(addr, p) }

// Write is the counterpart of Read. What is not mapped or read-only ignores it.
func (sp *Space) Write(addr uint64, p []byte) error { return sp.write(addr, p) }

// ReadIO makes one access of len(p) bytes, at most 8, for the guest: this is what
// a vCPU's exit calls. It takes no lock and allocates nothing.
func (sp *Space) ReadIO(addr uint64, p []byte) {
	_ = sp.read(addr, p) // missing memory reads as all ones
}

// WriteIO is the counterpart of ReadIO. Where an ioeventfd matches, it signals that.
func (sp *Space) WriteIO(addr uint64, p []byte) {
	_ = sp.write(addr, p) // a write to missing memory is lost
}

// enter finds who serves addr and goes inside: leave must follow. rest is how
// many bytes the entry serves from addr on, less one. An entry without region
// is nobody.
func (sp *Space) enter(addr uint64, write bool) (e *entry, rest uint64) {
	for {
		if e, rest, ok := sp.tryEnter(sp.table.Load(), addr, write); ok {
			return e, rest
		}
	}
}

// tryEnter goes inside if t is still the table.
func (sp *Space) tryEnter(t *table, addr uint64, write bool) (e *entry, rest uint64, ok bool) {
	e = t.find(addr)
	rest = e.last - addr
	if !e.toHandler(write) {
		return e, rest, true
	}
	// Whoever unmaps a region swaps the table and then looks at the count of
	// those inside. So: count first, and then see that the table still holds.
	e.region.inside.enter()
	if sp.table.Load() == t {
		return e, rest, true
	}
	e.region.inside.leave(&sp.sys.quiet)
	return nil, 0, false
}

func (sp *Space) leave(e *entry, write bool) {
	if e.toHandler(write) {
		e.region.inside.leave(&sp.sys.quiet)
	}
}

// toHandler reports whether a handler serves accesses of that direction.
func (e *entry) toHandler(write bool) bool {
	return e.ops != nil && (write || e.block == nil)
}

func (sp *Space) read(addr uint64, p []byte) (err error) {
	for len(p) > 0 {
		if addr > sp.last {
			fillOnes(p)
			return err
		}
		e, rest := sp.enter(addr, false)
		n := len(p)
		if rest < uint64(n) {
			n = int(rest) + 1
		}
		switch off := addr - e.first; {
		case e.toHandler(false):
			e.ops.read(e.off+off, p[:n])
			if traceRead.On() {
				traceRead.Emit(e.region.name, addr, n, value(p[:min(n, 8)]))
			}
		case e.block != nil:
			if e2 := e.block.readAt(e.blockOff+off, p[:n]); e2 != nil {
				fillOnes(p[:n])
				err = e2
			}
		default:
			fillOnes(p[:n])
		}
		sp.leave(e, false)
		p = p[n:]
		if addr += uint64(n); addr == 0 { // past 2^64
			fillOnes(p)
			return err
		}
	}
	return err
}

func (sp *Space) write(addr uint64, p []byte) (err error) {
	for len(p) > 0 {
		if addr > sp.last {
			return err
		}
		e, rest := sp.enter(addr, true)
		n := len(p)
		if rest < uint64(n) {
			n = int(rest) + 1
		}
		switch off := addr - e.first; {
		case e.toHandler(true):
			if traceWrite.On() {
				traceWrite.Emit(e.region.name, addr, n, value(p[:min(n, 8)]))
			}
			e.write(e.off+off, p[:n])
		case e.block != nil && !e.readOnly:
			if e2 := e.block.writeAt(e.blockOff+off, p[:n]); e2 != nil {
				err = e2
			}
		}
		sp.leave(e, true)
		p = p[n:]
		if addr += uint64(n); addr == 0 {
			return err
		}
	}
	return err
}

// WriteROM is as Write, but it changes ROM too and reaches no device: for loaders
// and debuggers.
func (sp *Space) WriteROM(addr uint64, p []byte) error {
	t := sp.table.Load()
	for len(p) > 0 && addr <= sp.last {
		e := t.find(addr)
		n := len(p)
		if rest := e.last - addr; rest < uint64(n) {
			n = int(rest) + 1
		}
		if e.region != nil && e.region.kind == kindRAM {
			r := e.region
			if err := r.block.writeAt(r.blockOff+e.off+(addr-e.first), p[:n]); err != nil {
				return err
			}
		}
		p = p[n:]
		if addr += uint64(n); addr == 0 {
			break
		}
	}
	return nil
}

// piece returns how many of n bytes at off make the next access: a power of two
// that the region takes, aligned unless it takes others.
func (o *ops) piece(off uint64, n int) int {
	size := floorPow2(min(n, o.spec.Max))
	if !o.spec.Unaligned && off != 0 {
		size = min(size, 1<<min(bits.TrailingZeros64(off), 3))
	}
	return size
}

func (o *ops) read(off uint64, p []byte) {
	for len(p) > 0 {
		size := o.piece(off, len(p))
		put(p[:size], o.readPiece(off, size))
		p, off = p[size:], off+uint64(size)
	}
}

// fits reports whether what the handler gets to see of an access is in the region:
// widening could take it out of a region whose size is no multiple of ImplMin.
func (o *ops) fits(off uint64, size int) bool {
	end := off + uint64(size-1)
	return end|uint64(o.spec.ImplMin-1) <= o.last || size >= o.spec.ImplMin
}

// readPiece makes one access as the guest sees it.
func (o *ops) readPiece(off uint64, size int) uint64 {
	s := &o.spec
	switch {
	case size < s.Min || !o.fits(off, size):
		return ^uint64(0)
	case size > s.ImplMax:
		var v uint64
		for i := 0; i < size; i += s.ImplMax {
			v |= o.h.ReadIO(off+uint64(i), s.ImplMax) & ones(s.ImplMax) << (8 * i)
		}
		return v
	case size < s.ImplMin:
		base := off &^ uint64(s.ImplMin-1)
		shift := int(off - base)
		v := o.h.ReadIO(base, s.ImplMin) & ones(s.ImplMin) >> (8 * shift)
		if have := s.ImplMin - shift; have < size {
			v |= o.h.ReadIO(base+uint64(s.ImplMin), s.ImplMin) << (8 * have)
		}
		return v
	}
	return o.h.ReadIO(off, size)
}

func (e *entry) write(off uint64, p []byte) {
	// As the kernel does it, the whole write is looked at first.
	if len(e.fds) > 0 && e.signal(off, p) {
		return
	}
	for whole := len(p); len(p) > 0; {
		size := e.ops.piece(off, len(p))
		if size == whole || len(e.fds) == 0 || !e.signal(off, p[:size]) {
			e.ops.writePiece(off, size, value(p[:size]))
		}
		p, off = p[size:], off+uint64(size)
	}
}

func (o *ops) writePiece(off uint64, size int, v uint64) {
	s := &o.spec
	switch {
	case size < s.Min || !o.fits(off, size):
	case size > s.ImplMax:
		for i := 0; i < size; i += s.ImplMax {
			o.h.WriteIO(off+uint64(i), s.ImplMax, v>>(8*i)&ones(s.ImplMax))
		}
	case size < s.ImplMin:
		base := off &^ uint64(s.ImplMin-1)
		shift := int(off - base)
		o.h.WriteIO(base, s.ImplMin, v<<(8*shift)&ones(s.ImplMin))
		if have := s.ImplMin - shift; have < size {
			o.h.WriteIO(base+uint64(s.ImplMin), s.ImplMin, v>>(8*have))
		}
	default:
		o.h.WriteIO(off, size, v)
	}
}

// signal signals the ioeventfds that the write matches and reports whether there were any.
func (e *entry) signal(off uint64, p []byte) (matched bool) {
	for i := range e.fds {
		f := &e.fds[i]
		if f.Addr != off || (f.Size != 0 && f.Size != len(p)) {
			continue
		}
		if f.Match && (len(p) > 8 || f.Value&ones(len(p)) != value(p)) {
			continue
		}
		signalFD(f.FD)
		matched = true
	}
	return matched
}

// ones returns the mask of size bytes, 1 to 8.
func ones(size int) uint64 { return ^uint64(0) >> (64 - 8*size) }

func fillOnes(p []byte) {
	for i := range p {
		p[i] = 0xff
	}
}

// put stores the low bytes of v in p.
func put(p []byte, v uint64) {
	switch len(p) {
	case 8:
		binary.LittleEndian.PutUint64(p, v)
	case 4:
		binary.LittleEndian.PutUint32(p, uint32(v))
	case 2:
		binary.LittleEndian.PutUint16(p, uint16(v))
	default:
		for i := range p {
			p[i] = byte(v >> (8 * i))
		}
	}
}

// value returns the bytes of p, at most 8, as a number.
func value(p []byte) (v uint64) {
	switch len(p) {
	case 8:
		return binary.LittleEndian.Uint64(p)
	case 4:
		return uint64(binary.LittleEndian.Uint32(p))
	case 2:
		return uint64(binary.LittleEndian.Uint16(p))
	}
	for i, b := range p {
		v |= uint64(b) << (8 * i)
	}
	return v
}
