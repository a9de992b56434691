package memory

import (
	"runtime"
	"strings"
	"testing"
)

func TestPlacingIsChecked(t *testing.T) {
	s := NewSystem()
	sp := s.NewSpace("s", 0)
	root := sp.Root()
	a, b, c := s.NewContainer("a", 0x1000), s.NewContainer("b", 0x1000), s.NewContainer("c", 0x1000)
	must(t, root.Add(0x1000, a))
	must(t, b.Add(0, c))
	must(t, a.Add(0, b))
	toC := s.NewAlias("toC", c, 0, 0x1000)
	toA := s.NewAlias("toA", a, 0, 0x1000)
	other := s.NewContainer("other", 0x1000)
	must(t, c.AddOverlap(0, other, 0))
	tests := []struct {
		err  error
		want string // part of the error
	}{
		{root.Add(0x1fff, s.NewContainer("x", 1)), `memory region "x" (0x1fff to 0x1fff) overlaps "a" (0x1000 to 0x1fff) in "s"`},
		{root.Add(0, s.NewContainer("x", 0)), "overlaps"},
		{root.Add(^uint64(0), s.NewContainer("x", 0)), ""},
		{root.AddOverlap(0x1000, s.NewContainer("x", 1), 0), ""},
		{root.Add(0x9000, a), `it is in "s"`},
		{c.Add(0, a), `it is in "s"`},
		{c.Add(0, root), "root of an address space"},
		{c.AddOverlap(0, toC, 1), "is a part of it"},
		{c.AddOverlap(0, toA, 1), "is a part of it"},
		{other.AddOverlap(0, other, 1), "it is in"},
		{toA.Add(0, s.NewContainer("x", 1)), "is an alias"},
		{root.Add(0x9000, NewSystem().NewContainer("x", 1)), "another machine"},
		{root.Add(0x9000, toA), ""},
	}
	for i, tt := range tests {
		if (tt.err == nil) != (tt.want == "") || tt.err != nil && !strings.Contains(tt.err.Error(), tt.want) {
			t.Errorf("%d: error %v, want %q", i, tt.err, tt.want)
		}
	}
	loop := s.NewContainer("loop", 1)
	if err := loop.Add(0, loop); err == nil {
		t.Error("a region was placed in itself")
	}
}

func TestProperties(t *testing.T) {
	s := NewSystem()
	r := s.NewContainer("r", 0x100)
	p := s.NewContainer("p", 0)
	must(t, p.AddOverlap(0x10, r, 3))
	if r.Name() != "r" || r.Size() != 0x100 || r.Offset() != 0x10 || r.Priority() != 3 || !r.Enabled() || r.Parent() != p || p.Size() != 0 {
		t.Errorf("%+v", r)
	}
	p.Remove(r)
	if r.Parent() != nil {
		t.Error("still there")
	}
	p.Remove(r) // nothing
}

// PAM: two modes of a stretch of RAM that lies behind aliases, and all of it in one piece again.
func TestShadowing(t *testing.T) {
	s := NewSystem()
	sp := s.NewSpace("memory", 0)
	b := &Block{sys: s, name: "pc.ram", size: 64 << 20}
	ram := s.NewRAM("pc.ram", b, 0, 0)
	pci := s.NewContainer("pci", 0)
	rom := s.NewIO("rom", 0x20000, &nullHandler{}, Spec{})
	must(t, pci.Add(0xe0000, rom))
	must(t, sp.Root().AddOverlap(0, pci, -1))
	must(t, sp.Root().Add(0, s.NewAlias("ram-below-4g", ram, 0, 64<<20)))
	toPCI := s.NewAlias("pam-pci", pci, 0xe0000, 0x20000)
	toROM := s.NewAlias("pam-rom", ram, 0xe0000, 0x20000)
	toROM.SetReadOnly(true)
	toROM.SetEnabled(false)
	must(t, sp.Root().AddOverlap(0xe0000, toPCI, 1))
	must(t, sp.Root().AddOverlap(0xe0000, toROM, 1))
	m := &mirror{t: t}
	sp.AddListener(m, 0)

	if len(m.sections) != 3 || m.sections[1].Region != rom || m.sections[2].Offset != 0x100000 {
		t.Errorf("through to the bus: %+v", m.sections)
	}
	s.Update(func() { toPCI.SetEnabled(false); toROM.SetEnabled(true) })
	if len(m.sections) != 3 || m.sections[1].Block != b || !m.sections[1].ReadOnly || m.sections[1].Offset != 0xe0000 {
		t.Errorf("write-protected: %+v", m.sections)
	}
	toROM.SetEnabled(false)
	if len(m.sections) != 1 || m.sections[0].Size != 64<<20 {
		t.Errorf("all RAM: %+v", m.sections)
	}
	toROM.SetEnabled(false)
	if m.calls != 3 {
		t.Errorf("told %d times", m.calls)
	}
}

func TestRAMStaysInBlock(t *testing.T) {
	s := NewSystem()
	sp := s.NewSpace("s", 0)
	b := &Block{sys: s, name: "b", size: PageSize}
	for i, r := range []*Region{s.NewRAM("a", b, 0x800, ^uint64(0)), s.NewRAM("b", b, 0x800, 0), s.NewROM("c", b, ^uint64(0), 10)} {
		must(t, sp.Root().Add(uint64(i)<<20, r))
	}
	sp.Root().children[2].SetSize(1 << 40)
	for _, v := range sp.FlatView() {
		if v.Offset != 0x800 || v.Size != 0x800 {
			t.Errorf("%+v", v)
		}
	}
	if len(sp.FlatView()) != 2 {
		t.Errorf("%+v", sp.FlatView())
	}
}

func TestListenerOrder(t *testing.T) {
	s := NewSystem()
	sp := s.NewSpace("s", 0)
	var got string
	add := func(name string, prio int) func() {
		return sp.AddListener(listenerFunc(func(Change) { got += name }), prio)
	}
	add("c", 5)
	add("a", -1)
	remove := add("d", 5)
	add("b", 0)
	r := s.NewIO("r", 1, &nullHandler{}, Spec{})
	must(t, sp.Root().Add(0, r))
	remove()
	r.SetOffset(1)
	r.SetOffset(1) // no change
	if got != "abcdabc" {
		t.Error(got)
	}
}

type listenerFunc func(Change)

func (f listenerFunc) MapChanged(c Change) { f(c) }

// A listener may change the tree; all listeners end with the same map.
func TestListenerChangesMap(t *testing.T) {
	s := NewSystem()
	sp := s.NewSpace("s", 0)
	r := s.NewIO("r", 1, &nullHandler{}, Spec{})
	extra := s.NewIO("extra", 1, &nullHandler{}, Spec{})
	sp.AddListener(listenerFunc(func(c Change) { _ = sp.Root().Add(0x100, extra) }), 0)
	m := &mirror{t: t}
	sp.AddListener(m, 1)
	must(t, sp.Root().Add(0, r))
	if len(m.sections) != 2 || m.calls != 2 {
		t.Errorf("told %d times, have %+v", m.calls, m.sections)
	}
}

func TestQuiesceInsideUpdate(t *testing.T) {
	s := NewSystem()
	r := s.NewContainer("r", 1)
	defer func() {
		if recover() == nil {
			t.Error("it would have returned before the change has happened")
		}
	}()
	s.Update(r.Quiesce)
}

// A guest that moves BARs for ever leaves nothing behind.
func TestMovingLeavesNothing(t *testing.T) {
	s := NewSystem()
	sp := s.NewSpace("s", 0)
	m := &mirror{t: t}
	sp.AddListener(m, 0)
	bar := s.NewIO("bar", 0x1000, &nullHandler{}, Spec{})
	v := uint64(1)
	bar.AddIoEventFD(0, 4, &v, 1)
	must(t, sp.Root().AddOverlap(0, bar, 1))
	dev := sp.NewDMA("d")
	heap := func() uint64 {
		var ms runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&ms)
		return ms.HeapAlloc
	}
	move := func(n int) {
		for i := range n {
			bar.SetOffset(uint64(i%7) << 12)
			bar.SetEnabled(i%3 != 0)
			_, _ = dev.ReadU32(0)
		}
	}
	move(100)
	before := heap()
	move(3000)
	if after := heap(); after > before+64<<10 {
		t.Errorf("the heap went from %d to %d bytes", before, after)
	}
	if len(m.sections) > 1 || len(m.fds) > 1 {
		t.Errorf("%+v %+v", m.sections, m.fds)
	}
}

func TestSpaceClose(t *testing.T) {
	s := NewSystem()
	keep, sp := s.NewSpace("keep", 0), s.NewSpace("s", 0)
	r := s.NewIO("r", 1, &nullHandler{}, Spec{})
	must(t, sp.Root().Add(0, r))
	m := &mirror{t: t}
	sp.AddListener(m, 0)
	sp.Close()
	if len(m.sections) != 0 || len(sp.FlatView()) != 0 || len(s.spaces) != 1 {
		t.Errorf("left: %+v", m.sections)
	}
	sp.Root().Remove(r)
	must(t, keep.Root().Add(0, r))
	if len(keep.FlatView()) != 1 {
		t.Error("the other space does not work any more")
	}
}

func TestDump(t *testing.T) {
	s := NewSystem()
	sp := s.NewSpace("memory", 0)
	b := &Block{sys: s, name: "pc.ram", size: 1 << 20}
	ram := s.NewRAM("pc.ram", b, 0, 0)
	pci := s.NewContainer("pci", 0)
	must(t, pci.AddOverlap(0xa0000, s.NewIO("vga", 0x20000, &nullHandler{}, Spec{}), 1))
	must(t, pci.Add(0xfe000000, s.NewROM("vga.rom", b, 0, 0x1000)))
	must(t, sp.Root().AddOverlap(0, pci, -1))
	must(t, sp.Root().Add(0, s.NewAlias("low", ram, 0, 0x80000)))
	off := s.NewAlias("smram", pci, 0xa0000, 0x20000)
	off.SetEnabled(false)
	must(t, sp.Root().AddOverlap(0xa0000, off, 2))
	var w strings.Builder
	pci.SetOwner(func() string { return "dev id=host" })
	s.Dump(&w, DumpOptions{Disabled: true})
	s.DumpFlat(&w, DumpOptions{Owners: true, Slot: func(s Section) bool { return s.Block != nil }})
	want := `address-space: memory
  0000000000000000-ffffffffffffffff (prio 0, i/o): memory
    0000000000000000-000000000007ffff (prio 0, ram): alias low @pc.ram 0000000000000000-000000000007ffff
    0000000000000000-ffffffffffffffff (prio -1, i/o): pci
      00000000000a0000-00000000000bffff (prio 1, i/o): vga
      00000000fe000000-00000000fe000fff (prio 0, rom): vga.rom
    00000000000a0000-00000000000bffff (prio 2, i/o): alias smram @pci 00000000000a0000-00000000000bffff [disabled]

memory-region: pc.ram
  0000000000000000-00000000000fffff (prio 0, ram): pc.ram

FlatView #0
 AS "memory", root: memory
 Root memory region: memory
  0000000000000000-000000000007ffff (prio 0, ram): pc.ram KVM
  00000000000a0000-00000000000bffff (prio 1, i/o): vga owner:{dev id=host}
  00000000fe000000-00000000fe000fff (prio 0, rom): vga.rom KVM owner:{dev id=host}

`
	if w.String() != want {
		t.Errorf("got\n%s", w.String())
	}
	w.Reset()
	s.Dump(&w, DumpOptions{})
	if strings.Contains(w.String(), "smram") {
		t.Errorf("what is not enabled is shown:\n%s", w.String())
	}
}
