package devtest

import (
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"govmd/internal/chardev"
	"govmd/internal/runstate"
)

const concurrentRounds = 20

// Concurrent has several vCPUs at once access the ranges of the machine that mk
// builds, while guest time passes, input arrives, and the control lane resets
// the machine and saves it. In the middle of that all devices are unplugged.
// Then nothing of them may be left: no interrupt is high, no timer armed, no
// character device in use. With the race detector it finds what is not locked,
// and without it what is locked in the wrong order.
func Concurrent(t *testing.T, mk func(*Machine), ranges ...Range) {
	t.Helper()
	m := New(t)
	m.Env.Run.SetPolicy(runstate.Policy{NoShutdown: true})
	mk(m)
	var stop atomic.Bool
	var vcpus sync.WaitGroup
	for n := range uint64(3) {
		vcpus.Add(1)
		go func() {
			defer vcpus.Done()
			for r := rand.New(rand.NewPCG(n, 4)); !stop.Load(); {
				m.access(r, ranges)
			}
		}()
	}
	vcpus.Add(1)
	go func() {
		defer vcpus.Done()
		clk := m.Env.Clock.Virtual
		for r := rand.New(rand.NewPCG(0, 5)); !stop.Load(); {
			clk.Advance(clk.Now() + r.Int64N(int64(time.Millisecond)))
		}
	}()
	r := rand.New(rand.NewPCG(0, 6))
	for range concurrentRounds {
		for _, c := range m.chardevs {
			c.Input(byte(r.Uint32()), 'x')
			c.SetRoom(r.IntN(20) - 1)
			c.Event(chardev.Break)
		}
		m.ResetAll()
		if _, err := m.save(); err != nil {
			t.Error(err)
		}
		m.settle()
	}
	for _, d := range m.roots() {
		m.Unplug(d)
	}
	stop.Store(true)
	vcpus.Wait()
	m.atRest("a machine without devices")
	for i, p := range m.IRQ {
		if p.Level() {
			t.Errorf("interrupt %d is high, and nobody is there to drive it", i)
		}
	}
	for id, c := range m.chardevs {
		if c.Attached() {
			t.Errorf("%s is still in use", id)
		}
	}
}

// access does what a vCPU does, once.
func (m *Machine) access(r *rand.Rand, ranges []Range) {
	g := ranges[r.IntN(len(ranges))]
	size := 1 << r.IntN(4)
	s := m.space(g)
	if s == m.Env.IO {
		size = min(size, 4)
	}
	addr := g.Addr + r.Uint64N(g.Size)&^uint64(size-1)
	var b [8]byte
	if r.IntN(2) == 0 {
		s.ReadIO(addr, b[:size])
		return
	}
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	s.WriteIO(addr, b[:size])
}
