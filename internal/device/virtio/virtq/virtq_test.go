package virtq

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"govmd/internal/device/virtio/ringtest"
	"govmd/internal/memory"
)

const (
	ramSize  = 1 << 20
	ringBase = 0x1000
	tables   = 0x20000 // indirect tables
	data     = 0x40000
	ioBase   = 0x200000 // an I/O region
)

type env struct {
	space *memory.Space
	dma   *memory.DMA
	ring  *ringtest.Ring
	q     *Split
	wakes int
	block *memory.Block
}

type noIO struct{}

func (noIO) ReadIO(uint64, int) uint64   { return 0 }
func (noIO) WriteIO(uint64, int, uint64) {}

func memoryFor(tb testing.TB) (*memory.Space, *memory.Block) {
	tb.Helper()
	sys := memory.NewSystem()
	sp := sys.NewSpace("memory", 0)
	b, err := sys.NewBlock(memory.BlockConfig{Name: "ram", Size: ramSize})
	if err != nil {
		tb.Fatal(err)
	}
	if err := sp.Root().Add(0, sys.NewRAM("ram", b, 0, ramSize)); err != nil {
		tb.Fatal(err)
	}
	if err := sp.Root().Add(ioBase, sys.NewIO("io", 0x1000, noIO{}, memory.Spec{})); err != nil {
		tb.Fatal(err)
	}
	return sp, b
}

func newEnv(tb testing.TB, size uint16, f Features) *env {
	tb.Helper()
	e := &env{}
	e.space, e.block = memoryFor(tb) // not closed: tests leave elements out, and closing waits for those
	e.dma = e.space.NewDMA("test")
	e.ring = ringtest.NewRing(tb, e.space, ringBase, size)
	e.q = NewSplit(e.dma, func() { e.wakes++ })
	if err := e.q.Enable(e.config(f)); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(e.q.Reset)
	return e
}

func (e *env) config(f Features) Config {
	return Config{Size: e.ring.Size, Desc: e.ring.Desc, Avail: e.ring.Avail, Used: e.ring.Used, Features: f}
}

func (e *env) pop(tb testing.TB) *Element {
	tb.Helper()
	el, err := e.q.Pop()
	if err != nil {
		tb.Fatal(err)
	}
	if el == nil {
		tb.Fatal("nothing to pop")
	}
	return el
}

func (e *env) empty(tb testing.TB) {
	tb.Helper()
	if el, err := e.q.Pop(); el != nil || err != nil {
		tb.Fatalf("Pop = %v, %v, want nothing", el, err)
	}
}

func (e *env) flush(tb testing.TB) bool {
	tb.Helper()
	notify, err := e.q.Flush()
	if err != nil {
		tb.Fatal(err)
	}
	return notify
}

func TestElementGoesThereAndBack(t *testing.T) {
	for _, indirect := range []bool{false, true} {
		e := newEnv(t, 8, Features{Indirect: true})
		e.ring.Put(data, []byte("hello, "))
		e.ring.Put(data+0x1000, []byte("device"))
		segs := []ringtest.Seg{
			ringtest.Out(data, 7), ringtest.Out(data+0x1000, 6),
			ringtest.In(data+0x2000, 4), ringtest.In(data+0x3000, 8),
		}
		var head uint16
		if indirect {
			head = e.ring.AddIndirect(tables, segs...)
		} else {
			head = e.ring.Add(segs...)
		}
		el := e.pop(t)
		e.empty(t)
		if el.Head() != head || el.ReadableLen() != 13 || el.WritableLen() != 12 || len(el.Readable) != 2 || len(el.Writable) != 2 {
			t.Fatalf("element %+v", el)
		}
		p := make([]byte, 20)
		if n, err := el.ReadAt(p, 0); n != 13 || err != nil || string(p[:n]) != "hello, device" {
			t.Errorf("ReadAt = %d, %v, %q", n, err, p)
		}
		if n, err := el.ReadAt(p, 5); n != 8 || err != nil || string(p[:n]) != ", device" {
			t.Errorf("ReadAt 5 = %d, %v, %q", n, err, p)
		}
		if n, err := el.ReadAt(p, 13); n != 0 || err != nil {
			t.Errorf("ReadAt at the end = %d, %v", n, err)
		}
		if n, err := el.WriteAt([]byte("0123456789"), 0); n != 10 || err != nil {
			t.Errorf("WriteAt = %d, %v", n, err)
		}
		if n, err := el.WriteAt([]byte("abcdef"), 9); n != 3 || err != nil {
			t.Errorf("WriteAt 9 = %d, %v", n, err)
		}
		if u := e.ring.UsedIndex(); u != 0 {
			t.Errorf("used index %d before the push", u)
		}
		e.q.Push(el, 12)
		if u := e.ring.UsedIndex(); u != 0 {
			t.Errorf("used index %d before the flush", u)
		}
		if !e.flush(t) {
			t.Error("no notification")
		}
		if e.flush(t) {
			t.Error("a notification for nothing")
		}
		if got := fmt.Sprint(e.ring.Take()); got != fmt.Sprintf("[{%d 12}]", head) {
			t.Errorf("used: %s", got)
		}
		if got := append(e.ring.Get(data+0x2000, 4), e.ring.Get(data+0x3000, 8)...); !bytes.Equal(got, []byte("012345678abc")) {
			t.Errorf("written: %q", got)
		}
	}
}

func TestDirectThenIndirect(t *testing.T) {
	e := newEnv(t, 8, Features{Indirect: true})
	e.ring.SetDesc(e.ring.Desc, 0, data, 4, ringtest.Next, 1)
	e.ring.SetDesc(e.ring.Desc, 1, tables, 48, ringtest.Indirect, 0)
	e.ring.SetDesc(tables, 0, data+16, 5, ringtest.Next, 2) // entry 1 is skipped
	e.ring.SetDesc(tables, 2, data+32, 6, ringtest.Write, 0)
	e.ring.Expose(0)
	el := e.pop(t)
	if el.ReadableLen() != 9 || el.WritableLen() != 6 {
		t.Errorf("lengths %d and %d", el.ReadableLen(), el.WritableLen())
	}
	e.q.Push(el, 0)
}

func TestIndexWrapsAround(t *testing.T) {
	for _, event := range []bool{false, true} {
		e := newEnv(t, 4, Features{})
		e.q.Reset()
		const start = 0xfff8
		if err := e.q.Load(e.config(Features{EventIndex: event}), State{LastAvail: start, Used: start}); err != nil {
			t.Fatal(err)
		}
		e.ring.Start(start)
		for i := uint16(start); i != 16; i++ {
			e.ring.SetUsedEvent(i)
			e.ring.Add(ringtest.In(data, 64))
			e.q.Push(e.pop(t), uint32(i&31))
			if !e.flush(t) {
				t.Fatalf("index %d: no notification", i)
			}
			if u := e.ring.Take(); len(u) != 1 || u[0].Len != uint32(i&31) {
				t.Fatalf("index %d: used %v", i, u)
			}
		}
	}
}

// hostile are rings that break the rules, and what is said of them.
var hostile = []struct {
	name  string
	build func(*env)
	want  string
}{
	{"head out of range", func(e *env) { e.ring.Expose(8) }, "element 8: it is out of range"},
	{"index too far", func(e *env) { e.ring.SetAvailIndex(9) }, "available index went from 0 to 9"},
	{"index backwards", func(e *env) { e.ring.SetAvailIndex(0xffff) }, "available index went from 0 to 65535"},
	{"loop of one", func(e *env) { e.ring.SetDesc(e.ring.Desc, 0, data, 1, ringtest.Next, 0); e.ring.Expose(0) }, "loop"},
	{"loop", func(e *env) {
		for i := uint16(0); i < 8; i++ {
			e.ring.SetDesc(e.ring.Desc, i, data, 1, ringtest.Next, (i+1)&7)
		}
		e.ring.Expose(3)
	}, "loop"},
	{"next out of range", func(e *env) { e.ring.SetDesc(e.ring.Desc, 0, data, 1, ringtest.Next, 8); e.ring.Expose(0) }, "next descriptor 8 is out of range"},
	{"no length", func(e *env) { e.ring.Add(ringtest.In(data, 0)) }, "no length"},
	{"outside RAM", func(e *env) { e.ring.Add(ringtest.In(ramSize-8, 16)) }, "descriptor for 16 bytes at 0xffff8"},
	{"in I/O", func(e *env) { e.ring.Add(ringtest.Out(ioBase, 4)) }, "descriptor for 4 bytes at 0x200000"},
	{"giant", func(e *env) { e.ring.Add(ringtest.In(data, 0xffffffff)) }, "descriptor for 4294967295 bytes"},
	{"too long together", func(e *env) { e.ring.Add(ringtest.In(0, ramSize), ringtest.In(0, 0xfff00001)) }, "4 GiB"},
	{"around the end", func(e *env) { e.ring.Add(ringtest.In(1<<64-8, 16)) }, "beyond the end"},
	{"readable after writable", func(e *env) { e.ring.Add(ringtest.In(data, 4), ringtest.Out(data, 4)) }, "readable descriptor after"},
	{"indirect of odd size", func(e *env) {
		e.ring.SetDesc(e.ring.Desc, 0, tables, 24, ringtest.Indirect, 0)
		e.ring.Expose(0)
	}, "indirect table of 24 bytes"},
	{"indirect of no size", func(e *env) {
		e.ring.SetDesc(e.ring.Desc, 0, tables, 0, ringtest.Indirect, 0)
		e.ring.Expose(0)
	}, "indirect table of 0 bytes"},
	{"indirect with next", func(e *env) {
		e.ring.SetDesc(e.ring.Desc, 0, tables, 16, ringtest.Indirect|ringtest.Next, 1)
		e.ring.Expose(0)
	}, "with a next one"},
	{"indirect in indirect", func(e *env) {
		e.ring.SetDesc(tables, 0, tables, 16, ringtest.Indirect, 0)
		e.ring.SetDesc(e.ring.Desc, 0, tables, 16, ringtest.Indirect, 0)
		e.ring.Expose(0)
	}, "within an indirect table"},
	{"indirect outside RAM", func(e *env) {
		e.ring.SetDesc(e.ring.Desc, 0, ioBase, 16, ringtest.Indirect, 0)
		e.ring.Expose(0)
	}, "descriptor 0 is not readable"},
	{"indirect loop", func(e *env) {
		e.ring.SetDesc(tables, 0, data, 16, ringtest.Next, 0)
		e.ring.SetDesc(e.ring.Desc, 0, tables, 16, ringtest.Indirect, 0)
		e.ring.Expose(0)
	}, "loop"},
	{"indirect next out of range", func(e *env) {
		e.ring.SetDesc(tables, 0, data, 16, ringtest.Next, 1)
		e.ring.SetDesc(e.ring.Desc, 0, tables, 16, ringtest.Indirect, 0)
		e.ring.Expose(0)
	}, "next descriptor 1 is out of range"},
	{"too many segments", func(e *env) {
		for i := uint16(0); i < 2000; i++ {
			e.ring.SetDesc(tables, i, data, 1, ringtest.Next, i+1)
		}
		e.ring.SetDesc(e.ring.Desc, 0, tables, 2000*16, ringtest.Indirect, 0)
		e.ring.Expose(0)
	}, "more than 1024 segments"},
}

func TestHostileRings(t *testing.T) {
	for _, c := range hostile {
		t.Run(c.name, func(t *testing.T) {
			e := newEnv(t, 8, Features{Indirect: true})
			c.build(e)
			el, err := e.q.Pop()
			if el != nil || err == nil || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("Pop = %v, %v, want an error with %q", el, err, c.want)
			}
			e.empty(t) // it is said once
			if e.q.Ready() {
				t.Error("a broken queue is ready")
			}
			e.q.Reset()
			e.ring.Clear()
			if err := e.q.Enable(e.config(Features{})); err != nil {
				t.Fatal(err)
			}
			e.ring.Add(ringtest.In(data, 1))
			e.q.Push(e.pop(t), 1)
			if !e.flush(t) {
				t.Error("no notification after a reset")
			}
		})
	}
}

func TestIndirectMustBeNegotiated(t *testing.T) {
	e := newEnv(t, 8, Features{})
	e.ring.AddIndirect(tables, ringtest.In(data, 1))
	if el, err := e.q.Pop(); el != nil || err == nil {
		t.Errorf("Pop = %v, %v", el, err)
	}
}

func TestHeadTwice(t *testing.T) {
	e := newEnv(t, 8, Features{})
	head := e.ring.Add(ringtest.In(data, 1))
	e.ring.Expose(head)
	el := e.pop(t)
	if again, err := e.q.Pop(); again != nil || err == nil {
		t.Errorf("Pop = %v, %v", again, err)
	}
	e.q.Push(el, 0) // is dropped: the queue is dead
	if u := e.ring.UsedIndex(); u != 0 {
		t.Errorf("used index %d", u)
	}
}

func TestRingsOutsideRAM(t *testing.T) {
	for i, cfg := range []Config{
		{Size: 8, Desc: ramSize - 16, Avail: 0x1000, Used: 0x2000},
		{Size: 8, Desc: 0x1000, Avail: ramSize - 2, Used: 0x2000},
		{Size: 8, Desc: 0x1000, Avail: 0x2000, Used: ioBase},
		{Size: 8, Desc: 1<<64 - 16, Avail: 0x2000, Used: 0x3000},
	} {
		e := newEnv(t, 8, Features{})
		e.q.Reset()
		if err := e.q.Enable(cfg); err != nil {
			t.Fatal(err)
		}
		if el, err := e.q.Pop(); el != nil || err == nil {
			t.Errorf("%d: Pop = %v, %v", i, el, err)
		}
	}
}

func TestEnableChecks(t *testing.T) {
	e := newEnv(t, 8, Features{})
	if err := e.q.Enable(e.config(Features{})); err == nil {
		t.Error("enabled twice")
	}
	e.q.Reset()
	for _, cfg := range []Config{
		{Size: 0}, {Size: 3}, {Size: 8, Desc: 8}, {Size: 8, Avail: 1}, {Size: 8, Used: 2}, {Size: 1<<15 + 1},
	} {
		if err := e.q.Enable(cfg); err == nil {
			t.Errorf("%+v is taken", cfg)
		}
	}
}

func TestSegmentsAcrossBlocks(t *testing.T) {
	e := newEnv(t, 8, Features{})
	sys := e.space.System()
	b, err := sys.NewBlock(memory.BlockConfig{Name: "more", Size: 0x1000})
	if err != nil {
		t.Fatal(err)
	}
	if err := e.space.Root().Add(ramSize, sys.NewRAM("more", b, 0, 0x1000)); err != nil {
		t.Fatal(err)
	}
	e.ring.Add(ringtest.In(ramSize-4, 8))
	el := e.pop(t)
	if len(el.Writable) != 2 || el.WritableLen() != 8 {
		t.Fatalf("%d segments, %d bytes", len(el.Writable), el.WritableLen())
	}
	if _, err := el.WriteAt([]byte("12345678"), 0); err != nil {
		t.Fatal(err)
	}
	e.q.Push(el, 8)
	if got := e.ring.Get(ramSize-4, 8); string(got) != "12345678" {
		t.Errorf("%q", got)
	}
}

func TestBusMasterOffIsAnError(t *testing.T) {
	e := newEnv(t, 8, Features{})
	e.ring.Add(ringtest.In(data, 1))
	e.dma.SetEnabled(false)
	if el, err := e.q.Pop(); el != nil || err == nil {
		t.Errorf("Pop = %v, %v", el, err)
	}
}
