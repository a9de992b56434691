package memory

import (
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
)

// gone is a device that must not be accessed once it was quiesced.
type gone struct {
	quiesced atomic.Bool
	late     atomic.Int64
	calls    atomic.Int64
	plain    int // written after Quiesce without a lock: the race detector checks the order
	mu       sync.Mutex
}

func (g *gone) access() {
	g.calls.Add(1)
	if g.quiesced.Load() {
		g.late.Add(1)
	}
	g.mu.Lock()
	_ = g.plain
	g.mu.Unlock()
}

func (g *gone) ReadIO(uint64, int) uint64   { g.access(); return 0 }
func (g *gone) WriteIO(uint64, int, uint64) { g.access() }

// Devices come and go while vCPUs access where they are.
func TestQuiesceAgainstAccesses(t *testing.T) {
	s := NewSystem()
	sp := s.NewSpace("s", 0)
	b := newBlock(t, s, "ram", PageSize)
	under := s.NewRAM("ram", b, 0, 0)
	must(t, sp.Root().AddOverlap(0, under, -1))
	stop := make(chan struct{})
	var readers sync.WaitGroup
	var accesses atomic.Int64
	for range 3 {
		readers.Go(func() {
			p := make([]byte, 4)
			for {
				select {
				case <-stop:
					return
				default:
					runtime.Gosched() // on one CPU the others wait for this
				}
				sp.ReadIO(0x10, p)
				sp.WriteIO(0x12, p)
				accesses.Add(1)
			}
		})
	}
	served := 0
	for i := 0; i < 200 || served == 0; i++ {
		g := &gone{}
		r := s.NewIO("dev", 0x100, g, Spec{})
		bar := s.NewContainer("bar", 0x1000)
		must(t, bar.Add(0, r))
		must(t, sp.Root().AddOverlap(0, bar, 1))
		for start := accesses.Load(); accesses.Load() < start+2; {
			runtime.Gosched() // let the readers get there
		}
		sp.Root().Remove(bar)
		bar.Quiesce()
		g.quiesced.Store(true)
		g.plain = i
		if g.calls.Load() > 0 {
			served++
		}
		if n := g.late.Load(); n > 0 {
			t.Fatalf("%d accesses after Quiesce", n)
		}
		if n := r.inside.n.Load(); n < 0 {
			t.Fatalf("%d accesses inside", n)
		}
	}
	close(stop)
	readers.Wait()
}

// An access that has looked up a device, but not entered it when the map
// changes, does not enter it any more.
func TestStaleTable(t *testing.T) {
	s := NewSystem()
	sp := s.NewSpace("s", 0)
	r := s.NewIO("r", 8, &nullHandler{}, Spec{})
	must(t, sp.Root().Add(0, r))
	stale := sp.table.Load()
	if e, rest, ok := sp.tryEnter(stale, 2, false); !ok || e.region != r || rest != 5 || r.inside.n.Load() != 1 {
		t.Errorf("entered %v with %d inside", ok, r.inside.n.Load())
	} else {
		sp.leave(e, false)
	}
	sp.Root().Remove(r)
	if _, _, ok := sp.tryEnter(stale, 2, false); ok || r.inside.n.Load() != 0 {
		t.Errorf("entered %v with %d inside", ok, r.inside.n.Load())
	}
	r.Quiesce()
}

// Quiesce waits for an access that is inside, and no longer.
func TestQuiesceWaits(t *testing.T) {
	s := NewSystem()
	sp := s.NewSpace("s", 0)
	entered, proceed := make(chan struct{}), make(chan struct{})
	var left atomic.Bool
	r := &recorder{on: func(uint64) {
		close(entered)
		<-proceed
		left.Store(true)
	}}
	reg := s.NewIO("r", 8, r, Spec{})
	must(t, sp.Root().Add(0, reg))
	go sp.WriteIO(0, []byte{1})
	<-entered
	sp.Root().Remove(reg)
	done := make(chan bool)
	go func() {
		reg.Quiesce()
		done <- left.Load()
	}()
	for reg.inside.waiting.Load() == 0 {
		select {
		case <-done:
			t.Fatal("Quiesce did not wait")
		default:
			runtime.Gosched()
		}
	}
	close(proceed)
	if !<-done {
		t.Error("Quiesce returned while an access was inside")
	}
}

// A transaction is seen by others as a whole, and other changes wait for its end.
func TestUpdateIsAtomic(t *testing.T) {
	s := NewSystem()
	sp := s.NewSpace("s", 0)
	a, b := s.NewIO("a", 8, &nullHandler{}, Spec{}), s.NewIO("b", 8, &nullHandler{}, Spec{})
	must(t, sp.Root().AddOverlap(0, a, 0))
	must(t, sp.Root().AddOverlap(8, b, 0))
	stop := make(chan struct{})
	var wg sync.WaitGroup
	var looks atomic.Int64
	wg.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				runtime.Gosched()
			}
			looks.Add(1)
			if v := sp.FlatView(); len(v) != 2 || v[0].Region == v[1].Region {
				t.Errorf("half a transaction is visible: %+v", v)
				return
			}
		}
	})
	var swaps sync.WaitGroup
	for range 2 {
		swaps.Go(func() {
			for i := 0; i < 300 || looks.Load() < 100 && !t.Failed(); i++ {
				s.Update(func() {
					x, y := a.Offset(), b.Offset()
					a.SetOffset(y)
					b.SetOffset(x)
				})
				runtime.Gosched()
			}
		})
	}
	swaps.Wait()
	close(stop)
	wg.Wait()
}

// Devices access memory while blocks come and go.
func TestDMAAgainstUnplug(t *testing.T) {
	s := NewSystem()
	sp := s.NewSpace("s", 0)
	dev := sp.NewDMA("dev")
	stop := make(chan struct{})
	var wg sync.WaitGroup
	var good atomic.Int64
	for range 2 {
		wg.Go(func() {
			var w *Window
			var vec []Borrow
			for {
				select {
				case <-stop:
					if w != nil {
						w.Close()
					}
					return
				default:
					runtime.Gosched()
				}
				if w == nil {
					w, _ = dev.Window(0x100, 64, true)
				} else if w.StoreU16(2, 7) == nil {
					good.Add(1)
				}
				if b, err := dev.Borrow(0x200, 512, true); err == nil {
					_, _ = b.CopyFrom([]byte("hello"), 0)
					b.Release(5)
				}
				vec, _ = dev.BorrowVec(0, 2*PageSize, false, vec[:0])
				for _, b := range vec {
					b.Release(0)
				}
				_ = dev.WriteU64(0x300, 1)
			}
		})
	}
	for i := 0; i < 100 || good.Load() == 0; i++ {
		b := newBlock(t, s, "dimm", 2*PageSize)
		r := s.NewRAM("dimm", b, 0, 0)
		must(t, sp.Root().Add(0, r))
		for n := range 20 {
			_ = dev.WriteU16(uint64(n), 1)
		}
		sp.Root().Remove(r)
		must(t, b.Close())
	}
	close(stop)
	wg.Wait()
}
