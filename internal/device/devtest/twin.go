package devtest

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"

	"govmd/internal/clock"
	"govmd/internal/runstate"
)

// Action is something that may happen to a machine beside accesses to its
// ranges: a key is pressed, a register is written that random addresses miss. It
// draws numbers of up to eight bytes from next, and returns what the guest, or
// whoever looks at the device, sees of it.
type Action func(next func(bytes int) uint64) uint64

// AddAction makes Drive, and so the fuzz tests and Twin, take the action now and
// then. It is for the function that builds the machine.
func (m *Machine) AddAction(a Action) { m.actions = append(m.actions, a) }

// AddWatch has Twin compare what fn returns after every step, a comparable
// value: what the device does to the world outside, but for the ISA bus's
// interrupts, messages and character devices, which are compared anyway. What fn
// counts it counts since its last call.
func (m *Machine) AddWatch(fn func() any) { m.watches = append(m.watches, fn) }

const twinData = 1200 // bytes of what a machine is driven with, at most

// twinRuns is how often a pair of machines is compared. The race detector has
// little to find here.
func twinRuns() int {
	if raceEnabled {
		return 6
	}
	return 24
}

// Twin checks that saved state is all the state there is. Again and again it
// drives a machine that mk builds at random, saves it, and loads the state into
// a second one. From then on the two must not be told apart: the same accesses
// read the same, and cause the same interrupts, messages, output and writes to
// memory. Half of the time the second machine has a past of its own, of which
// nothing may be left. It also checks that the machine costs nothing at rest: no
// timer is armed when it is new, and after a reset.
//
// mk must build the same machine each time, and one that goes by guest time alone.
func Twin(t *testing.T, mk func(*Machine), ranges ...Range) {
	t.Helper()
	for run := range twinRuns() {
		if t.Failed() {
			return
		}
		t.Run(fmt.Sprint(run), func(t *testing.T) { twin(t, uint64(run), mk, ranges) })
	}
}

func twin(t *testing.T, seed uint64, mk func(*Machine), ranges []Range) {
	a, b := New(t), New(t)
	for _, m := range []*Machine{a, b} {
		m.Env.Run.SetPolicy(runstate.Policy{NoShutdown: true})
		mk(m)
	}
	if !a.Ticks {
		a.atRest("a new machine")
	}
	r := rand.New(rand.NewPCG(seed, 3))
	a.drive(random(r, twinData), ranges)
	if seed&1 != 0 {
		b.drive(random(r, twinData), ranges)
	}
	b.become(a)
	if t.Failed() {
		return
	}
	pa := &program{data: random(r, twinData)}
	pb := &program{data: pa.data}
	for step := 0; step < maxSteps && len(pa.data) > 0; step++ {
		op := pa.data[0]
		va, vb := a.step(pa, ranges), b.step(pb, ranges)
		a.settle()
		b.settle()
		if va != vb {
			t.Fatalf("step %d (operation %#02x): %#x is read, of the loaded machine %#x", step, op, va, vb)
		}
		if sa, sb := a.seen(), b.seen(); sa != sb {
			t.Fatalf("step %d (operation %#02x) causes\n%s\nof the loaded machine\n%s", step, op, sa, sb)
		}
	}
	if !bytes.Equal(a.ram(), b.ram()) {
		t.Error("memory differs")
	}
	b.ResetAll()
	if !b.Ticks {
		b.atRest("a machine after its reset")
	}
}

func random(r *rand.Rand, most int) []byte {
	p := make([]byte, r.IntN(most))
	for i := range p {
		p[i] = byte(r.Uint32())
	}
	return p
}

func (m *Machine) drive(data []byte, ranges []Range) {
	for p := (&program{data: data}); len(p.data) > 0; {
		m.step(p, ranges)
		m.settle()
	}
}

// settle lets the lane do what the guest has asked for, and lets the machine run
// on when that was to end or to sleep.
func (m *Machine) settle() {
	m.Sync()
	switch run := m.Env.Run; run.State() {
	case runstate.Running:
	case runstate.Suspended:
		run.RequestWakeup(runstate.WakeOther)
		m.Sync()
	default:
		m.Do(func() {
			run.Reset(runstate.CauseHostQMPReset)
			if err := run.Start(); err != nil {
				m.TB.Error(err)
			}
		})
	}
}

// become loads the state of another machine, with all that is not state of devices.
func (m *Machine) become(from *Machine) {
	m.TB.Helper()
	if err := m.RAM.Write(0, from.ram()); err != nil {
		m.TB.Fatal(err)
	}
	for id, c := range m.chardevs {
		c.become(from.chardevs[id])
	}
	roundTrip(m.TB, from, m)
	for i := range m.IRQ {
		if high := from.IRQ[i].Level(); m.IRQ[i].Level() != high {
			m.TB.Errorf("interrupt %d: high is %v when saved, not when loaded", i, high)
		}
	}
	m.seen()
	from.seen()
}

func (m *Machine) ram() []byte {
	p := make([]byte, RAMSize)
	if err := m.RAM.Read(0, p); err != nil {
		m.TB.Fatal(err)
	}
	return p
}

func (c *Chardev) become(from *Chardev) {
	from.mu.Lock()
	defer from.mu.Unlock()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.room, c.short, c.closed, c.open, c.params = from.room, from.short, from.closed, from.open, from.params
	c.in = append([]byte(nil), from.in...)
	c.out, from.out = nil, nil
	c.breaks, from.breaks = 0, 0
}

// seen returns, as text, what the outside has seen of the machine since the last call.
func (m *Machine) seen() string {
	var s bytes.Buffer
	for i, p := range m.IRQ {
		if n := p.Rises(); n != 0 || p.Level() {
			fmt.Fprintf(&s, "interrupt %d: %d edges, high %v\n", i, n, p.Level())
		}
	}
	for _, msg := range m.MSI.Sent() {
		fmt.Fprintf(&s, "message %#x to %#x\n", msg.Data, msg.Addr)
	}
	for _, id := range sortedKeys(m.chardevs) {
		c := m.chardevs[id]
		c.mu.Lock()
		fmt.Fprintf(&s, "%s: %q, %d breaks, %d pending, open %v, %v\n", id, c.out, c.breaks, len(c.in), c.open, c.params)
		c.out, c.breaks = nil, 0
		c.mu.Unlock()
	}
	for _, fn := range m.watches {
		fmt.Fprintf(&s, "%v\n", fn())
	}
	for _, c := range m.Calls() {
		fmt.Fprintf(&s, "%s\n", c)
	}
	return s.String()
}

func (m *Machine) atRest(what string) {
	m.TB.Helper()
	for name, c := range map[string]*clock.Clock{
		"virtual": m.Env.Clock.Virtual, "host": m.Env.Clock.Host, "real-time": m.Env.Clock.Realtime,
	} {
		if at, armed := c.NextDeadline(); armed {
			m.TB.Errorf("%s has a timer of the %s clock armed for %d ns, at %d ns", what, name, at, c.Now())
		}
	}
}
