package memory

import (
	"bytes"
	"errors"
	"testing"
)

func newBlock(t testing.TB, s *System, name string, size uint64) *Block {
	t.Helper()
	b, err := s.NewBlock(BlockConfig{Name: name, Size: size})
	must(t, err)
	return b
}

// faultOfErr returns the reason of an access error, 0 for none.
func reason(t testing.TB, err error) Fault {
	t.Helper()
	if err == nil {
		return 0
	}
	var ae *AccessError
	if !errors.As(err, &ae) {
		t.Fatalf("error is no AccessError: %v", err)
	}
	return ae.Fault
}

// newMap has 2 pages of RAM at 0x10000, a page of ROM after it, a device after
// that, and at 0x20000 two pages from different blocks.
func newMap(t testing.TB) (*Space, *Block) {
	s := NewSystem()
	sp := s.NewSpace("memory", 0)
	b := newBlock(t, s, "ram", 4*PageSize)
	c := newBlock(t, s, "ram2", PageSize)
	root := sp.Root()
	must(t, root.Add(0x10000, s.NewRAM("ram", b, 0, 2*PageSize)))
	must(t, root.Add(0x12000, s.NewROM("rom", b, 2*PageSize, PageSize)))
	must(t, root.Add(0x13000, s.NewIO("dev", PageSize, &nullHandler{}, Spec{})))
	must(t, root.Add(0x20000, s.NewRAM("ram3", b, 3*PageSize, PageSize)))
	must(t, root.Add(0x21000, s.NewRAM("ram2", c, 0, PageSize)))
	return sp, b
}

func TestDMAFaults(t *testing.T) {
	sp, _ := newMap(t)
	d := sp.NewDMA("nic")
	tests := []struct {
		addr, size       uint64
		read, write      Fault // of a copy
		borrow, borrowRW Fault
	}{
		{0x10000, 0x2000, 0, 0, 0, 0},
		{0x11fff, 1, 0, 0, 0, 0},
		{0x11fff, 2, 0, FaultReadOnly, FaultCrosses, FaultCrosses},
		{0x12000, 0x1000, 0, FaultReadOnly, 0, FaultReadOnly},
		{0x12ff0, 0x20, FaultNotRAM, FaultReadOnly, FaultCrosses, FaultReadOnly},
		{0x13000, 4, FaultNotRAM, FaultNotRAM, FaultNotRAM, FaultNotRAM},
		{0x14000, 4, FaultUnassigned, FaultUnassigned, FaultUnassigned, FaultUnassigned},
		{0x20800, 0x1000, 0, 0, FaultCrosses, FaultCrosses},
		{0x21ff0, 0x11, FaultUnassigned, FaultUnassigned, FaultCrosses, FaultCrosses},
		{^uint64(0), 2, FaultUnassigned, FaultUnassigned, FaultUnassigned, FaultUnassigned},
		{0x9000, 0, 0, 0, 0, 0},
	}
	for _, tt := range tests {
		p := make([]byte, tt.size)
		if got := reason(t, d.Read(tt.addr, p)); got != tt.read {
			t.Errorf("read %#x+%#x: %v", tt.addr, tt.size, got)
		}
		if got := reason(t, d.Write(tt.addr, p)); got != tt.write {
			t.Errorf("write %#x+%#x: %v", tt.addr, tt.size, got)
		}
		for _, write := range []bool{false, true} {
			want, copied := tt.borrow, tt.read
			if write {
				want, copied = tt.borrowRW, tt.write
			}
			b, err := d.Borrow(tt.addr, tt.size, write)
			if got := reason(t, err); got != want {
				t.Errorf("borrow %#x+%#x %v: %v", tt.addr, tt.size, write, got)
			}
			b.Release(0)
			vec, err := d.BorrowVec(tt.addr, tt.size, write, nil)
			if got := reason(t, err); got != copied {
				t.Errorf("vector %#x+%#x %v: %v", tt.addr, tt.size, write, got)
			}
			n := uint64(0)
			for _, b := range vec {
				n += b.Size()
				b.Release(0)
			}
			if err == nil && n != tt.size {
				t.Errorf("vector of %#x bytes instead of %#x", n, tt.size)
			}
		}
	}
	for _, b := range sp.System().Blocks() {
		if n := b.users.n.Load(); n != 0 {
			t.Errorf("%s is held %d times", b.Name(), n)
		}
	}
	if d.ReadU32(0x10000); d.Name() != "nic" || !d.Enabled() {
		t.Error("name or state is wrong")
	}
	d.SetEnabled(false)
	if _, err := d.ReadU32(0x10000); reason(t, err) != FaultDisabled {
		t.Error(err)
	}
	want := "nic: cannot write 8 bytes at 0x13000: it is not RAM"
	d.SetEnabled(true)
	if err := d.WriteU64(0x13000, 1); err == nil || err.Error() != want {
		t.Errorf("error %q, want %q", err, want)
	}
}

func TestDMANumbers(t *testing.T) {
	sp, b := newMap(t)
	d := sp.NewDMA("d")
	must(t, d.WriteU64(0x10000, 0x1122334455667788))
	must(t, d.WriteU32(0x10002, 0xaabbccdd))
	must(t, d.WriteU16(0x10000, 0xeeff))
	p := make([]byte, 8)
	must(t, b.Read(0, p))
	if want := []byte{0xff, 0xee, 0xdd, 0xcc, 0xbb, 0xaa, 0x22, 0x11}; !bytes.Equal(p, want) {
		t.Errorf("wrote %x", p)
	}
	v16, _ := d.ReadU16(0x10006)
	v32, _ := d.ReadU32(0x10002)
	v64, _ := d.ReadU64(0x10000)
	if v16 != 0x1122 || v32 != 0xaabbccdd || v64 != 0x1122aabbccddeeff {
		t.Errorf("read %x %x %x", v16, v32, v64)
	}
}

func TestBorrow(t *testing.T) {
	sp, b := newMap(t)
	d := sp.NewDMA("d")
	w, err := d.Borrow(0x10ff0, 32, true)
	must(t, err)
	if n, err := w.CopyFrom([]byte("0123456789"), 28); n != 4 || err != nil {
		t.Error(n, err)
	}
	if n, err := w.CopyFrom([]byte("abc"), 32); n != 0 || err != nil {
		t.Error(n, err)
	}
	copy(w.Bytes(), "xyz")
	if cap(w.Bytes()) != 32 {
		t.Error("the bytes reach further than what was lent")
	}
	if blk, off := w.Block(); blk != b || off != 0xff0 {
		t.Error(off)
	}
	w.Release(32)
	r, err := d.Borrow(0x10ff0, 32, false)
	must(t, err)
	p := make([]byte, 40)
	if n, err := r.CopyTo(p, 0); n != 32 || err != nil || string(p[:3]) != "xyz" || string(p[28:32]) != "0123" {
		t.Errorf("%d %v %q", n, err, p)
	}
	if _, err := r.CopyFrom(p, 0); reason(t, err) != FaultReadOnly {
		t.Error("wrote through what was lent for reading")
	}
	r.Release(0)
}

func TestWindow(t *testing.T) {
	sp, b := newMap(t)
	s := sp.System()
	d := sp.NewDMA("d")
	if _, err := d.Window(0x11ff0, 32, true); reason(t, err) != FaultReadOnly && reason(t, err) != FaultCrosses {
		t.Error(err)
	}
	if _, err := d.Window(0x10000, 0, true); reason(t, err) != FaultRange {
		t.Error(err)
	}
	w, err := d.Window(0x10002, 30, true)
	must(t, err)
	must(t, b.Write(0, []byte{0, 1, 2, 3, 4, 5, 6, 7, 8}))
	must(t, w.StoreU16(0, 0xaabb))
	must(t, w.StoreU16(2, 0xccdd))
	must(t, w.StoreU32(6, 0x11223344))
	must(t, w.StoreU64(14, 0x0102030405060708))
	must(t, w.Write(22, []byte("hello")))
	p := make([]byte, 32)
	must(t, b.Read(0, p))
	want := append([]byte{0, 1, 0xbb, 0xaa, 0xdd, 0xcc, 6, 7, 0x44, 0x33, 0x22, 0x11, 0, 0, 0, 0, 8, 7, 6, 5, 4, 3, 2, 1}, "hello\x00\x00\x00"...)
	if !bytes.Equal(p, want) {
		t.Errorf("memory %x\nwant   %x", p, want)
	}
	a16, _ := w.LoadU16(2)
	b16, _ := w.LoadU16(0)
	a32, _ := w.LoadU32(2)
	a64, _ := w.LoadU64(14)
	if a16 != 0xccdd || b16 != 0xaabb || a32 != 0x0706ccdd || a64 != 0x0102030405060708 {
		t.Errorf("loaded %x %x %x %x", a16, b16, a32, a64)
	}
	must(t, w.Read(22, p[:5]))
	if string(p[:5]) != "hello" || w.Addr() != 0x10002 || w.Size() != 30 {
		t.Errorf("%q", p[:5])
	}
	bad := func(err error, why Fault) {
		t.Helper()
		if got := reason(t, err); got != why {
			t.Errorf("fault %v, want %v", got, why)
		}
	}
	_, err = w.LoadU16(1)
	bad(err, FaultMisaligned)
	_, err = w.LoadU32(0)
	bad(err, FaultMisaligned)
	_, err = w.LoadU16(30)
	bad(err, FaultRange)
	_, err = w.LoadU16(^uint64(1))
	bad(err, FaultRange)
	bad(w.Write(28, p[:3]), FaultRange)
	d.SetEnabled(false)
	bad(w.StoreU16(0, 1), FaultDisabled)
	d.SetEnabled(true)
	must(t, w.StoreU16(0, 1))

	// The memory moves in the guest, and goes.
	r, _ := sp.Lookup(0x10000)
	r.Region.SetOffset(0x10002 - 0x1000)
	v, err := w.LoadU16(0)
	must(t, err)
	if must(t, b.Read(0x1000, p[:2])); v != uint16(value(p[:2])) {
		t.Errorf("loaded %x after a move", v)
	}
	r.Region.SetEnabled(false)
	_, err = w.LoadU16(0)
	bad(err, FaultUnassigned)
	if b.windows.Load() != 1 {
		t.Error("a window without memory holds the block")
	}
	s.Update(func() { r.Region.SetEnabled(true); r.Region.SetOffset(0x10000) })
	must(t, w.StoreU16(0, 5))
	w.Close()
	bad(w.StoreU16(0, 1), FaultRange)
	if b.windows.Load() != 1 {
		t.Error("a closed window holds the block")
	}
	ro, err := d.Window(0x12000, 16, false)
	must(t, err)
	bad(ro.StoreU16(0, 1), FaultReadOnly)
}

// While bus mastering is off a window fails even if the map changes, and it
// works as soon as that is on again.
func TestWindowDisabledWhileMapChanges(t *testing.T) {
	sp, _ := newMap(t)
	d := sp.NewDMA("d")
	w, err := d.Window(0x10000, 16, true)
	must(t, err)
	d.SetEnabled(false)
	must(t, sp.Root().Add(0x90000, sp.System().NewIO("x", 1, &nullHandler{}, Spec{})))
	if reason(t, w.StoreU32(0, 1)) != FaultDisabled {
		t.Error("not disabled")
	}
	d.SetEnabled(true)
	must(t, w.StoreU32(0, 1))
}

// A closed window takes hold of nothing when the map changes, whatever its address.
func TestClosedWindowStaysClosed(t *testing.T) {
	s := NewSystem()
	sp := s.NewSpace("memory", 0)
	b := newBlock(t, s, "ram", PageSize)
	r := s.NewRAM("ram", b, 0, 0)
	must(t, sp.Root().Add(0, r))
	w, err := sp.NewDMA("d").Window(0, 8, true)
	must(t, err)
	w.Close()
	must(t, sp.Root().Add(0x10000, s.NewIO("dev", 8, &nullHandler{}, Spec{})))
	if _, err := w.LoadU32(0); err == nil {
		t.Error("a closed window can be read")
	}
	if n := b.windows.Load(); n != 1 {
		t.Errorf("the closed window holds the block (%d)", n-1)
	}
}
