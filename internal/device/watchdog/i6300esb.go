package watchdog

import (
	"sync"
	"time"

	"govmd/internal/clock"
	"govmd/internal/device/pci"
	"govmd/internal/memory"
	"govmd/internal/object"
	"govmd/internal/state"
)

// TypeI6300ESB is the watchdog of the Intel 6300ESB I/O controller hub (datasheet
// 300641, chapter 16): a timer of two stages, of which the first interrupts and the
// second acts. A PC has neither the interrupt controller that the first stage
// interrupts by nor system management mode, so that it only sets its status bit.
const TypeI6300ESB = "i6300esb"

// Registers in configuration space.
const (
	regConfig = 0x60
	regLock   = 0x68

	configOutputOff = 1 << 5 // the second stage does not act
	configFast      = 1 << 2 // the preload values count microseconds or so, not milliseconds
	configInterrupt = 3 << 0

	lockFree    = 1 << 2 // free-running: the second stage only, again and again
	lockEnabled = 1 << 1
	lockLocked  = 1 << 0 // this register no longer changes
)

// Registers in memory. To write one, two keys are written to regReload first.
const (
	regPreload1 = 0x0
	regPreload2 = 0x4
	regStatus   = 0x8
	regReload   = 0xc
	regionSize  = 0x10

	statusStage1 = 1 << 0 // the first stage has come to its end

	reloadNow     = 1 << 8
	reloadTimeout = 1 << 9 // the second stage has come to its end; outlives a reset

	key1, key2 = 0x80, 0x86

	preloadBits = 1<<20 - 1
)

const (
	busHz = 33_000_000 // which a preload value counts, scaled
	// quickest is how often a free-running timer acts at most.
	quickest = time.Millisecond
)

// stage is how far the timer is.
type stage uint8

const (
	stopped stage = iota
	first
	second
)

// lock is how much of the keys has been written.
type lock uint8

const (
	locked lock = iota
	halfway
	unlocked
)

type i6300esb struct {
	pci.Device
	virtual *clock.Clock
	timer   *clock.Timer

	mu      sync.Mutex // guards what follows; taken with pci.Device's access lock held
	enabled bool       // as the lock register says
	stage   stage
	lock    lock
	preload [2]uint32
	status  uint32
	timeout bool
}

func init() {
	pci.Register(object.Type{
		Name: TypeI6300ESB, UserCreatable: true, Description: "Intel 6300ESB watchdog timer",
		New: func() object.Object { return &i6300esb{} },
	})
}

// Realize implements device.Device.
func (d *i6300esb) Realize() error {
	if err := d.Setup(pci.Identity{Vendor: pci.VendorIntel, Device: 0x25ab, Class: 0x088000}); err != nil {
		return err
	}
	d.Config().Writable(regConfig, 2, configOutputOff|configFast|configInterrupt)
	d.Config().Writable(regLock, 1, lockFree|lockEnabled|lockLocked)
	d.preload = [2]uint32{preloadBits, preloadBits}
	d.virtual = d.Env().Clock.Virtual
	d.timer = d.virtual.NewTimer("i6300esb", d.expired)
	d.Defer(d.timer.Close)
	return d.RegisterBAR(0, pci.BARMem32, d.Env().Memory.NewIO("i6300esb", regionSize, d, memory.Spec{Max: 4}))
}

// ResetEnter implements device.ResetEnterer.
func (d *i6300esb) ResetEnter() {
	d.Device.ResetEnter()
	d.mu.Lock()
	defer d.mu.Unlock()
	d.stop()
	d.lock, d.status = locked, 0
	d.preload = [2]uint32{preloadBits, preloadBits}
}

// ConfigWritten implements pci.ConfigWriter.
func (d *i6300esb) ConfigWritten(off, size int) {
	if off <= regLock && regLock < off+size {
		d.lockWritten()
	}
}

// ConfigReloaded implements pci.ConfigReloader. What is loaded has a timer of its own
// to set, and after a reset there is none.
func (d *i6300esb) ConfigReloaded() {
	v := d.Config().U8(regLock)
	d.applyLocked(v)
	d.mu.Lock()
	defer d.mu.Unlock()
	d.enabled = v&lockEnabled != 0
}

func (d *i6300esb) lockWritten() {
	v := d.Config().U8(regLock)
	d.applyLocked(v)
	d.mu.Lock()
	defer d.mu.Unlock()
	switch was := d.enabled; {
	case v&lockEnabled == 0:
		d.stop()
	case !was:
		d.enabled = true
		d.restart()
	}
}

// applyLocked keeps the guest from changing the lock register if that says so.
func (d *i6300esb) applyLocked(v uint8) {
	if v&lockLocked != 0 {
		d.Config().Writable(regLock, 1, 0)
	}
}

// stop is called with d.mu held.
func (d *i6300esb) stop() {
	d.enabled, d.stage = false, stopped
	d.timer.Stop()
}

// restart begins with the first stage, if there is one. d.mu is held.
func (d *i6300esb) restart() {
	if d.freeRunning() {
		d.enter(second)
	} else {
		d.enter(first)
	}
}

// freeRunning reports whether the timer has one stage, and no end.
func (d *i6300esb) freeRunning() bool { return d.Config().U8(regLock)&lockFree != 0 }

// enter is called with d.mu held.
func (d *i6300esb) enter(s stage) {
	d.stage = s
	wait := d.duration(s)
	if d.freeRunning() {
		wait = max(wait, quickest)
	}
	traceStart.Emit(TypeI6300ESB, wait)
	d.timer.Set(d.virtual.Now() + int64(wait))
}

// duration returns how long a stage takes: its preload value counts 2^15 or 2^5
// cycles of the bus.
func (d *i6300esb) duration(s stage) time.Duration {
	shift := 15
	if d.Config().U16(regConfig)&configFast != 0 {
		shift = 5
	}
	return time.Duration(uint64(d.preload[s-first]) << shift * 1000 / (busHz / 1_000_000))
}

func (d *i6300esb) expired() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if _, again := d.timer.Deadline(); again {
		return // it has been fed since
	}
	switch d.stage {
	case stopped:
		return
	case first:
		d.status |= statusStage1
		d.enter(second)
		return
	}
	d.stage, d.timeout = stopped, true // until it is fed
	traceExpired.Emit(TypeI6300ESB)
	if d.Config().U16(regConfig)&configOutputOff == 0 {
		d.Env().Run.RequestWatchdog()
	}
	if d.freeRunning() {
		d.enter(second)
	}
}

// ReadIO implements memory.Handler.
func (d *i6300esb) ReadIO(off uint64, _ int) uint64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	var v uint32
	switch off &^ 3 {
	case regPreload1, regPreload2:
		v = d.preload[off/4]
	case regStatus:
		v = d.status
	case regReload:
		if d.timeout {
			v = reloadTimeout
		}
	}
	return uint64(v >> (8 * (off & 3)))
}

// WriteIO implements memory.Handler.
func (d *i6300esb) WriteIO(off uint64, size int, v uint64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	was := d.lock
	d.lock = locked
	switch {
	case off == regReload && v == key1:
		d.lock = halfway
	case off == regReload && v == key2 && was == halfway:
		d.lock = unlocked
	case was != unlocked:
		d.GuestErrorf("register %#x is written without its keys", off)
	default:
		d.writeUnlocked(off, size, uint32(v))
	}
}

func (d *i6300esb) writeUnlocked(off uint64, size int, v uint32) {
	switch {
	case off == regPreload1 && size == 4, off == regPreload2 && size == 4:
		d.preload[off/4] = v & preloadBits // for the next time that the stage is entered
	case off == regStatus:
		d.status &^= v & statusStage1
	case off == regReload:
		if v&reloadTimeout != 0 {
			d.timeout = false
		}
		if v&reloadNow != 0 && d.enabled {
			d.restart()
		}
	default:
		d.GuestErrorf("%d bytes are written to register %#x", size, off)
	}
}

type savedI6300ESB struct {
	Stage    stage     `cbor:"stage"`
	Deadline int64     `cbor:"deadline"` // of a stage, ns of the virtual clock
	Lock     lock      `cbor:"lock"`
	Preload  [2]uint32 `cbor:"preload"`
	Status   uint32    `cbor:"status"`
	Timeout  bool      `cbor:"timeout"`
}

// States implements device.Stater. Configuration space has been loaded before.
func (d *i6300esb) States() []state.Entry { return []state.Entry{state.Of("", 1, d.save, d.load)} }

func (d *i6300esb) save() savedI6300ESB {
	d.mu.Lock()
	defer d.mu.Unlock()
	return savedI6300ESB{d.stage, deadlineOf(d.timer), d.lock, d.preload, d.status, d.timeout}
}

// load takes a state of hostile origin: what the registers hold afterwards is what a
// guest could have written.
func (d *i6300esb) load(s *savedI6300ESB) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.lock, d.status, d.timeout = min(s.Lock, unlocked), s.Status&statusStage1, s.Timeout
	for i, v := range s.Preload {
		d.preload[i] = v & preloadBits
	}
	d.stage = stopped
	d.timer.Stop()
	if s.Stage != stopped && d.enabled {
		d.stage = min(s.Stage, second)
		d.timer.Set(min(s.Deadline, d.virtual.Now()+longest))
	}
	return nil
}

// longest is how long a stage takes at most, in ns.
const longest = preloadBits << 15 * 1000 / (busHz / 1_000_000)
