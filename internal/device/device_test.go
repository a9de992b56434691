package device

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"govmd/internal/object"
	"govmd/internal/state"
)

// part is a device that writes down what becomes of it. Its properties are
// fields that tests set.
type part struct {
	Base
	log      *[]string
	name     string
	fail     bool      // Realize does, after all else
	children []*part   // plugged in Realize
	buses    []string  // provided
	addr     int       // on an addrBus
	value    [2]uint32 // saved
}

func (p *part) note(what string) { *p.log = append(*p.log, what+" "+p.name) }

func (p *part) Realize() error {
	p.note("realize")
	p.Defer(func() { p.note("undo") })
	for _, name := range p.buses {
		p.NewBus("test", name, &addrBus{log: p.log})
	}
	for _, c := range p.children {
		if err := Plug(p.Env(), p.ChildBuses()[0], c); err != nil {
			return err
		}
	}
	if p.fail {
		return errors.New("broken " + p.name)
	}
	return nil
}

func (p *part) Unrealize()  { p.note("unrealize") }
func (p *part) ResetEnter() { p.note("enter") }
func (p *part) ResetHold()  { p.note("hold") }
func (p *part) ResetExit()  { p.note("exit") }

func (p *part) States() []state.Entry {
	return []state.Entry{
		state.Of("", 1, func() uint32 { return p.value[0] }, func(v *uint32) error { p.value[0] = *v; return nil }),
		state.Of("b", 1, func() uint32 { return p.value[1] }, func(v *uint32) error { p.value[1] = *v; return nil }),
	}
}

// addrBus gives each part the place that it asks for.
type addrBus struct {
	log *[]string
}

func (b *addrBus) Attach(d Device) error {
	if d.(*part).addr < 0 {
		return errors.New("no such place")
	}
	d.(*part).note("attach")
	return nil
}
func (b *addrBus) Detach(d Device)               { d.(*part).note("detach") }
func (b *addrBus) DevicePlugged(d Device)        { d.(*part).note("plugged") }
func (b *addrBus) DeviceAddress(d Device) string { return fmt.Sprint("at", d.(*part).addr) }

func init() {
	Register(object.Type{Name: "test-part", Bus: "test", New: func() object.Object { return &part{} }})
	Register(object.Type{Name: "test-child", Parent: "test-part", New: func() object.Object { return &part{} }})
	Register(object.Type{Name: "test-quiet", Bus: "quiet", New: func() object.Object { return &quiet{} }})
	Register(object.Type{Name: "test-root", New: func() object.Object { return &part{} }})
}

type bed struct {
	t   *testing.T
	env *Env
	log []string
}

func newBed(t *testing.T) *bed {
	return &bed{t: t, env: &Env{Root: &object.Node{}, State: &state.Registry{}}}
}

func (b *bed) make(typeName, id, name string) *part {
	b.t.Helper()
	d, err := Create(typeName, id)
	if err != nil {
		b.t.Fatal(err)
	}
	p := d.(*part)
	p.name, p.log = name, &b.log
	return p
}

func (b *bed) plug(bus *Bus, p *part) *part {
	b.t.Helper()
	if err := Plug(b.env, bus, p); err != nil {
		b.t.Fatal(err)
	}
	return p
}

func (b *bed) expect(what, want string) {
	b.t.Helper()
	if got := strings.Join(b.log, ", "); got != want {
		b.t.Errorf("%s:\n got %s\nwant %s", what, got, want)
	}
	b.log = nil
}

func (b *bed) ids() string {
	b.t.Helper()
	saved, err := b.env.State.SaveAll()
	if err != nil {
		b.t.Fatal(err)
	}
	var ids []string
	for _, s := range saved {
		ids = append(ids, s.ID)
	}
	return strings.Join(ids, " ")
}

// clean checks that nothing of any device is left.
func (b *bed) clean() {
	b.t.Helper()
	object.Walk(b.env.Root, func(o object.Object) {
		if d, ok := o.(Device); ok {
			b.t.Errorf("%s is still in the tree", d.Obj().Path())
		}
	})
	if ids := b.ids(); ids != "" || len(b.env.Roots()) != 0 || len(b.env.states) != 0 {
		b.t.Errorf("left: states %q, %d roots, names %v", ids, len(b.env.Roots()), b.env.states)
	}
}

func TestLife(t *testing.T) {
	b := newBed(t)
	host := b.make("test-root", "", "host")
	host.buses = []string{"t.0", "t.1"}
	x, y := b.make("test-part", "", "x"), b.make("test-child", "", "y")
	host.children = []*part{x}
	b.plug(nil, host)
	b.plug(host.ChildBuses()[0], y)
	z := b.plug(host.ChildBuses()[1], b.make("test-part", "", "z"))
	b.expect("plug", "realize host, attach x, realize x, plugged x, attach y, realize y, plugged y, attach z, realize z, plugged z")
	if roots := b.env.Roots(); len(roots) != 1 || roots[0] != host {
		t.Errorf("roots %v", roots)
	}
	Reset(b.env.Roots()...)
	b.expect("reset", "enter x, enter y, enter z, enter host, hold x, hold y, hold z, hold host, exit x, exit y, exit z, exit host")
	if err := Plug(b.env, nil, host); err == nil {
		t.Error("a device is plugged twice")
	}
	Unplug(z)
	b.expect("unplug", "unrealize z, undo z, detach z")
	Unplug(z)
	b.expect("unplug again", "")
	Unplug(host)
	b.expect("unplug host", "unrealize y, undo y, detach y, unrealize x, undo x, detach x, unrealize host, undo host")
	b.clean()
	b.plug(nil, host) // it can come back
	b.expect("plug again", "realize host, attach x, realize x, plugged x")
}

// Whatever fails, nothing is left behind.
func TestPlugFails(t *testing.T) {
	b := newBed(t)
	host := b.make("test-root", "", "host")
	host.buses = []string{"t.0"}
	x := b.make("test-part", "", "x")
	host.children = []*part{x}
	host.fail = true
	if err := Plug(b.env, nil, host); err == nil || err.Error() != "broken host" {
		t.Fatal(err)
	}
	b.expect("after its children", "realize host, attach x, realize x, plugged x, unrealize x, undo x, detach x, undo host")
	b.clean()

	host.fail, x.fail = false, true
	if err := Plug(b.env, nil, host); err == nil {
		t.Fatal("plugged")
	}
	b.expect("in a child", "realize host, attach x, realize x, undo x, detach x, undo host")
	b.clean()

	host.children = nil
	b.plug(nil, host)
	b.log = nil
	bus := host.ChildBuses()[0]
	nowhere := b.make("test-part", "", "nowhere")
	nowhere.addr = -1
	if err := Plug(b.env, bus, nowhere); err == nil || err.Error() != "no such place" || nowhere.Bus() != nil {
		t.Error(err)
	}
	if err := Plug(b.env, bus, b.make("test-root", "", "r")); err == nil || !strings.Contains(err.Error(), "does not plug into a bus") {
		t.Error(err)
	}
	if err := Plug(b.env, NewRootBus("other", "o.0", &addrBus{}), b.make("test-child", "", "c")); err == nil ||
		err.Error() != "Device 'test-child' can't go on other bus" {
		t.Error(err)
	}
	b.plug(bus, b.make("test-part", "p0", "p0"))
	if err := Plug(b.env, bus, b.make("test-part", "p0", "again")); err == nil || err.Error() != "Duplicate device ID 'p0'" {
		t.Error(err)
	}
	// A name of saved state that is taken is found when all else is done.
	remove, err := b.env.State.Register(state.Of("test-root[1]/b", 1, func() int { return 0 }, func(*int) error { return nil }))
	if err != nil {
		t.Fatal(err)
	}
	b.log = nil
	late := b.make("test-root", "", "late")
	if err := Plug(b.env, nil, late); err == nil || !strings.Contains(err.Error(), "registered twice") {
		t.Error(err)
	}
	b.expect("late", "realize late, unrealize late, undo late")
	remove()
	Unplug(host)
	b.clean()
}

// Saved state goes by names that do not depend on what else is in the machine.
func TestStateNames(t *testing.T) {
	names := func(more int) string {
		b := newBed(t)
		for range more {
			b.plug(NewRootBus("test", "more", &addrBus{}), b.make("test-child", "", "more"))
		}
		host := b.make("test-root", "", "host")
		host.buses = []string{"t.0"}
		b.plug(nil, host)
		bus := host.ChildBuses()[0]
		x := b.make("test-part", "", "x")
		x.addr = 3
		b.plug(bus, x)
		b.plug(bus, b.make("test-part", "net0", "net0"))
		b.plug(bus, b.make("test-part", "", "twin"))
		b.plug(bus, b.make("test-part", "", "twin"))
		second := b.make("test-root", "", "second")
		second.buses = []string{"t.0"}
		second.children = []*part{b.make("test-part", "", "below")}
		b.plug(nil, second)
		ids := b.ids()
		return ids[strings.Index(ids, "test-root"):]
	}
	want := "test-root test-root/b test-root/at3/test-part test-root/at3/test-part/b " +
		"/machine/peripheral/net0 /machine/peripheral/net0/b test-root/at0/test-part test-root/at0/test-part/b " +
		"test-root/at0/test-part[1] test-root/at0/test-part[1]/b " +
		"test-root[1]/at0/test-part test-root[1]/at0/test-part/b test-root[1] test-root[1]/b"
	if got := names(0); got != want {
		t.Errorf("names are\n %s\nwant\n %s", got, want)
	}
	if got := names(2); got != want {
		t.Errorf("with other devices before, names are\n %s", got)
	}
}

// A guest resets a bus from a vCPU while devices come and go on the lane.
func TestResetWhilePlugging(t *testing.T) {
	b := newBed(t)
	bus := NewRootBus("quiet", "q.0", quietBus{})
	first, err := Create("test-quiet", "")
	if err != nil {
		t.Fatal(err)
	}
	if err := Plug(b.env, bus, first); err != nil {
		t.Fatal(err)
	}
	first.Dev().NewBus("quiet", "q.1", quietBus{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for range 200 {
			Reset(first)
		}
	})
	for range 200 {
		o, err := Create("test-quiet", "")
		if err != nil {
			t.Fatal(err)
		}
		if err := Plug(b.env, first.Dev().ChildBuses()[0], o); err != nil {
			t.Fatal(err)
		}
		Unplug(o)
	}
	wg.Wait()
}

// quiet is a device with a mutex, as devices have one.
type quiet struct {
	Base
	mu sync.Mutex
	n  int
}

func (q *quiet) Realize() error { return nil }
func (q *quiet) Unrealize()     {}
func (q *quiet) ResetEnter() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.n++
}

type quietBus struct{}

func (quietBus) Attach(Device) error { return nil }
func (quietBus) Detach(Device)       {}
