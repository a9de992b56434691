package rtc

import (
	"strings"
	"testing"
	"time"

	"govmd/internal/device/devtest"
	"govmd/internal/event"
)

const base = 0x70

// A machine whose clock follows guest time and starts at this moment.
const startText = "2026-02-28T23:59:50"

func plug(m *devtest.Machine, start string, props ...string) *Device {
	m.TB.Helper()
	d := mustCreate(m, props...)
	d.StartAt, d.Source = start, SourceVM
	if err := m.Insert(m.ISA, d); err != nil {
		m.TB.Fatal(err)
	}
	return d
}

func newRTC(t *testing.T, props ...string) (*devtest.Machine, *Device) {
	t.Helper()
	m := devtest.New(t)
	return m, plug(m, startText, props...)
}

func get(m *devtest.Machine, reg uint8) uint8 {
	m.Out8(base, reg)
	return m.In8(base + 1)
}

func set(m *devtest.Machine, reg, v uint8) {
	m.Out8(base, reg)
	m.Out8(base+1, v)
}

func check(t *testing.T, m *devtest.Machine, reg, want uint8, what string) {
	t.Helper()
	if got := get(m, reg); got != want {
		t.Errorf("%s: register %#x = %#x, want %#x", what, reg, got, want)
	}
}

// show returns the time registers, as a person writes them.
func show(m *devtest.Machine) string {
	const hex = "0123456789abcdef"
	var b strings.Builder
	for i, reg := range []uint8{regCentury, regYear, regMonth, regDay, regHours, regMinutes, regSeconds} {
		if i > 1 {
			b.WriteByte("  --T::"[i])
		}
		v := get(m, reg)
		b.WriteByte(hex[v>>4])
		b.WriteByte(hex[v&15])
	}
	return b.String()
}

func checkTime(t *testing.T, m *devtest.Machine, want string) {
	t.Helper()
	if got := show(m); got != want {
		t.Errorf("time %s, want %s", got, want)
	}
}

func TestRuns(t *testing.T) {
	m, d := newRTC(t)
	check(t, m, regA, 0x26, "start")
	check(t, m, regB, b24, "start")
	check(t, m, regD, dVRT, "start")
	checkTime(t, m, startText)
	check(t, m, regWeekday, 7, "Saturday")
	m.Advance(10 * time.Second)
	checkTime(t, m, "2026-03-01T00:00:00")
	check(t, m, regWeekday, 1, "Sunday")
	if got := d.Time().Format(time.RFC3339); got != "2026-03-01T00:00:00Z" {
		t.Error(got)
	}
	m.Do(func() { _ = m.Env.Run.Stop("paused") })
	m.CheckIn8(base, 0xff, "the index cannot be read")
}

func TestUpdateInProgress(t *testing.T) {
	m, _ := newRTC(t)
	m.Advance(time.Second - 300*time.Microsecond)
	check(t, m, regA, 0x26, "300 us before the update")
	m.Advance(100 * time.Microsecond)
	check(t, m, regA, aUIP|0x26, "200 us before the update")
	m.Advance(200 * time.Microsecond)
	check(t, m, regA, 0x26, "after the update")
	m.Advance(999 * time.Millisecond)
	m.Advance(800 * time.Microsecond)
	set(m, regB, b24|bSet)
	check(t, m, regA, 0x26, "halted")
}

func TestSetByDividerReset(t *testing.T) {
	m, _ := newRTC(t)
	m.Advance(300 * time.Millisecond)
	set(m, regB, b24|bSet)
	set(m, regA, 0x66)
	for reg, v := range map[uint8]uint8{
		regCentury: 0x19, regYear: 0x99, regMonth: 0x12, regDay: 0x31, regHours: 0x23, regMinutes: 0x59, regSeconds: 0x59,
	} {
		set(m, reg, v)
	}
	m.Advance(5 * time.Second)
	set(m, regB, b24)
	m.Advance(5 * time.Second)
	checkTime(t, m, "1999-12-31T23:59:59")
	m.Events()
	set(m, regA, 0x26)
	m.Advance(499 * time.Millisecond)
	checkTime(t, m, "1999-12-31T23:59:59")
	m.Advance(2 * time.Millisecond)
	checkTime(t, m, "2000-01-01T00:00:00")
}

func TestSetKeepsPhase(t *testing.T) {
	m, d := newRTC(t)
	m.Events()
	m.Advance(300 * time.Millisecond)
	set(m, regB, b24|bSet)
	m.Advance(2 * time.Second)
	checkTime(t, m, startText)
	set(m, regSeconds, 0x00)
	set(m, regB, b24)
	m.Advance(699 * time.Millisecond)
	checkTime(t, m, "2026-02-28T23:59:00")
	m.Advance(2 * time.Millisecond)
	checkTime(t, m, "2026-02-28T23:59:01")
	// 50 seconds back, and two during which it stood still.
	want := []event.Event{Change{Offset: -52, QOMPath: d.Path()}}
	if got := m.Events(); len(got) != 1 || got[0] != want[0] {
		t.Errorf("events %+v, want %+v", got, want)
	}
}

func TestSetWhileRunning(t *testing.T) {
	m, d := newRTC(t)
	m.Events()
	set(m, regHours, 0x22)
	checkTime(t, m, "2026-02-28T22:59:50")
	if got := m.Events(); len(got) != 1 || got[0] != (Change{Offset: -3600, QOMPath: d.Path()}) {
		t.Errorf("events %+v", got)
	}
}

func TestNonsenseTime(t *testing.T) {
	m, d := newRTC(t)
	set(m, regB, bSet|bDM)
	for _, reg := range []uint8{regCentury, regYear, regMonth, regDay, regHours, regMinutes, regSeconds, regWeekday} {
		set(m, reg, 0xff)
	}
	set(m, regB, bDM|bUIE|bAIE)
	m.Advance(3 * time.Second)
	if y := d.Time().Year(); y < 2200 || y > 2300 {
		t.Errorf("year %d, want the last that fits", y)
	}
	set(m, regB, bSet|bDM)
	set(m, regCentury, 0)
	set(m, regB, bDM)
	if y := d.Time().Year(); y != 1748 {
		t.Errorf("year %d, want the first that fits", y)
	}
}

func TestUpdateInterrupt(t *testing.T) {
	m, _ := newRTC(t)
	m.Advance(1500 * time.Millisecond)
	set(m, regA, 0x20)
	check(t, m, regC, cUF|cPF, "polled, without an interrupt")
	set(m, regB, b24|bUIE)
	m.Advance(499 * time.Millisecond)
	if m.IRQ[8].Level() {
		t.Error("interrupt too early")
	}
	m.Advance(2 * time.Millisecond)
	if !m.IRQ[8].Level() {
		t.Error("no update interrupt")
	}
	check(t, m, regC, cIRQF|cUF, "update")
	check(t, m, regC, 0, "read once")
	if m.IRQ[8].Level() {
		t.Error("interrupt after it was acknowledged")
	}
	m.IRQ[8].Rises()
	for range 3 {
		m.Advance(time.Second)
		get(m, regC)
	}
	if n := m.IRQ[8].Rises(); n != 3 {
		t.Errorf("%d interrupts in 3 seconds", n)
	}
	set(m, regB, b24|bUIE|bSet)
	check(t, m, regB, b24|bSet, "SET clears UIE")
}

func TestAlarm(t *testing.T) {
	m, d := newRTC(t)
	alarms := 0
	d.OnAlarm = func() { alarms++ }
	set(m, regSecondsAlarm, 0x05)
	set(m, regMinutesAlarm, 0x00)
	set(m, regHoursAlarm, alarmAny)
	set(m, regB, b24|bAIE)
	m.Advance(14900 * time.Millisecond)
	if m.IRQ[8].Level() {
		t.Error("alarm too early")
	}
	m.Advance(200 * time.Millisecond)
	if !m.IRQ[8].Level() || alarms != 1 {
		t.Error("no alarm")
	}
	if got := get(m, regC) &^ (cPF | cUF); got != cIRQF|cAF {
		t.Errorf("C = %#x", got)
	}
	m.IRQ[8].Rises()
	m.Advance(59 * time.Minute)
	if m.IRQ[8].Rises() != 0 {
		t.Error("alarm within the hour")
	}
	m.Advance(time.Minute)
	if m.IRQ[8].Rises() != 1 {
		t.Error("no alarm in the next hour")
	}
}

func TestAlarmIsAlsoPolled(t *testing.T) {
	m, _ := newRTC(t)
	set(m, regSecondsAlarm, 0x55)
	set(m, regMinutesAlarm, 0xff)
	set(m, regHoursAlarm, 0xff)
	m.Advance(4 * time.Second)
	if get(m, regC)&cAF != 0 {
		t.Error("alarm flag too early")
	}
	m.Advance(2 * time.Second)
	if get(m, regC)&cAF == 0 {
		t.Error("no alarm flag")
	}
	if m.IRQ[8].Rises() != 0 {
		t.Error("interrupt though it is off")
	}
}

func TestAlarmOfTheHostsClock(t *testing.T) {
	m := devtest.New(t)
	d := mustCreate(m)
	d.Source = SourceHost
	if err := m.Insert(m.ISA, d); err != nil {
		t.Fatal(err)
	}
	woken := make(chan struct{})
	d.OnAlarm = func() { close(woken) }
	set(m, regSecondsAlarm, alarmAny)
	set(m, regMinutesAlarm, alarmAny)
	set(m, regHoursAlarm, alarmAny)
	set(m, regB, b24|bAIE)
	<-woken
}

func TestPeriodic(t *testing.T) {
	m, _ := newRTC(t)
	set(m, regA, 0x26) // 1024 Hz
	set(m, regB, b24|bPIE)
	m.IRQ[8].Rises()
	for range 1024 {
		m.Advance(time.Second / 1024)
		get(m, regC)
	}
	if n := m.IRQ[8].Rises(); n < 1023 || n > 1024 {
		t.Errorf("%d interrupts in a second, want 1024", n)
	}
	m.Advance(time.Second)
	if n := m.IRQ[8].Rises(); n != 1 {
		t.Errorf("%d interrupts without acknowledgement, want 1", n)
	}
	check(t, m, regC, cIRQF|cPF|cUF, "periodic")
	set(m, regA, 0x20)
	m.Advance(time.Second)
	if m.IRQ[8].Level() {
		t.Error("interrupt at rate 0")
	}
	for rate, want := range map[uint8]int64{1: 128, 2: 256, 3: 4, 15: 16384} {
		r := registers{}
		r.cmos[regA] = 0x20 | rate
		if got := r.period(); got != want {
			t.Errorf("rate %d: period %d, want %d", rate, got, want)
		}
	}
}

func TestLostTicks(t *testing.T) {
	for policy, want := range map[string]int{"discard": 1, "slew": 10} {
		m, _ := newRTC(t, "lost_tick_policy", policy)
		set(m, regA, 0x2a) // 64 Hz
		set(m, regB, b24|bPIE)
		m.Advance(10*time.Second/64 + time.Millisecond)
		for range 100 {
			get(m, regC)
		}
		if n := m.IRQ[8].Rises(); n != want {
			t.Errorf("%s: %d interrupts for 10 ticks, want %d", policy, n, want)
		}
	}
	m := devtest.New(t)
	if _, err := m.TryPlug(m.ISA, TypeName, "", "lost_tick_policy", "delay"); err == nil {
		t.Error("policy delay is accepted")
	}
}

// A guest that reads register C until it is 0 comes to an end.
func TestSlewIsBounded(t *testing.T) {
	m, _ := newRTC(t, "lost_tick_policy", "slew")
	set(m, regA, 0x26)
	set(m, regB, b24|bPIE)
	m.Advance(10 * time.Second)
	n := 0
	for get(m, regC) != 0 {
		if n++; n > 1000 {
			t.Fatal("register C never becomes 0")
		}
	}
}

func TestReset(t *testing.T) {
	m, d := newRTC(t)
	set(m, regB, b24|bUIE|bPIE|bAIE|bSQWE|bDM)
	set(m, 0x0f, 0x5a)
	m.Advance(2 * time.Second)
	if !m.IRQ[8].Level() {
		t.Fatal("no interrupt")
	}
	m.Reset(d)
	if m.IRQ[8].Level() {
		t.Error("interrupt after a reset")
	}
	check(t, m, regB, b24|bDM, "reset")
	check(t, m, 0x0f, 0x5a, "memory survives")
	check(t, m, regC, 0, "reset")
	set(m, regB, b24)
	checkTime(t, m, "2026-02-28T23:59:52")
}

func TestCMOS(t *testing.T) {
	m, d := newRTC(t)
	d.SetCMOS(0x15, 0x80)
	d.SetCMOS(regSeconds, 0x33)
	d.SetCMOS(-1, 1)
	d.SetCMOS(128, 1)
	check(t, m, 0x15, 0x80, "set by the board")
	check(t, m, regSeconds, 0x50, "the time is not memory")
	set(m, 0x7f, 0x12)
	check(t, m, 0xff, 0x12, "bit 7 of the index is the NMI's")
	if d.CMOS(0x7f) != 0x12 || d.CMOS(128) != 0 || d.CMOS(-1) != 0 {
		t.Error("CMOS is wrong")
	}
	check(t, m, regCentury2, 0x20, "the century's other name")
	set(m, regD, 0)
	check(t, m, regD, dVRT, "register D is read-only")
}

func TestBaseYear(t *testing.T) {
	m := devtest.New(t)
	plug(m, startText, "base_year", "2020")
	check(t, m, regYear, 0x06, "years since 2020")
	check(t, m, regCentury, 0, "years since 2020")
}

func TestBase(t *testing.T) {
	berlin := time.FixedZone("there", 3600)
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, berlin)
	for base, want := range map[string]string{
		"": "2026-01-02T02:04:05Z", "utc": "2026-01-02T02:04:05Z",
		"2006-06-17T16:01:21": "2006-06-17T16:01:21Z", "2006-06-17": "2006-06-17T00:00:00Z",
	} {
		got, err := ParseBase(base, now)
		if err != nil || got.Format(time.RFC3339) != want {
			t.Errorf("%q: %v %v, want %s", base, got, err, want)
		}
	}
	local, err := ParseBase("localtime", now)
	if err != nil || local.Format("15:04:05") != now.Local().Format("15:04:05") {
		t.Errorf("localtime: %v, %v", local, err)
	}
	for _, bad := range []string{"yesterday", "2006-13-01", "1066-10-14", "9999-01-01"} {
		if _, err := ParseBase(bad, now); err == nil {
			t.Errorf("%q is accepted", bad)
		}
	}
}

func TestSources(t *testing.T) {
	for _, source := range []Source{"", SourceHost, SourceRT} {
		m := devtest.New(t)
		d := mustCreate(m)
		d.Source = source
		if err := m.Insert(m.ISA, d); err != nil {
			t.Fatal(err)
		}
		if off := time.Since(d.Time()).Abs(); off > time.Minute {
			t.Errorf("source %q: %v from the host's time", source, off)
		}
	}
	m := devtest.New(t)
	d := mustCreate(m)
	d.Source = "sundial"
	if err := m.Insert(m.ISA, d); err == nil || err.Error() != "invalid option value 'sundial'" {
		t.Error(err)
	}
}

func mustCreate(m *devtest.Machine, props ...string) *Device {
	m.TB.Helper()
	d, err := m.Create(TypeName, "", props...)
	if err != nil {
		m.TB.Fatal(err)
	}
	return d.(*Device)
}

func mk(m *devtest.Machine) { plug(m, startText, "lost_tick_policy", "slew") }

func TestRoundTrip(t *testing.T) {
	_, to := devtest.RoundTrip(t, mk, func(m *devtest.Machine) {
		set(m, regHours, 0x12)
		set(m, regB, b24|bUIE|bPIE)
		set(m, 0x40, 0x77)
		m.Advance(1500 * time.Millisecond)
		get(m, regC)
		m.Advance(10 * time.Millisecond)
		m.Out8(base, regHours)
	})
	to.CheckIn8(base+1, 0x12, "the index is loaded")
	checkTime(t, to, "2026-02-28T12:59:51")
	if !to.IRQ[8].Level() {
		t.Error("the interrupt is not driven")
	}
	for get(to, regC) != 0 {
		continue
	}
	to.IRQ[8].Rises()
	to.Advance(time.Second)
	if to.IRQ[8].Rises() == 0 {
		t.Error("the timers are not armed")
	}
}

func TestHaltedRoundTrip(t *testing.T) {
	_, to := devtest.RoundTrip(t, mk, func(m *devtest.Machine) {
		set(m, regB, b24|bSet)
		set(m, regMinutes, 0x01)
		m.Advance(time.Hour)
	})
	checkTime(t, to, "2026-02-28T23:01:50")
}

func TestNoAllocs(t *testing.T) {
	_, d := newRTC(t)
	devtest.NoAllocs(t, "reading the time", func() {
		d.WriteIO(0, 1, regHours)
		d.ReadIO(1, 1)
		d.WriteIO(0, 1, regC)
		d.ReadIO(1, 1)
		d.WriteIO(0, 1, regB)
		d.WriteIO(1, 1, b24|bPIE)
	})
}

func TestTwin(t *testing.T) {
	devtest.Twin(t, func(m *devtest.Machine) {
		mk(m)
		m.AddAction(func(next func(int) uint64) uint64 { // the registers that count
			reg, v := uint8(next(1))&15, uint8(next(1))
			old := get(m, reg)
			if v&1 != 0 {
				set(m, reg, v)
			}
			return uint64(old)
		})
	}, devtest.Ports(base, 2))
}

func TestConcurrent(t *testing.T) { devtest.Concurrent(t, mk, devtest.Ports(base, 2)) }

func FuzzIO(f *testing.F) { devtest.FuzzIO(f, mk, devtest.Ports(base, 2)) }

func FuzzState(f *testing.F) { devtest.FuzzState(f, mk, devtest.Ports(base, 2)) }
