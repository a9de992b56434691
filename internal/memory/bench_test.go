package memory

import (
	"fmt"
	"path/filepath"
	"testing"
)

// newPC has about as many regions as a PC: ports or devices in steps, and RAM.
func newPC(t testing.TB, path string) (*Space, *DMA) {
	s := NewSystem()
	sp := s.NewSpace("memory", 0)
	b, err := s.NewBlock(BlockConfig{Name: "pc.ram", Size: 16 << 20, Path: path, Shared: path != ""})
	must(t, err)
	t.Cleanup(func() { b.Close() })
	must(t, sp.Root().Add(0, s.NewRAM("pc.ram", b, 0, 0)))
	for i := range uint64(60) {
		must(t, sp.Root().Add(0xfe000000+i<<16, s.NewIO(fmt.Sprint("dev", i), 0x1000, &nullHandler{}, Spec{})))
	}
	return sp, sp.NewDMA("d")
}

// hot is what must not allocate.
func hot(t testing.TB, path string) map[string]func() {
	sp, d := newPC(t, path)
	p4, p512, p64k := make([]byte, 4), make([]byte, 512), make([]byte, 64<<10)
	w, err := d.Window(0x1000, 4096, true)
	must(t, err)
	vec := make([]Borrow, 0, 4)
	return map[string]func(){
		"ReadIO":          func() { sp.ReadIO(0xfe200010, p4) },
		"WriteIO":         func() { sp.WriteIO(0xfe300010, p4) },
		"unassigned":      func() { sp.ReadIO(0xfe30f000, p4) },
		"ReadU16":         func() { _, _ = d.ReadU16(0x2000) },
		"WriteU64":        func() { _ = d.WriteU64(0x2000, 1) },
		"Read512":         func() { _ = d.Read(0x3000, p512) },
		"Read64K":         func() { _ = d.Read(0x10000, p64k) },
		"Borrow":          func() { b, _ := d.Borrow(0x4000, 4096, true); b.Release(4096) },
		"BorrowVec":       func() { vec, _ = d.BorrowVec(0x4000, 4096, true, vec[:0]); vec[0].Release(4096) },
		"Window.LoadU16":  func() { _, _ = w.LoadU16(2) },
		"Window.StoreU16": func() { _ = w.StoreU16(2, 1) },
		"Window.StoreU32": func() { _ = w.StoreU32(4, 1) },
		"Window.Read16":   func() { _ = w.Read(64, p512[:16]) },
	}
}

func TestHotPathsDoNotAllocate(t *testing.T) {
	for _, path := range []string{"", filepath.Join(t.TempDir(), "ram")} {
		for name, fn := range hot(t, path) {
			if n := testing.AllocsPerRun(100, fn); n != 0 {
				t.Errorf("%s allocates %v times (file %q)", name, n, path)
			}
		}
	}
}

func BenchmarkAccess(b *testing.B) {
	for name, path := range map[string]string{"anonymous": "", "file": filepath.Join(b.TempDir(), "ram")} {
		for op, fn := range hot(b, path) {
			b.Run(name+"/"+op, func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					fn()
				}
			})
		}
	}
}

func BenchmarkTracked(b *testing.B) {
	sp, d := newPC(b, "")
	must(b, sp.System().NewDirtyConsumer("c").Start())
	b.ReportAllocs()
	for b.Loop() {
		_ = d.WriteU64(0x2000, 1)
	}
}

func BenchmarkReadIOParallel(b *testing.B) {
	sp, _ := newPC(b, "")
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		p := make([]byte, 4)
		for pb.Next() {
			sp.ReadIO(0xfe200010, p)
		}
	})
}

func BenchmarkMoveBAR(b *testing.B) {
	sp, _ := newPC(b, "")
	s := sp.System()
	bar := s.NewIO("bar", 0x1000, &nullHandler{}, Spec{})
	must(b, sp.Root().AddOverlap(0xe0000000, bar, 1))
	sp.AddListener(listenerFunc(func(Change) {}), 0)
	b.ReportAllocs()
	for i := uint64(0); b.Loop(); i++ {
		bar.SetOffset(0xe0000000 + i%2<<12)
	}
}

func BenchmarkTake(b *testing.B) {
	s := NewSystem()
	blk := &Block{sys: s, name: "b", size: 1 << 30}
	s.blocks = []*Block{blk}
	c := s.NewDirtyConsumer("c")
	must(b, c.Start())
	b.ReportAllocs()
	b.SetBytes(1 << 30)
	for b.Loop() {
		blk.MarkPages(1000, 0x5555)
		c.Take(blk, 0, ^uint64(0), func(page, n uint64) {})
	}
}
