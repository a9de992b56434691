package kvm

import (
	"sync"
	"sync/atomic"
)

// Gate keeps the vCPUs of a machine out of the guest for a moment, as changes
// that KVM cannot make at one stroke need it: replacing a memory slot, say.
//
// Unlike Pause it may be used by a handler: a vCPU whose handler runs is out of
// the guest, whatever the handler waits for. The zero value is ready to use.
type Gate struct {
	shut atomic.Bool

	using   sync.Mutex // held by With: one change at a time
	mu      sync.Mutex // guards threads; taken by vCPUs only while the gate is shut
	changed *sync.Cond
	threads []*Thread
}

func (g *Gate) add(t *Thread) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.changed == nil {
		g.changed = sync.NewCond(&g.mu)
	}
	g.threads = append(g.threads, t)
}

func (g *Gate) remove(t *Thread) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for i, x := range g.threads {
		if x == t {
			g.threads = append(g.threads[:i], g.threads[i+1:]...)
			return
		}
	}
}

// With runs fn while no vCPU is in the guest. fn must not wait for a vCPU nor
// call With.
func (g *Gate) With(fn func()) {
	g.using.Lock()
	defer g.using.Unlock()
	g.shut.Store(true)
	g.mu.Lock()
	for _, t := range g.threads {
		if t.inGuest.Load() {
			t.Kick()
		}
	}
	for _, t := range g.threads {
		for t.inGuest.Load() {
			g.changed.Wait()
		}
	}
	g.mu.Unlock()
	fn()
	g.mu.Lock()
	g.shut.Store(false)
	if g.changed != nil {
		g.changed.Broadcast()
	}
	g.mu.Unlock()
}

// enter notes that t goes into the guest. While the gate is shut it waits and
// returns false: t looks at its requests first.
func (g *Gate) enter(t *Thread) bool {
	// The order matters: whoever shuts the gate and then finds inGuest false
	// knows that t will find the gate shut.
	t.inGuest.Store(true)
	if !g.shut.Load() {
		return true
	}
	g.leave(t)
	g.mu.Lock()
	for g.shut.Load() {
		g.changed.Wait()
	}
	g.mu.Unlock()
	return false
}

// leave notes that t is out of the guest.
func (g *Gate) leave(t *Thread) {
	t.inGuest.Store(false)
	if g.shut.Load() {
		g.mu.Lock()
		g.changed.Broadcast()
		g.mu.Unlock()
	}
}
