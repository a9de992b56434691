package hpet

import (
	"slices"
	"testing"
	"time"

	"govmd/internal/device"
	"govmd/internal/device/devtest"
)

// rig is a machine with a timer block and probes on all its pins.
type rig struct {
	*devtest.Machine
	dev    *Device
	pins   [inputs]*devtest.Probe
	legacy []bool // what Legacy was called with
}

func plug(m *devtest.Machine, props ...string) *rig {
	m.TB.Helper()
	d, err := m.Create(TypeName, "", props...)
	if err != nil {
		m.TB.Fatal(err)
	}
	r := &rig{Machine: m, dev: d.(*Device)}
	for i := range r.pins {
		r.pins[i] = devtest.NewProbe("gsi")
		r.dev.Pins[i] = r.pins[i].Pin
	}
	r.dev.Legacy = func(on bool) { r.legacy = append(r.legacy, on) }
	if err := m.Insert(nil, r.dev); err != nil {
		m.TB.Fatal(err)
	}
	return r
}

func newRig(t *testing.T, props ...string) *rig {
	t.Helper()
	return plug(devtest.New(t), props...)
}

func (r *rig) get(reg uint64) uint64    { return r.Read64(Base + reg) }
func (r *rig) set(reg uint64, v uint64) { r.Write64(Base+reg, v) }

func config(n uint64) uint64     { return regTimers + n*timerSize + regTimer }
func comparator(n uint64) uint64 { return regTimers + n*timerSize + regComparator }
func fsb(n uint64) uint64        { return regTimers + n*timerSize + regFSB }

func (r *rig) check(reg, want uint64, what string) {
	r.TB.Helper()
	if got := r.get(reg); got != want {
		r.TB.Errorf("%s: register %#x = %#x, want %#x", what, reg, got, want)
	}
}

func (r *rig) is(got, want uint64, what string) {
	r.TB.Helper()
	if got != want {
		r.TB.Errorf("%s: %#x, want %#x", what, got, want)
	}
}

func (r *rig) ticks(n int64) { r.Advance(time.Duration(n * tickNS)) }

func (r *rig) rises(pin, want int, what string) {
	r.TB.Helper()
	if got := r.pins[pin].Rises(); got != want {
		r.TB.Errorf("%s: input %d rose %d times, want %d", what, pin, got, want)
	}
}

func (r *rig) level(pin int, want bool, what string) {
	r.TB.Helper()
	if got := r.pins[pin].Level(); got != want {
		r.TB.Errorf("%s: input %d is high: %v, want %v", what, pin, got, want)
	}
}

const (
	allOnes   = ^uint64(0)
	fixedBits = timerCanRepeat | timerCan64
	toInput2  = 2 << timerRouteShift
)

func TestResetValues(t *testing.T) {
	r := newRig(t)
	check := func(what string) {
		t.Helper()
		r.check(regCapabilities, 0x989680_8086a201, what)
		r.check(regConfig, 0, what)
		r.check(regStatus, 0, what)
		r.check(regCounter, 0, what)
		for n := range uint64(3) {
			r.check(config(n), 1<<(timerRoutesShift+2)|fixedBits, what)
			r.check(comparator(n), allOnes, what)
			r.check(fsb(n), 0, what)
		}
		r.check(config(3), 0, what)
	}
	check("new")
	for reg := uint64(0); reg < regsSize; reg += 4 {
		r.Write32(Base+reg, 0x0f0f0f0f)
	}
	r.ticks(1000)
	r.Reset(r.dev)
	check("reset")
	r.ticks(1000)
	check("later")
	if r.dev.BlockID() != 0x8086a201 {
		t.Errorf("block id %#x", r.dev.BlockID())
	}
}

func TestAccessSizes(t *testing.T) {
	r := newRig(t)
	r.set(regCounter, 0x1122334455667788)
	r.CheckRead32(Base+regCounter, 0x55667788, "lower half")
	r.CheckRead32(Base+regCounter+4, 0x11223344, "upper half")
	r.Write32(Base+regCounter+4, 0xaabbccdd)
	r.check(regCounter, 0xaabbccdd55667788, "upper half written")
	if got := r.Read16(Base + regCounter); got != 0xffff {
		t.Errorf("read of 2 bytes: %#x", got)
	}
	r.Write8(Base+regCounter, 1)
	r.check(regCounter, 0xaabbccdd55667788, "write of a byte")
	r.Write32(Base+config(0)+4, 0)
	r.set(regCapabilities, 0)
	r.check(regCapabilities, 0x989680_8086a201, "capabilities are read-only")
	r.check(config(0), 1<<(timerRoutesShift+2)|fixedBits, "routes are read-only")
}

func TestCounter(t *testing.T) {
	r := newRig(t)
	r.ticks(100)
	r.check(regCounter, 0, "halted")
	r.set(regCounter, 1<<32-50)
	r.set(regConfig, configEnable)
	r.ticks(100)
	r.check(regCounter, 1<<32+50, "running")
	r.set(regCounter, 7)
	r.check(regCounter, 1<<32+50, "not written while it runs")
	r.set(regConfig, 0)
	r.ticks(100)
	r.check(regCounter, 1<<32+50, "halted again")
	r.set(regCounter, allOnes)
	r.set(regConfig, configEnable)
	r.ticks(3)
	r.check(regCounter, 2, "wrapped")
}

func TestOneShot(t *testing.T) {
	r := newRig(t)
	r.set(config(2), timerInterrupts|toInput2)
	r.set(regConfig, configEnable)
	r.set(comparator(2), 500)
	r.ticks(499)
	r.rises(2, 0, "too early")
	r.ticks(1)
	r.rises(2, 1, "at the match")
	r.level(2, false, "an edge")
	r.check(regStatus, 0, "edges have no status")
	r.ticks(5 << 32)
	r.rises(2, 0, "once")
	r.set(comparator(2), r.get(regCounter)+10)
	r.ticks(10)
	r.rises(2, 1, "set again")
	r.check(comparator(2), r.get(regCounter), "the comparator stays")
}

func TestLateGuestIsNotLeftWaiting(t *testing.T) {
	r := newRig(t)
	r.set(regCounter, 1000)
	r.set(regConfig, configEnable)
	r.set(config(2), timerInterrupts|toInput2|timer32)
	r.ticks(10)
	r.set(comparator(2), 900)
	r.ticks(1)
	r.rises(2, 1, "just missed")
	r.ticks(1 << 31)
	r.rises(2, 0, "once")
	r.set(comparator(2), uint64(uint32(r.get(regCounter)-late-1)))
	r.ticks(1000)
	r.rises(2, 0, "missed by long: it is the next time round that is meant")
}

func TestInterruptsDisabled(t *testing.T) {
	r := newRig(t)
	r.set(config(2), toInput2)
	r.set(comparator(2), 10)
	r.set(regConfig, configEnable)
	r.ticks(20)
	r.rises(2, 0, "disabled")
	r.set(config(2), toInput2|timerInterrupts)
	r.ticks(20)
	r.rises(2, 0, "an edge is over when it is over")
	if ns, armed := r.Env.Clock.Virtual.NextDeadline(); armed {
		t.Errorf("a timer is armed for %d", ns)
	}
}

func Test32BitTimer(t *testing.T) {
	r := newRig(t)
	r.set(comparator(2), 0xdeadbeef_00000064)
	r.set(config(2), timerInterrupts|toInput2|timer32)
	r.check(comparator(2), 100, "cut to its width")
	r.Write32(Base+comparator(2)+4, 5)
	r.check(comparator(2), 100, "upper half written")
	r.set(regCounter, 7<<32)
	r.set(regConfig, configEnable)
	r.ticks(100)
	r.rises(2, 1, "lower halves match")
	r.ticks(1<<32 - 1)
	r.rises(2, 0, "nearly round")
	r.ticks(1)
	r.rises(2, 1, "round")
	r.ticks(3 << 32)
	r.rises(2, 3, "three times round")
}

func TestPeriodic(t *testing.T) {
	r := newRig(t)
	// As section 2.3.9.2.2 has it: the counter halted, then the first time by
	// TimerSetValue, which is the period too.
	const period = 20_000 // 200 us
	r.set(config(2), timerInterrupts|timerPeriodic|timerSetValue|toInput2)
	r.check(config(2), 1<<(timerRoutesShift+2)|fixedBits|timerInterrupts|timerPeriodic|toInput2, "TimerSetValue reads as 0")
	r.set(comparator(2), period)
	r.set(regConfig, configEnable)
	for i := range uint64(10) {
		r.check(comparator(2), (i+1)*period, "next time")
		r.ticks(period - 1)
		r.rises(2, 0, "before")
		r.ticks(1)
		r.rises(2, 1, "in time")
	}
	r.set(comparator(2), 3*period) // without TimerSetValue: the period alone
	r.check(comparator(2), 11*period, "period written")
	r.ticks(period)
	r.rises(2, 1, "old period runs out")
	r.check(comparator(2), 14*period, "new period")
	r.ticks(9 * period)
	r.rises(2, 3, "new period")
}

// TestPeriodicFirstApart has the order in which Linux writes: first time, then period.
func TestPeriodicFirstApart(t *testing.T) {
	r := newRig(t)
	r.set(regCounter, 1<<32-1000)
	r.Write32(Base+config(0), timerInterrupts|timerPeriodic|timerSetValue|timer32)
	r.Write32(Base+comparator(0), 49_000)
	r.Write32(Base+comparator(0), 100_000)
	r.set(regConfig, configEnable|configLegacy)
	r.ticks(49_999)
	r.rises(0, 0, "before the first")
	r.ticks(1)
	r.rises(0, 1, "first")
	r.ticks(1_000_000)
	r.rises(0, 10, "then each period")
	r.check(comparator(0), 1_149_000, "next")
	r.ticks(1<<32 - 1000)
	if got := r.get(comparator(0)); got >= 1<<32 {
		t.Errorf("32-bit comparator %#x", got)
	}
}

func TestPeriodTooShort(t *testing.T) {
	r := newRig(t)
	r.set(config(2), timerInterrupts|timerPeriodic|timerSetValue|toInput2)
	r.set(comparator(2), 1)
	r.set(regConfig, configEnable)
	r.Advance(10 * time.Millisecond)
	if n := r.pins[2].Rises(); n < 99 || n > 101 {
		t.Errorf("%d interrupts in 10 ms, want about 100", n)
	}
	r.check(comparator(2), r.get(regCounter)+1, "the comparator keeps ahead")
	r.set(config(2), timerInterrupts|timerPeriodic|timerSetValue|toInput2)
	r.set(comparator(2), 0)
	r.Advance(time.Second)
	if n := r.pins[2].Rises(); n > 3 {
		t.Errorf("%d interrupts with period 0", n)
	}
}

func TestLevelTriggered(t *testing.T) {
	r := newRig(t)
	const c = timerInterrupts | timerLevel | toInput2
	r.set(config(2), c)
	r.set(comparator(2), 100)
	r.set(regConfig, configEnable)
	r.ticks(150)
	r.check(regStatus, 1<<2, "pending")
	r.level(2, true, "pending")
	r.set(regStatus, 3)
	r.level(2, true, "others acknowledged")
	r.set(config(2), c&^timerInterrupts)
	r.level(2, false, "disabled")
	r.check(regStatus, 1<<2, "disabled, still pending")
	r.set(config(2), c)
	r.level(2, true, "enabled")
	r.set(regConfig, 0)
	r.level(2, false, "halted")
	r.check(regStatus, 1<<2, "halting leaves the status")
	r.set(regConfig, configEnable)
	r.level(2, true, "running")
	r.set(regStatus, 1<<2)
	r.level(2, false, "acknowledged")
	r.check(regStatus, 0, "acknowledged")

	r.set(comparator(2), r.get(regCounter)+10)
	r.ticks(10)
	r.level(2, true, "again")
	r.set(config(2), c&^timerLevel)
	r.level(2, false, "edge-triggered")
	r.check(regStatus, 0, "edge-triggered")
}

func TestStatusWithoutInterrupt(t *testing.T) {
	r := newRig(t)
	r.set(config(1), timerLevel|timerPeriodic|timerSetValue)
	r.set(comparator(1), 10)
	r.set(regConfig, configEnable)
	r.ticks(9)
	r.check(regStatus, 0, "early")
	r.ticks(1)
	r.check(regStatus, 1<<1, "matched")
	r.ticks(95)
	r.check(comparator(1), 110, "it goes on")
}

func TestRouting(t *testing.T) {
	r := newRig(t, "hpet-intcap", "0xf00104")
	r.is(r.get(config(1))>>timerRoutesShift, 0xf00104, "routes")
	for _, c := range []struct{ ask, get uint64 }{{20, 20}, {9, 20}, {31, 20}, {2, 2}, {8, 8}, {23, 23}, {24, 23}} {
		r.set(config(1), c.ask<<timerRouteShift)
		r.is(r.get(config(1))&timerRoute>>timerRouteShift, c.get, "route")
	}
	r.set(config(1), timerInterrupts|timerLevel|20<<timerRouteShift)
	r.set(comparator(1), 10)
	r.set(regConfig, configEnable)
	r.ticks(10)
	r.level(20, true, "routed to 20")
	r.set(config(1), timerInterrupts|timerLevel|21<<timerRouteShift)
	r.level(20, false, "routed to 21")
	r.level(21, true, "routed to 21")
}

func TestUnroutedTimer(t *testing.T) {
	r := newRig(t)
	r.set(config(0), timerInterrupts)
	r.set(comparator(0), 10)
	r.set(regConfig, configEnable)
	r.ticks(10)
	for i := range r.pins {
		r.rises(i, 0, "no route")
	}
}

func TestLegacyReplacement(t *testing.T) {
	r := newRig(t)
	for n := range uint64(3) {
		r.set(config(n), timerInterrupts|toInput2)
		r.set(comparator(n), 10)
	}
	r.set(regConfig, configEnable|configLegacy)
	r.check(regConfig, configEnable|configLegacy, "config")
	r.ticks(10)
	r.rises(0, 1, "timer 0")
	r.rises(8, 1, "timer 1")
	r.rises(2, 1, "timer 2")
	r.set(regConfig, configLegacy)
	r.set(regConfig, 0)
	r.set(regConfig, configEnable)
	r.set(comparator(0), r.get(regCounter)+10)
	r.ticks(10)
	r.rises(0, 0, "timer 0 has its own route again")
	r.rises(2, 1, "timer 0 has its own route again")
	r.set(regConfig, configLegacy)
	r.Reset(r.dev)
	r.Reset(r.dev)
	r.set(regConfig, configLegacy)
	r.Unplug(r.dev)
	if want := []bool{true, false, true, false, true, false}; !slices.Equal(r.legacy, want) {
		t.Errorf("Legacy was called with %v, want %v", r.legacy, want)
	}
}

func TestLegacyLevelMoves(t *testing.T) {
	r := newRig(t)
	r.set(config(1), timerInterrupts|timerLevel|toInput2)
	r.set(comparator(1), 10)
	r.set(regConfig, configEnable)
	r.ticks(10)
	r.level(2, true, "own route")
	r.set(regConfig, configEnable|configLegacy)
	r.level(2, false, "replacement")
	r.level(8, true, "replacement")
	r.Reset(r.dev)
	r.level(8, false, "reset")
}

func TestMessages(t *testing.T) {
	r := newRig(t, "msi", "on")
	r.is(r.get(config(2))&timerCanFSB, timerCanFSB, "capability")
	r.set(fsb(2), 0xfee01000_00004041)
	r.check(fsb(2), 0xfee01000_00004041, "message")
	r.set(config(2), timerInterrupts|timerFSB|timerLevel|toInput2)
	r.set(comparator(2), 10)
	r.set(regConfig, configEnable)
	r.ticks(10)
	if got, want := r.MSI.Sent(), []device.MSIMessage{{Addr: 0xfee01000, Data: 0x4041}}; !slices.Equal(got, want) {
		t.Errorf("messages %v, want %v", got, want)
	}
	r.rises(2, 0, "message instead")
	r.check(regStatus, 0, "message instead")

	r.set(config(0), timerInterrupts|timerFSB)
	r.set(regConfig, configEnable|configLegacy)
	r.set(comparator(0), 20)
	r.ticks(10)
	r.rises(0, 1, "legacy replacement goes first")
	if got := r.MSI.Sent(); len(got) != 0 {
		t.Errorf("messages %v, want none", got)
	}
}

func TestNoMessages(t *testing.T) {
	r := newRig(t)
	r.set(config(2), timerFSB)
	r.set(fsb(2), allOnes)
	r.is(r.get(config(2))&(timerFSB|timerCanFSB), 0, "no capability")
	r.check(fsb(2), 0, "no capability")
}

func TestNumberOfTimers(t *testing.T) {
	for ask, want := range map[string]uint64{"1": 3, "3": 3, "8": 8, "32": 24} {
		r := newRig(t, "timers", ask)
		if got := r.get(regCapabilities)>>capTimersShift&0x1f + 1; got != want {
			t.Errorf("timers=%s: %d", ask, got)
		}
		last := want - 1
		r.set(config(last), timerInterrupts|toInput2)
		r.set(comparator(last), 10)
		r.set(regConfig, configEnable)
		r.ticks(10)
		r.rises(2, 1, "last timer")
	}
}

func TestNeedsBoard(t *testing.T) {
	m := devtest.New(t)
	if _, err := m.TryPlug(nil, TypeName, ""); err == nil {
		t.Error("plugged without pins")
	}
	m.Env.MSI = nil
	d, err := m.Create(TypeName, "", "msi", "on")
	if err != nil {
		t.Fatal(err)
	}
	d.(*Device).Pins[0] = devtest.NewProbe("gsi 0").Pin
	if err := m.Insert(nil, d); err == nil {
		t.Error("messages without a controller")
	}
}

func TestNoAllocations(t *testing.T) {
	r := newRig(t)
	r.set(regConfig, configEnable)
	d := r.dev
	devtest.NoAllocs(t, "reading the counter", func() { d.ReadIO(regCounter, 8) })
	n := uint64(0)
	devtest.NoAllocs(t, "programming a timer", func() {
		n += 1000
		d.WriteIO(config(2), 4, timerInterrupts|timerPeriodic|timerSetValue|toInput2)
		d.WriteIO(comparator(2), 4, n)
		d.ReadIO(comparator(2), 4)
	})
}

func TestHaltKeepsWhatIsToCome(t *testing.T) {
	r := newRig(t)
	r.set(config(2), timerInterrupts|toInput2)
	r.set(comparator(2), 10)
	r.set(regConfig, configEnable)
	r.ticks(4)
	r.set(regConfig, 0)
	r.ticks(100)
	r.rises(2, 0, "halted")
	r.set(regConfig, configEnable)
	r.ticks(5)
	r.rises(2, 0, "early")
	r.ticks(1)
	r.rises(2, 1, "at the match")
	r.set(regConfig, 0)
	r.set(regConfig, configEnable)
	r.ticks(1)
	r.rises(2, 0, "it has been")
	r.set(regConfig, 0)
	r.set(regCounter, 0)
	r.set(regConfig, configEnable)
	r.ticks(10)
	r.rises(2, 1, "counter set back")
}
