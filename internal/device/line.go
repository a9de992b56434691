package device

import (
	"sync"
	"sync/atomic"
)

// Pin is the input of an interrupt controller, a gate or any wire. Several
// lines may drive it: it is high while at least one of them is (wired OR).
type Pin struct {
	label string
	set   func(high bool)

	mu    sync.Mutex // held while set runs, so that edges arrive in order
	high  int        // lines that are high
	watch func(high bool)

	irqfd func(trigger, resample int) (detach func(), err error)
}

// NewPin returns a pin that calls set at each change of its level. set is
// called with the pin locked: it may take a controller's lock and drive other
// pins, but never call back into the device that drives this one.
func NewPin(label string, set func(high bool)) *Pin {
	return &Pin{label: label, set: set}
}

// Label returns the name given for debugging, such as "ioapic 9".
func (p *Pin) Label() string { return p.label }

// Level reports whether the pin is high.
func (p *Pin) Level() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.high > 0
}

// Connect returns a new line, low, that drives the pin; that of a nil pin drives
// nothing. label names the device and its output.
func (p *Pin) Connect(label string) *Line { return &Line{label: label, pin: p} }

// Watch has fn see every level change, in the pin's place when instead is true
// (qtest's interception) or before it. A nil fn ends that.
func (p *Pin) Watch(fn func(high bool), instead bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if fn == nil {
		p.watch = nil
		return
	}
	set := p.set
	p.watch = func(high bool) {
		fn(high)
		if !instead {
			set(high)
		}
	}
}

// SetIRQFD tells the pin how an eventfd is bound to it; interrupt controllers
// in the kernel can, others cannot.
func (p *Pin) SetIRQFD(bind func(trigger, resample int) (detach func(), err error)) { p.irqfd = bind }

func (p *Pin) change(delta int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	was := p.high > 0
	p.high += delta
	if is := p.high > 0; is != was {
		if p.watch != nil {
			p.watch(is)
		} else if p.set != nil {
			p.set(is)
		}
	}
}

// Line is a device's hold on a pin. It remembers its level, so that setting it
// again costs one atomic operation. A nil or detached line may be driven too.
type Line struct {
	label string
	pin   *Pin
	state atomic.Uint32
	watch atomic.Pointer[func(high bool)]
}

// What a line's state says.
const (
	lineLow = iota
	lineHigh
	lineCut // low for good
)

// NewLine returns a line that drives nothing: its level can be read, by tests.
func NewLine(label string) *Line { return &Line{label: label} }

// Label returns the name given for debugging.
func (l *Line) Label() string {
	if l == nil {
		return ""
	}
	return l.label
}

// SetLevel drives the line. It must be called with the device's own lock held
// or otherwise in order. It does not block beyond the pin's lock.
func (l *Line) SetLevel(high bool) {
	if l == nil {
		return
	}
	was, is := uint32(lineHigh), uint32(lineLow)
	if high {
		was, is = is, was
	}
	if l.state.CompareAndSwap(was, is) {
		l.changed(high)
	}
}

// Disconnect lowers the line for good: it is what a device that goes does with
// its outputs, whoever may still be about to raise them.
func (l *Line) Disconnect() {
	if l != nil && l.state.Swap(lineCut) == lineHigh {
		l.changed(false)
	}
}

func (l *Line) changed(high bool) {
	traceLine.Emit(l.label, high)
	if watch := l.watch.Load(); watch != nil {
		(*watch)(high)
	}
	if l.pin == nil {
		return
	}
	if high {
		l.pin.change(1)
	} else {
		l.pin.change(-1)
	}
}

// Pulse raises and lowers the line: an edge.
func (l *Line) Pulse() {
	l.SetLevel(true)
	l.SetLevel(false)
}

// Watch has fn see every level change before the pin does; nil ends that.
func (l *Line) Watch(fn func(high bool)) {
	if fn == nil {
		l.watch.Store(nil)
		return
	}
	l.watch.Store(&fn)
}

// Level reports whether the line is high.
func (l *Line) Level() bool { return l != nil && l.state.Load() == lineHigh }

// BindIRQFD has the kernel raise the line's pin when the eventfd trigger is
// signalled, and signal resample when the guest acknowledges. It reports
// ErrNoIRQFD where the controller cannot.
func (l *Line) BindIRQFD(trigger, resample int) (detach func(), err error) {
	if l == nil || l.pin == nil || l.pin.irqfd == nil {
		return nil, ErrNoIRQFD
	}
	return l.pin.irqfd(trigger, resample)
}
