package jobtest

import (
	"bytes"
	"math/rand/v2"
	"sync"

	"govmd/internal/block"
)

// Guest writes to a drive at random and knows what the drive must hold. It keeps to
// one goroutine: what it writes is in no doubt.
type Guest struct {
	r     *Rig
	b     *block.Backend
	queue *block.Queue
	rnd   *rand.Rand
	Want  []byte // what the disk holds

	stop chan struct{}
	done sync.WaitGroup
}

// NewGuest returns the guest of a drive whose medium holds want.
func (r *Rig) NewGuest(drive string, want []byte, seed uint64) *Guest {
	r.Helper()
	g := &Guest{r: r, b: r.Graph.Backend(drive), rnd: rand.New(rand.NewPCG(seed, 0)), Want: bytes.Clone(want)}
	r.On(func() {
		if err := g.b.SetPerms(block.PermRead|block.PermWrite, block.PermRead|block.PermUnchanged|block.PermResize); err != nil {
			r.Fatal(err)
		}
		g.queue = g.b.NewQueue(drive, 0)
	})
	return g
}

// step is one request: a write, zeroes or a discard somewhere, or a read that is
// compared.
func (g *Guest) step() {
	n := 512 * (1 + g.rnd.IntN(256))
	off := 512 * g.rnd.IntN((len(g.Want)-n)/512+1)
	at := g.Want[off : off+n]
	var err error
	switch g.rnd.IntN(8) {
	case 0:
		clear(at)
		err = g.queue.Do(block.OpZeroes, int64(off), int64(n), block.Vec{}, block.MayUnmap)
	case 1, 2, 3:
		g.compare(off, n)
	default:
		for i := range at {
			at[i] = byte(g.rnd.Uint32())
		}
		err = g.queue.Do(block.OpWrite, int64(off), int64(n), block.VecOf(at), 0)
	}
	if err != nil {
		g.r.Errorf("a guest's request of %d at %d: %v", n, off, err)
	}
}

func (g *Guest) compare(off, n int) {
	got := make([]byte, n)
	if err := g.queue.Do(block.OpRead, int64(off), int64(n), block.VecOf(got), 0); err != nil {
		g.r.Errorf("a guest's read of %d at %d: %v", n, off, err)
	}
	if !bytes.Equal(got, g.Want[off:off+n]) {
		g.r.Errorf("the guest reads something else than it has written, in %d bytes at %d", n, off)
	}
}

// Start has the guest go on until Stop.
func (g *Guest) Start() {
	g.stop = make(chan struct{})
	g.done.Go(func() {
		for {
			select {
			case <-g.stop:
				return
			default:
				g.step()
			}
		}
	})
}

// Stop ends that, and compares all of the disk with what it should hold.
func (g *Guest) Stop() {
	g.r.Helper()
	close(g.stop)
	g.done.Wait()
	const chunk = 1 << 20
	for off := 0; off < len(g.Want); off += chunk {
		g.compare(off, min(chunk, len(g.Want)-off))
	}
}
