// Package input takes what users type and point at to the guest's keyboards and mice.
package input

import (
	"slices"
	"sync"

	"govmd/internal/clock"
	"govmd/internal/runstate"
)

// Keyboard is a guest's keyboard. Key presses or releases a key; it must not block.
type Keyboard interface{ Key(number uint8, down bool) }

// Mouse is a guest's mouse. Move moves it (right, down, and the wheel towards the user
// are positive) and sets its buttons (bit 0 left, 1 right, 2 middle, 3 and 4 those at
// the side); it must not block.
type Mouse interface {
	Move(dx, dy, dz int, buttons uint8)
}

// Buttons of a mouse.
const (
	ButtonLeft = 1 << iota
	ButtonRight
	ButtonMiddle
	ButtonSide
	ButtonExtra
)

// Router knows the guest's input devices, and which of them users reach: the first of
// each kind, until SetMouse says otherwise. While the machine has stopped, what users do
// is lost, as it is on a computer that is off.
type Router struct {
	run     *runstate.Controller
	virtual *clock.Clock

	mu        sync.Mutex // guards what follows; taken before devices' own
	last      int        // index that was given last
	keyboards []*keyboard
	mice      []*mouse
	buttons   uint8
	queue     typist
}

type keyboard struct{ Keyboard }

type mouse struct {
	Mouse
	index int
	name  string
}

// New returns a router without devices.
func New(run *runstate.Controller, virtual *clock.Clock) *Router {
	r := &Router{run: run, virtual: virtual}
	r.queue.timer = virtual.NewTimer("input", r.typeOn)
	return r
}

// Close ends what is being typed.
func (r *Router) Close() { r.queue.timer.Close() }

// AddKeyboard makes a keyboard reachable, until remove is called.
func (r *Router) AddKeyboard(k Keyboard) (remove func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.last++
	e := &keyboard{k}
	r.keyboards = append(r.keyboards, e)
	return func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.keyboards = slices.DeleteFunc(r.keyboards, func(o *keyboard) bool { return o == e })
	}
}

// AddMouse makes a mouse reachable, until remove is called.
func (r *Router) AddMouse(name string, m Mouse) (remove func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.last++
	e := &mouse{m, r.last, name}
	r.mice = append(r.mice, e)
	return func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.mice = slices.DeleteFunc(r.mice, func(o *mouse) bool { return o == e })
	}
}

// SetMouse has the mouse with that index take what users do. It reports whether there
// is one.
func (r *Router) SetMouse(index int64) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	i := slices.IndexFunc(r.mice, func(m *mouse) bool { return int64(m.index) == index })
	if i < 0 {
		return false
	}
	m := r.mice[i]
	r.mice = slices.Insert(slices.Delete(r.mice, i, i+1), 0, m)
	return true
}

// live reports whether there is anybody to notice what users do.
func (r *Router) live() bool {
	s := r.run.State()
	return s == runstate.Running || s == runstate.Suspended
}

// keyLocked presses or releases a key. r.mu is held.
func (r *Router) keyLocked(k Key, down bool) {
	if len(r.keyboards) > 0 && k != noKey && r.live() {
		r.keyboards[0].Key(uint8(k), down)
	}
}

// Move moves the mouse.
func (r *Router) Move(dx, dy, dz int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.moveLocked(dx, dy, dz)
}

// SetButtons says which buttons of the mouse are held.
func (r *Router) SetButtons(buttons uint8) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.buttons = buttons
	r.moveLocked(0, 0, 0)
}

func (r *Router) moveLocked(dx, dy, dz int) {
	if len(r.mice) > 0 && r.live() {
		r.mice[0].Move(dx, dy, dz, r.buttons)
	}
}
