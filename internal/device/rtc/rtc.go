package rtc

import (
	"errors"
	"sync"
	"time"

	"govmd/internal/clock"
	"govmd/internal/device"
	"govmd/internal/device/isa"
	"govmd/internal/event"
	"govmd/internal/memory"
	"govmd/internal/object"
)

// TypeName is the device's type.
const TypeName = "mc146818rtc"

// LostTickPolicy says what becomes of periodic interrupts that the guest was
// too slow to take.
type LostTickPolicy string

// The policies.
const (
	Discard LostTickPolicy = "discard"
	Slew    LostTickPolicy = "slew" // deliver them later
	delay   LostTickPolicy = "delay"
)

// Device is the real-time clock. The board sets the exported fields before Plug.
type Device struct {
	device.Base
	StartAt string // "utc" (the default), "localtime" or a date, as -rtc base=
	Source  Source
	// OnAlarm, when not nil, is called at each alarm interrupt, with the device
	// locked: ACPI's power management has a status bit for it, and it can end sleep.
	OnAlarm func()

	firstYear int32
	iobase    uint16
	irq       uint8
	policy    LostTickPolicy

	line     *device.Line
	follows  *clock.Clock
	ticks    *clock.Clock // of periodic interrupts: guest time
	base     int64        // what is shown without the guest's doing = follows + base, in ns
	timer    *clock.Timer // on follows: the next update or alarm that interrupts
	periodic *clock.Timer

	mu   sync.Mutex // guards what follows; held while driving the line
	regs registers
}

// registers is the volatile state, in part kept by a battery: a reset clears
// little of it.
type registers struct {
	firstYear int // of century 0

	index  uint8
	cmos   [cmosSize]uint8 // time registers count only while the clock is halted
	offset int64           // guest time = follows + offset, in ns; its fraction counts even when halted
	lastUp int64           // the second up to which UF and AF are right
	lastPF int64           // the periodic tick up to which PF is right

	missed int // periodic interrupts still to be delivered, with Slew
	inARow int // of them, delivered since the last tick
}

func init() {
	device.Register(object.Type{
		Name: TypeName, Bus: isa.BusKind, Description: "real-time clock",
		New: func() object.Object { return &Device{} },
		Props: []object.Property{
			object.Int("base_year", func(d *Device) *int32 { return &d.firstYear }, defaultYear, "year in which the year register is 0; the default has the century in a register of its own"),
			object.Int("iobase", func(d *Device) *uint16 { return &d.iobase }, 0x70, "first port"),
			object.Int("irq", func(d *Device) *uint8 { return &d.irq }, 8, "ISA interrupt"),
			object.Enum("lost_tick_policy", "LostTickPolicy", []LostTickPolicy{Discard, delay, Slew},
				func(d *Device) *LostTickPolicy { return &d.policy }, Discard, "what becomes of ticks that the guest was too slow to take"),
		},
	})
}

const (
	defaultYear = 1980
	pcYear      = 2000
)

// Realize implements device.Device.
func (d *Device) Realize() (err error) {
	if d.policy == delay {
		return errors.New("Invalid lost tick policy.")
	}
	r := &d.regs
	if d.firstYear != defaultYear && d.firstYear != pcYear {
		r.firstYear = int(d.firstYear)
	}
	if d.follows, err = d.source(); err != nil {
		return err
	}
	now := time.Now()
	start, err := ParseBase(d.StartAt, now)
	if err != nil {
		return err
	}
	if d.follows == d.Env().Clock.Host {
		// The difference alone, so that with "utc" the clock is the host's to the nanosecond.
		d.base = start.Sub(now.UTC()).Nanoseconds()
	} else {
		d.base = start.UnixNano() - d.follows.Now()
	}
	bus := isa.Of(d)
	if d.line, err = bus.IRQ(d, int(d.irq)); err != nil {
		return err
	}
	d.ticks = d.Env().Clock.Virtual
	d.timer = d.follows.NewTimer("rtc", d.onTimer)
	d.periodic = d.ticks.NewTimer("rtc periodic", d.onPeriodic)
	d.Defer(d.timer.Close)
	d.Defer(d.periodic.Close)

	r.offset = d.base
	r.cmos[regA] = aReset
	r.cmos[regB] = b24
	r.cmos[regD] = dVRT
	r.show(d.second())
	r.lastUp = d.second()
	r.lastPF = d.tick()

	region := d.Env().Memory.NewIO("rtc", 2, d, memory.Spec{ImplMin: 1, ImplMax: 1})
	return bus.MapIO(d, d.iobase, region)
}

// Unrealize implements device.Device.
func (d *Device) Unrealize() {}

// ResetEnter implements device.ResetEnterer: time, alarm and memory live on.
func (d *Device) ResetEnter() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.sync()
	r := &d.regs
	r.cmos[regB] &^= bPIE | bAIE | bUIE | bSQWE
	r.cmos[regC] = 0
	r.missed, r.inARow = 0, 0
	d.arm()
}

// ResetHold implements device.ResetHolder.
func (d *Device) ResetHold() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.update()
}

// SetCMOS sets a byte of the memory behind the clock's registers, for the
// firmware to find: reg is 0x0e to 0x7f, without the century.
func (d *Device) SetCMOS(reg int, v uint8) {
	if reg <= regD || reg == regCentury || reg >= cmosSize {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.regs.cmos[reg] = v
}

// CMOS returns a byte of the memory behind the clock's registers.
func (d *Device) CMOS(reg int) uint8 {
	if reg < 0 || reg >= cmosSize {
		return 0
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.regs.cmos[reg]
}

// Time returns what the clock shows.
func (d *Device) Time() time.Time {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.regs.halted() {
		return time.Unix(d.regs.shown(), 0).UTC()
	}
	return time.Unix(0, d.now()).UTC()
}

// Change is the event RTC_CHANGE: the guest has set the clock.
type Change struct {
	Offset  int64  `qmp:"offset"` // seconds, from what it would show otherwise
	QOMPath string `qmp:"qom-path"`
}

// EventName implements event.Event.
func (Change) EventName() string { return "RTC_CHANGE" }

// Events are the events that this package publishes.
func Events() []event.Event { return []event.Event{Change{}} }
