// Package acpipm is the fixed hardware of ACPI power management, as the south
// bridges of PCs have it (ACPI 6.4, section 4.8): the PM1 event and control
// registers, the PM timer and a block of general-purpose events.
package acpipm

import (
	"sync"

	"govmd/internal/clock"
	"govmd/internal/device"
	"govmd/internal/runstate"
)

// Bits of the PM1 status and enable registers.
const (
	StatusTimer       = 1 << 0
	StatusGlobal      = 1 << 5
	StatusPowerButton = 1 << 8
	StatusRTC         = 1 << 10
	StatusWake        = 1 << 15

	statusBits = StatusTimer | StatusGlobal | StatusPowerButton | StatusRTC | StatusWake
	enableBits = StatusTimer | StatusGlobal | StatusPowerButton | StatusRTC
)

// Bits of the PM1 control register.
const (
	ControlSCI         = 1 << 0
	controlSleepShift  = 10
	controlSleepType   = 7
	controlSleepEnable = 1 << 13
)

// Offsets of the registers, and the size of the block that they make up.
const (
	RegStatus  = 0
	RegEnable  = 2
	RegControl = 4
	RegTimer   = 8
	Size       = 12
)

// Config says what a Block is connected to.
type Config struct {
	Name  string
	Clock *clock.Clock // the virtual clock
	SCI   *device.Line // the interrupt
	// Sleep is called, with nothing locked, when the guest enters a sleeping
	// state; typ is the number that the guest found in the ACPI tables.
	Sleep func(typ uint8)
	// Wakeup, when not nil, is called with the block locked at an event that
	// wakes the machine if it sleeps, which it need not.
	Wakeup func(runstate.WakeReason)
	// ACPIOnly is a machine without a legacy mode: SCI_EN is always set.
	ACPIOnly bool
	// GPEs is how many general-purpose events there are, a multiple of 8 up to 128.
	GPEs int
}

// Block is the hardware. Its methods may be called from any goroutine, with the
// owner's mutex held or not.
type Block struct {
	cfg   Config
	timer *clock.Timer

	mu       sync.Mutex // guards what follows
	status   uint16     // but for the timer's bit, see statusNow
	enable   uint16
	control  uint16
	overflow uint64 // tick of the PM timer at which its status bit is set
	gpeSts   []byte
	gpeEn    []byte
}

// New returns a block in its reset state. Close must be called at its end.
func New(cfg Config) *Block {
	b := &Block{cfg: cfg, gpeSts: make([]byte, cfg.GPEs/8), gpeEn: make([]byte, cfg.GPEs/8)}
	b.timer = cfg.Clock.NewTimer(cfg.Name, b.timerExpired)
	b.resetLocked()
	return b
}

// Close ends the block's timer.
func (b *Block) Close() {
	b.timer.Close()
	b.cfg.SCI.SetLevel(false)
}

// Reset brings all registers to their reset values.
func (b *Block) Reset() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.resetLocked()
	b.update()
}

func (b *Block) resetLocked() {
	b.status, b.enable, b.control = 0, 0, 0
	if b.cfg.ACPIOnly {
		b.control = ControlSCI
	}
	clear(b.gpeSts)
	clear(b.gpeEn)
	b.overflow = nextOverflow(b.ticks())
}

// EnableACPI switches between ACPI and legacy mode, as firmware does when the
// guest writes to the SMI command port.
func (b *Block) EnableACPI(on bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.cfg.ACPIOnly {
		return
	}
	b.control &^= ControlSCI
	if on {
		b.control |= ControlSCI
	}
}

// PowerButton is a short press of the power button. A guest that has not
// enabled the button does not see it.
func (b *Block) PowerButton() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.enable&StatusPowerButton != 0 {
		b.status |= StatusPowerButton
		b.update()
	}
}

// RTCAlarm is an alarm interrupt of the real-time clock: an SCI and the end of
// sleep for a guest that has enabled that, and a status bit for all.
func (b *Block) RTCAlarm() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.status |= StatusRTC
	if b.enable&StatusRTC != 0 {
		b.wakeup(runstate.WakeRTC)
	}
	b.update()
}

func (b *Block) wakeup(r runstate.WakeReason) {
	if b.cfg.Wakeup != nil {
		b.cfg.Wakeup(r)
	}
}

// Pending returns the event that ends a sleep before it has begun, since it came
// when the guest no longer looked, or "".
func (b *Block) Pending() runstate.WakeReason {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch on := b.statusNow() & b.enable; {
	case on&StatusRTC != 0:
		return runstate.WakeRTC
	case on&StatusTimer != 0:
		return runstate.WakeTimer
	}
	return ""
}

// Wake tells the guest that it has been woken, and by what; without a reason that
// has a bit of its own, it was the power button. It is called after the reset
// that wakes it.
func (b *Block) Wake(r runstate.WakeReason) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.status |= StatusWake
	switch r {
	case runstate.WakeRTC:
		b.status |= StatusRTC
	case runstate.WakeTimer:
		b.status |= StatusTimer
	default:
		b.status |= StatusPowerButton
	}
	b.update()
}

// RaiseGPE sets the status bit of a general-purpose event. Numbers that do not
// exist are ignored.
func (b *Block) RaiseGPE(n int) {
	traceGPE.Emit(n)
	b.mu.Lock()
	defer b.mu.Unlock()
	if n >= 0 && n/8 < len(b.gpeSts) {
		b.gpeSts[n/8] |= 1 << (n % 8)
		b.update()
	}
}

// update drives the interrupt and arms the timer. b.mu is held.
func (b *Block) update() {
	sts := b.statusNow()
	high := sts&b.enable&enableBits != 0
	for i := range b.gpeSts {
		high = high || b.gpeSts[i]&b.gpeEn[i] != 0
	}
	b.cfg.SCI.SetLevel(high)
	if b.enable&StatusTimer != 0 && sts&StatusTimer == 0 {
		b.timer.Set(tickTime(b.overflow))
	} else {
		b.timer.Stop()
	}
}
