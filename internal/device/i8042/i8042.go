// Package i8042 is the PC's keyboard controller with a PS/2 keyboard and mouse
// ("i8042"). It follows IBM's PS/2 Hardware Interface Technical Reference.
package i8042

import (
	"sync"

	"govmd/internal/clock"
	"govmd/internal/device"
	"govmd/internal/device/isa"
	"govmd/internal/memory"
	"govmd/internal/object"
	"govmd/internal/runstate"
)

// TypeName is the device's type.
const TypeName = "i8042"

// The ports.
const (
	portData    = 0x60
	portCommand = 0x64
)

// throttleTime is how long the keyboard waits after each byte, with kbd-throttle.
const throttleTime = 1e6

// Device is the keyboard controller. The board may set OnLEDs before Plug.
type Device struct {
	device.Base
	// OnLEDs, when not nil, is told of the keyboard's lights (bit 0 ScrollLock,
	// 1 NumLock, 2 CapsLock) when they change, with the device locked.
	OnLEDs func(leds uint8)

	kbdIRQ, auxIRQ   uint8
	extended         bool
	throttle         bool
	kbdLine, auxLine *device.Line
	delay            *clock.Timer

	mu      sync.Mutex // guards what follows; held while driving the lines
	ctl     controller
	kbd     keyboard
	aux     mouse
	delayed bool // delay is running

	toldLEDs uint8 // what OnLEDs was told last
}

func init() {
	device.Register(object.Type{
		Name: TypeName, Bus: isa.BusKind, Description: "keyboard controller with PS/2 keyboard and mouse",
		New: func() object.Object { return &Device{} },
		Props: []object.Property{
			object.Int("kbd-irq", func(d *Device) *uint8 { return &d.kbdIRQ }, 1, "ISA interrupt of the keyboard"),
			object.Int("mouse-irq", func(d *Device) *uint8 { return &d.auxIRQ }, 12, "ISA interrupt of the mouse"),
			object.Bool("extended-state", func(d *Device) *bool { return &d.extended }, true, "for compatibility; ignored"),
			object.Bool("kbd-throttle", func(d *Device) *bool { return &d.throttle }, false, "the keyboard sends no more than a byte a millisecond"),
		},
	})
}

// Realize implements device.Device.
func (d *Device) Realize() (err error) {
	bus := isa.Of(d)
	if d.kbdLine, err = bus.IRQ(d, int(d.kbdIRQ)); err != nil {
		return err
	}
	if d.auxLine, err = bus.IRQ(d, int(d.auxIRQ)); err != nil {
		return err
	}
	env := d.Env()
	d.delay = env.Clock.Virtual.NewTimer("keyboard", d.onDelay)
	d.Defer(d.delay.Close)
	d.ResetEnter()
	d.Defer(env.Input.AddKeyboard(d))
	d.Defer(env.Input.AddMouse("QEMU PS/2 Mouse", d))
	one := memory.Spec{ImplMin: 1, ImplMax: 1}
	if err := bus.MapIO(d, portData, env.Memory.NewIO("i8042-data", 1, dataPort{d}, one)); err != nil {
		return err
	}
	return bus.MapIO(d, portCommand, env.Memory.NewIO("i8042-cmd", 1, commandPort{d}, one))
}

// Unrealize implements device.Device.
func (d *Device) Unrealize() {}

// ResetEnter implements device.ResetEnterer.
func (d *Device) ResetEnter() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.delay.Stop()
	d.delayed = false
	d.ctl.reset()
	d.kbd.reset()
	d.aux.reset()
}

// ResetHold implements device.ResetHolder.
func (d *Device) ResetHold() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.drive()
	d.tellLEDs()
}

// tellLEDs tells of the keyboard's lights if they have changed.
func (d *Device) tellLEDs() {
	if leds := d.kbd.leds; leds != d.toldLEDs {
		d.toldLEDs = leds
		if d.OnLEDs != nil {
			d.OnLEDs(leds)
		}
	}
}

// Key presses or releases the key with a number: its code in scan code set 1,
// plus 0x80 for those with the prefix 0xe0. What the guest is too slow to read
// is lost, sixteen bytes on. It may be called from any goroutine.
func (d *Device) Key(number uint8, down bool) {
	d.wake()
	d.mu.Lock()
	defer d.mu.Unlock()
	d.kbd.key(number, down)
	d.fill()
	d.drive()
}

// Move moves the mouse (right, down, and the wheel towards the user are
// positive) and sets its buttons. Motion that the guest is too slow to read
// adds up. It may be called from any goroutine.
func (d *Device) Move(dx, dy, dz int, buttons uint8) {
	if buttons != 0 {
		d.wake()
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.aux.move(dx, dy, dz, buttons)
	d.fill()
	d.drive()
}

// LEDs returns the keyboard's lights.
func (d *Device) LEDs() uint8 {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.kbd.leds
}

func (d *Device) wake() {
	if run := d.Env().Run; run.State() == runstate.Suspended {
		run.RequestWakeup(runstate.WakeOther)
	}
}

func (d *Device) onDelay() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if _, armed := d.delay.Deadline(); armed {
		return // set again meanwhile
	}
	d.delayed = false
	d.fill()
	d.drive()
}
