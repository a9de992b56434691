package memory

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

// pages renders runs as "3 7-9".
func pages(each func(fn func(page, n uint64))) string {
	var out []string
	each(func(page, n uint64) {
		if n == 1 {
			out = append(out, fmt.Sprint(page))
		} else {
			out = append(out, fmt.Sprintf("%d-%d", page, page+n-1))
		}
	})
	return strings.Join(out, " ")
}

func taken(c *DirtyConsumer, b *Block) string {
	return pages(func(fn func(page, n uint64)) { c.Take(b, 0, ^uint64(0), fn) })
}

// log is a source with a log like KVM's.
type log struct {
	t       testing.TB
	logging map[*Block]bool
	written map[*Block]uint64 // pages 60 to 123
	fail    bool
}

func (l *log) SetLogging(b *Block, on bool) error {
	if l.fail {
		return errors.New("no log")
	}
	if l.logging[b] == on {
		l.t.Errorf("logging of %s set to %v twice", b.Name(), on)
	}
	l.logging[b] = on
	return nil
}

func (l *log) Sync(b *Block, mark func(page, bits uint64)) error {
	if l.fail {
		return errors.New("no log")
	}
	if !l.logging[b] {
		l.t.Errorf("%s is not logged", b.Name())
	}
	mark(60, l.written[b])
	l.written[b] = 0
	return nil
}

func TestDirtyConsumers(t *testing.T) {
	s := NewSystem()
	sp := s.NewSpace("s", 0)
	ram, vram := newBlock(t, s, "ram", 200*PageSize), newBlock(t, s, "vram", 10*PageSize)
	must(t, sp.Root().Add(0, s.NewRAM("ram", ram, 0, 0)))
	l := &log{t: t, logging: map[*Block]bool{}, written: map[*Block]uint64{}}
	display, migration := s.NewDirtyConsumer("display"), s.NewDirtyConsumer("migration")
	must(t, display.Start(vram))
	if display.Start(vram) == nil {
		t.Error("started twice")
	}
	remove, err := s.AddDirtySource(l)
	must(t, err)
	if l.logging[ram] || !l.logging[vram] {
		t.Error("wrong blocks are logged")
	}
	must(t, ram.Write(5*PageSize, make([]byte, 10)))
	must(t, migration.Start())
	if !l.logging[ram] || !ram.Logging() {
		t.Error("RAM is not logged")
	}

	// Each way to write.
	d := sp.NewDMA("d")
	w, err := d.Window(0x1000, 64, true)
	must(t, err)
	must(t, w.StoreU16(2, 1))
	must(t, d.Write(3*PageSize-1, make([]byte, 2)))
	b, err := d.Borrow(6*PageSize, 4*PageSize, true)
	must(t, err)
	if got := taken(migration, ram); got != "1-3" {
		t.Errorf("dirty: %q", got)
	}
	b.Release(PageSize + 1)
	sp.WriteIO(64*PageSize-2, []byte{1, 2, 3, 4})
	must(t, ram.Write(199*PageSize, []byte{1}))
	must(t, vram.Write(0, []byte{1}))
	must(t, ram.Discard(100*PageSize, 2*PageSize))
	r, err := d.Borrow(50*PageSize, 10, false)
	must(t, err)
	r.Release(10) // not written
	if got := taken(migration, ram); got != "6-7 63-64 100-101 199" {
		t.Errorf("dirty: %q", got)
	}
	if got := taken(migration, ram); got != "" {
		t.Errorf("dirty again: %q", got)
	}
	if a, b := taken(migration, vram), taken(display, vram); a != "0" || b != "0" {
		t.Errorf("vram: %q, %q", a, b)
	}

	// A harvest by one feeds the other.
	l.written[vram] = 1
	l.written[ram] = 1<<63 | 0xf1
	must(t, display.Harvest(vram, 0, 9, func(uint64, uint64) { t.Error("page 60 of 10") }))
	other := s.NewDirtyConsumer("rate")
	must(t, other.Start())
	got := pages(func(fn func(page, n uint64)) { must(t, migration.Harvest(ram, 61, 123, fn)) })
	if got != "64-67 123" || migration.Count(ram) != 1 || other.Count(ram) != 6 {
		t.Errorf("harvested %q, %d and %d are left", got, migration.Count(ram), other.Count(ram))
	}
	if got := pages(func(fn func(page, n uint64)) { other.Peek(ram, 0, 122, fn) }); got != "60 64-67" || other.Count(ram) != 6 {
		t.Errorf("peeked %q", got)
	}
	migration.Mark(ram, 0, 1<<50)
	if migration.Count(ram) != 200 || other.Count(ram) != 6 {
		t.Error("marks of all pages")
	}
	ram.MarkDirty(130*PageSize, ^uint64(0))
	ram.MarkDirty(^uint64(0), 1)
	ram.MarkPages(190, ^uint64(0))
	ram.MarkPages(1000, ^uint64(0))
	if got := taken(other, ram); got != "60 64-67 123 130-199" {
		t.Errorf("dirty: %q", got)
	}

	late := newBlock(t, s, "late", PageSize)
	must(t, late.Write(0, []byte{1}))
	if taken(migration, late) != "0" || taken(display, late) != "" || !l.logging[late] {
		t.Error("a later block is not tracked as it should be")
	}
	must(t, late.Close())
	if l.logging[late] {
		t.Error("a closed block is logged")
	}
	migration.Stop()
	other.Stop()
	other.Stop()
	if l.logging[ram] || !l.logging[vram] || ram.Logging() {
		t.Error("wrong blocks are logged")
	}
	l.fail = true
	if err := migration.Start(); err == nil || ram.Logging() {
		t.Error("started without a log")
	}
	if err := display.Harvest(vram, 0, 1, nil); err == nil {
		t.Error("harvested without a log")
	}
	remove()
	display.Stop()
	must(t, migration.Start(ram))
	migration.Stop()
}

func TestDirtyAgainstModel(t *testing.T) {
	s := NewSystem()
	b := &Block{sys: s, name: "b", size: 300 * PageSize}
	s.blocks = []*Block{b}
	c := s.NewDirtyConsumer("c")
	must(t, c.Start())
	rng := rand.New(rand.NewPCG(1, 2))
	var want [300]bool
	for range 2000 {
		first, n := rng.Uint64N(300), rng.Uint64N(150)
		switch rng.IntN(3) {
		case 0:
			off, bytes := first*PageSize+rng.Uint64N(PageSize), 1+rng.Uint64N(150*PageSize)
			b.MarkDirty(off, bytes)
			for i := off / PageSize; i <= (off+bytes-1)/PageSize && i < 300; i++ {
				want[i] = true
			}
		case 1:
			word := rng.Uint64()
			b.MarkPages(first, word)
			for i := range uint64(64) {
				if word>>i&1 != 0 && first+i < 300 {
					want[first+i] = true
				}
			}
		case 2:
			c.Mark(b, first, first+n)
			for i := first; i <= first+n && i < 300; i++ {
				want[i] = true
			}
		}
		from := rng.Uint64N(300)
		checkMarks(t, c, b, &want, from, from+rng.Uint64N(100))
	}
}

// checkMarks takes a range and compares it with want, in which it clears it.
func checkMarks(t *testing.T, c *DirtyConsumer, b *Block, want *[300]bool, first, last uint64) {
	t.Helper()
	end := uint64(0)
	got := [300]bool{}
	c.Take(b, first, last, func(page, n uint64) {
		if n == 0 || end != 0 && page <= end {
			t.Errorf("run of %d at %d after one that ends at %d", n, page, end)
		}
		end = page + n
		for i := range n {
			got[page+i] = true
		}
	})
	for i := range want {
		in := uint64(i) >= first && uint64(i) <= last
		if got[i] != (in && want[i]) {
			t.Fatalf("page %d of %d-%d: taken %v, want %v", i, first, last, got[i], want[i])
		}
		if in {
			want[i] = false
		}
	}
}

// A consumer that takes marks and then reads never misses a write.
func TestNoWriteIsMissed(t *testing.T) {
	s := NewSystem()
	b := newBlock(t, s, "ram", 4*PageSize)
	c := s.NewDirtyConsumer("c")
	must(t, c.Start())
	var wg sync.WaitGroup
	var done atomic.Bool
	var last [2]uint64
	for w := range 2 {
		wg.Go(func() {
			p := make([]byte, 8)
			for i := range uint64(5000) {
				put(p, i)
				_ = b.Write(uint64(w)*PageSize, p)
				last[w] = i
			}
		})
	}
	var copied [2]uint64
	copyDirty := func() {
		c.Take(b, 0, 3, func(page, n uint64) {
			for ; n > 0; page, n = page+1, n-1 {
				v, _ := b.m.load64(page * PageSize)
				copied[page] = v
			}
		})
	}
	go func() {
		wg.Wait()
		done.Store(true)
	}()
	for !done.Load() {
		copyDirty()
		runtime.Gosched()
	}
	copyDirty()
	if copied != last {
		t.Errorf("copied %v, written %v", copied, last)
	}
}

// slowSource is a source whose log takes its time.
type slowSource struct {
	began, goOn chan struct{}
	ended       atomic.Bool
}

func (*slowSource) SetLogging(*Block, bool) error { return nil }

func (l *slowSource) Sync(*Block, func(page, bits uint64)) error {
	close(l.began)
	<-l.goOn
	for range 1000 {
		runtime.Gosched() // let the remover go ahead if it can
	}
	l.ended.Store(true)
	return nil
}

// Who has removed a source may close what it reads its log from.
func TestRemovedSourceIsIdle(t *testing.T) {
	s := NewSystem()
	b := newBlock(t, s, "ram", PageSize)
	l := &slowSource{began: make(chan struct{}), goOn: make(chan struct{})}
	remove, err := s.AddDirtySource(l)
	must(t, err)
	must(t, s.NewDirtyConsumer("c").Start())
	synced := make(chan error, 1)
	go func() { synced <- s.Sync(b) }()
	<-l.began
	close(l.goOn)
	remove()
	if !l.ended.Load() {
		t.Error("a removed source is being asked for its log")
	}
	must(t, <-synced)
}
