package hpet

import (
	"errors"
	"fmt"
	"sync"

	"govmd/internal/clock"
	"govmd/internal/device"
	"govmd/internal/device/sysbus"
	"govmd/internal/memory"
	"govmd/internal/object"
)

// TypeName is the device's type.
const TypeName = "hpet"

// Base is the guest-physical address of the registers.
const Base = 0xfed00000

const (
	minTimers = 3
	maxTimers = (regsSize - regTimers) / timerSize

	inputs = 24

	// The inputs that legacy replacement gives to timers 0 and 1.
	legacyTimer0 = 0
	legacyTimer1 = 8
)

// Device is the timer block. The board sets the exported fields before Plug.
type Device struct {
	device.Base
	// Pins are the global system interrupts by number. Those that are nil are
	// not connected.
	Pins [inputs]*device.Pin
	// Legacy, when not nil, is called when the guest switches legacy replacement:
	// while it is on, interrupts 0 and 8 are those of timers 0 and 1, and the
	// interval timer and the real-time clock must not drive them. It is called
	// for each change in turn, without the device's mutex, after a load in any case.
	Legacy func(on bool)

	count8 uint8
	intcap uint32
	msi    bool

	clock  *clock.Clock
	routes uint64 // the pins that a timer can drive, a bit each

	// legacyMu makes calls of Legacy come in order. It is locked before mu.
	legacyMu  sync.Mutex
	announced bool // what Legacy was called with last

	// mu guards what follows. It is held while lines are driven, timers armed
	// and messages sent.
	mu     sync.Mutex
	config uint64
	status uint64 // a bit for each timer; only of those that are level-triggered
	start  uint64 // the counter at the time since, or while it is halted
	since  int64  // ns of guest time
	timers []timer
}

func init() {
	device.Register(object.Type{
		Name: TypeName, Description: "high precision event timer",
		New: func() object.Object { return &Device{} },
		Props: []object.Property{
			object.Int("timers", func(d *Device) *uint8 { return &d.count8 }, minTimers, fmt.Sprintf("number of timers, %d to %d", minTimers, maxTimers)),
			object.Bool("msi", func(d *Device) *bool { return &d.msi }, false, "whether timers can interrupt by messages"),
			object.Int("hpet-intcap", func(d *Device) *uint32 { return &d.intcap }, 1<<2, "interrupts that timers can be routed to, a bit each"),
		},
	})
}

// Realize implements device.Device.
func (d *Device) Realize() error {
	if d.Pins == [inputs]*device.Pin{} {
		return errors.New("the high precision event timer belongs to a board that wires it")
	}
	if d.msi && d.Env().MSI == nil {
		return errors.New("msi=on: this machine has no message-signalled interrupts")
	}
	d.clock = d.Env().Clock.Virtual
	d.Defer(d.letGo)
	d.routes = 0
	d.timers = make([]timer, min(max(d.count8, minTimers), maxTimers))
	for i := range d.timers {
		t := &d.timers[i]
		t.index = i
		d.wire(t)
		t.expiry = d.clock.NewTimer(fmt.Sprintf("hpet timer %d", i), d.expired)
		d.Defer(t.expiry.Close)
	}
	d.clear()
	regs := d.Env().Memory.NewIO("hpet", regsSize, d, memory.Spec{Min: 4, ImplMin: 4})
	return sysbus.MapMem(d, Base, regs)
}

// wire connects all the lines that a timer may ever drive.
func (d *Device) wire(t *timer) {
	connect := func(n int) *device.Line {
		if d.Pins[n] == nil {
			return nil
		}
		return d.NewOutput(d.Pins[n], fmt.Sprintf("%s timer %d", d.Describe(), t.index))
	}
	for n := range d.Pins {
		if d.intcap>>n&1 != 0 && d.Pins[n] != nil {
			d.routes |= 1 << n
			t.lines[n] = connect(n)
		}
	}
	switch t.index {
	case 0:
		t.legacy = connect(legacyTimer0)
	case 1:
		t.legacy = connect(legacyTimer1)
	}
}

// letGo is the last of the device.
func (d *Device) letGo() {
	d.legacyMu.Lock()
	defer d.legacyMu.Unlock()
	if d.announced {
		d.announceLocked(false)
	}
}

// Unrealize implements device.Device.
func (d *Device) Unrealize() {}

func (d *Device) announceLocked(legacy bool) {
	d.announced = legacy
	if d.Legacy != nil {
		d.Legacy(legacy)
	}
}

func (d *Device) capabilities() uint64 {
	return capabilities | uint64(len(d.timers)-1)<<capTimersShift
}

// BlockID is the lower half of the capabilities, which ACPI's table repeats.
func (d *Device) BlockID() uint32 { return uint32(d.capabilities()) }

// clear gives registers their reset values.
func (d *Device) clear() {
	d.config, d.status, d.start, d.since = 0, 0, 0, 0
	for i := range d.timers {
		t := &d.timers[i]
		t.expiry.Stop()
		t.config = d.routes<<timerRoutesShift | timerCanRepeat | timerCan64
		if d.msi {
			t.config |= timerCanFSB
		}
		t.comparator, t.period, t.fsb, t.setValue = ^uint64(0), 0, 0, false
		t.aimed, t.at, t.last = false, 0, longAgo
	}
}

// ResetEnter implements device.ResetEnterer.
func (d *Device) ResetEnter() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.clear()
}

// ResetHold implements device.ResetHolder.
func (d *Device) ResetHold() {
	d.legacyMu.Lock()
	defer d.legacyMu.Unlock()
	d.mu.Lock()
	for i := range d.timers {
		d.update(&d.timers[i])
	}
	d.mu.Unlock()
	if d.announced {
		d.announceLocked(false)
	}
}
