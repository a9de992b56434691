package acpipm_test

import (
	"testing"
	"time"

	"govmd/internal/clock"
	"govmd/internal/device"
	"govmd/internal/device/acpipm"
	"govmd/internal/runstate"
)

type bed struct {
	*acpipm.Block
	t     testing.TB
	clock *clock.Clock
	sci   *device.Line
	slept []uint8
	woken []runstate.WakeReason
}

func newBed(t testing.TB, acpiOnly bool) *bed {
	t.Helper()
	set, err := clock.New()
	if err != nil {
		t.Fatal(err)
	}
	set.Virtual.SetManual()
	b := &bed{t: t, clock: set.Virtual, sci: device.NewLine("SCI")}
	b.Block = acpipm.New(acpipm.Config{
		Name: "PM", Clock: set.Virtual, SCI: b.sci, ACPIOnly: acpiOnly, GPEs: 16,
		Sleep:  func(typ uint8) { b.slept = append(b.slept, typ) },
		Wakeup: func(r runstate.WakeReason) { b.woken = append(b.woken, r) },
	})
	t.Cleanup(func() {
		b.Close()
		set.Close()
	})
	return b
}

func (b *bed) advance(d time.Duration)               { b.clock.Advance(b.clock.Now() + int64(d)) }
func (b *bed) read(off uint64, size int) uint64      { return b.Registers().ReadIO(off, size) }
func (b *bed) write(off uint64, size int, v uint64)  { b.Registers().WriteIO(off, size, v) }
func (b *bed) gpe(off uint64, size int) uint64       { return b.GPE().ReadIO(off, size) }
func (b *bed) setGPE(off uint64, size int, v uint64) { b.GPE().WriteIO(off, size, v) }

func equal[T comparable](t testing.TB, what string, got, want T) {
	t.Helper()
	if got != want {
		t.Errorf("%s = %v, want %v", what, got, want)
	}
}

const hz = 3579545

func TestTimerCounts(t *testing.T) {
	b := newBed(t, false)
	equal(t, "at 0", b.read(acpipm.RegTimer, 4), 0)
	b.advance(time.Second)
	equal(t, "after a second", b.read(acpipm.RegTimer, 4), hz)
	equal(t, "low word", b.read(acpipm.RegTimer, 2), hz&0xffff)
	equal(t, "high word", b.read(acpipm.RegTimer+2, 2), hz>>16)
	equal(t, "byte 1", b.read(acpipm.RegTimer+1, 1), hz>>8&0xff)
	b.advance(9 * time.Second)
	equal(t, "wrapped", b.read(acpipm.RegTimer, 4), 10*hz&0xffffff)
	b.write(acpipm.RegTimer, 4, 0)
	equal(t, "after a write", b.read(acpipm.RegTimer, 4), 10*hz&0xffffff)
}

func TestTimerInterrupt(t *testing.T) {
	b := newBed(t, false)
	b.write(acpipm.RegEnable, 2, acpipm.StatusTimer)
	// The top bit changes after 2^23 ticks, 2.343 s.
	edge := time.Duration((uint64(1)<<23*1e9 + hz - 1) / hz)
	b.advance(edge - 1)
	equal(t, "before", b.sci.Level(), false)
	equal(t, "status before", b.read(acpipm.RegStatus, 2), 0)
	b.advance(1)
	equal(t, "at the edge", b.sci.Level(), true)
	equal(t, "status", b.read(acpipm.RegStatus, 2), acpipm.StatusTimer)
	b.write(acpipm.RegStatus, 2, acpipm.StatusTimer)
	equal(t, "acknowledged", b.sci.Level(), false)
	b.advance(edge)
	equal(t, "the other edge", b.sci.Level(), true)
	b.write(acpipm.RegEnable, 2, 0)
	equal(t, "disabled", b.sci.Level(), false)
	equal(t, "status stays", b.read(acpipm.RegStatus, 2), acpipm.StatusTimer)
}

func TestStatusWithoutInterrupt(t *testing.T) {
	b := newBed(t, false)
	b.advance(3 * time.Second)
	equal(t, "status", b.read(acpipm.RegStatus, 2), acpipm.StatusTimer)
	equal(t, "SCI", b.sci.Level(), false)
	b.write(acpipm.RegEnable, 2, acpipm.StatusTimer)
	equal(t, "SCI once enabled", b.sci.Level(), true)
}

func TestPowerButton(t *testing.T) {
	b := newBed(t, false)
	b.PowerButton()
	equal(t, "not enabled", b.read(acpipm.RegStatus, 2), 0)
	b.write(acpipm.RegEnable, 2, acpipm.StatusPowerButton)
	b.PowerButton()
	equal(t, "status", b.read(acpipm.RegStatus, 2), acpipm.StatusPowerButton)
	equal(t, "SCI", b.sci.Level(), true)
	b.write(acpipm.RegStatus+1, 1, acpipm.StatusPowerButton>>8)
	equal(t, "acknowledged by a byte", b.read(acpipm.RegStatus, 2), 0)
	equal(t, "SCI", b.sci.Level(), false)
}

func TestEnableTakesOnlyWhatThereIs(t *testing.T) {
	b := newBed(t, false)
	b.write(acpipm.RegStatus, 4, 0xffffffff)
	equal(t, "enable", b.read(acpipm.RegEnable, 2), 0x521)
	b.write(acpipm.RegEnable, 1, 0)
	equal(t, "low byte cleared", b.read(acpipm.RegEnable, 2), 0x500)
	equal(t, "both", b.read(acpipm.RegStatus, 4), 0x5000000)
	equal(t, "beyond", b.read(0x20, 4), 0)
}

func TestSleep(t *testing.T) {
	b := newBed(t, false)
	b.write(acpipm.RegControl, 2, 5<<10)
	equal(t, "without SLP_EN", len(b.slept), 0)
	b.write(acpipm.RegControl, 2, 1<<13|1<<10|1)
	b.write(acpipm.RegControl+1, 1, (1<<13|3<<10)>>8) // by the upper byte alone
	if len(b.slept) != 2 || b.slept[0] != 1 || b.slept[1] != 3 {
		t.Errorf("slept %v", b.slept)
	}
	equal(t, "SLP_EN reads as 0", b.read(acpipm.RegControl, 2), 3<<10|1)
}

func TestWake(t *testing.T) {
	for _, c := range []struct {
		r    runstate.WakeReason
		want uint64
	}{
		{runstate.WakeOther, acpipm.StatusPowerButton}, {runstate.WakeRTC, acpipm.StatusRTC}, {runstate.WakeTimer, acpipm.StatusTimer},
	} {
		b := newBed(t, false)
		b.Wake(c.r)
		equal(t, "status", b.read(acpipm.RegStatus, 2), acpipm.StatusWake|c.want)
		b.write(acpipm.RegStatus, 2, 0xffff)
		equal(t, "cleared", b.read(acpipm.RegStatus, 2), 0)
	}
}

func TestRTCAlarm(t *testing.T) {
	b := newBed(t, false)
	b.RTCAlarm()
	equal(t, "status", b.read(acpipm.RegStatus, 2), acpipm.StatusRTC)
	equal(t, "SCI", b.sci.Level(), false)
	equal(t, "wakes", len(b.woken), 0)
	equal(t, "pending", b.Pending(), "")
	b.write(acpipm.RegStatus, 2, acpipm.StatusRTC)
	b.write(acpipm.RegEnable, 2, acpipm.StatusRTC)
	equal(t, "acknowledged", b.read(acpipm.RegStatus, 2), 0)
	b.RTCAlarm()
	equal(t, "SCI once enabled", b.sci.Level(), true)
	if len(b.woken) != 1 || b.woken[0] != runstate.WakeRTC {
		t.Errorf("woken by %v", b.woken)
	}
	equal(t, "pending", b.Pending(), runstate.WakeRTC)
}

func TestTimerWakes(t *testing.T) {
	b := newBed(t, false)
	b.advance(3 * time.Second)
	equal(t, "pending, not enabled", b.Pending(), "")
	b.write(acpipm.RegStatus, 2, acpipm.StatusTimer)
	b.write(acpipm.RegEnable, 2, acpipm.StatusTimer)
	equal(t, "woken too early", len(b.woken), 0)
	b.advance(3 * time.Second)
	if len(b.woken) != 1 || b.woken[0] != runstate.WakeTimer {
		t.Errorf("woken by %v", b.woken)
	}
	equal(t, "pending", b.Pending(), runstate.WakeTimer)
}

func TestACPIMode(t *testing.T) {
	b := newBed(t, false)
	equal(t, "at reset", b.read(acpipm.RegControl, 2), 0)
	b.EnableACPI(true)
	equal(t, "enabled", b.read(acpipm.RegControl, 2), acpipm.ControlSCI)
	b.EnableACPI(false)
	equal(t, "disabled", b.read(acpipm.RegControl, 2), 0)

	only := newBed(t, true)
	only.EnableACPI(false)
	only.write(acpipm.RegControl, 2, 0)
	equal(t, "without legacy mode", only.read(acpipm.RegControl, 2), acpipm.ControlSCI)
	only.Reset()
	equal(t, "after a reset", only.read(acpipm.RegControl, 2), acpipm.ControlSCI)
}

func TestGPE(t *testing.T) {
	b := newBed(t, false)
	equal(t, "size", b.GPESize(), 4)
	b.RaiseGPE(9)
	b.RaiseGPE(16)
	b.RaiseGPE(-1)
	equal(t, "status", b.gpe(0, 2), 1<<9)
	equal(t, "SCI", b.sci.Level(), false)
	b.setGPE(3, 1, 2)
	equal(t, "SCI once enabled", b.sci.Level(), true)
	equal(t, "all", b.gpe(0, 4), 1<<25|1<<9)
	b.setGPE(0, 2, 1)
	equal(t, "another bit", b.sci.Level(), true)
	b.setGPE(1, 1, 2)
	equal(t, "acknowledged", b.sci.Level(), false)
	equal(t, "beyond", b.gpe(4, 4), 0)
	b.setGPE(4, 4, 0xffffffff)
}

func TestReset(t *testing.T) {
	b := newBed(t, false)
	b.write(acpipm.RegEnable, 2, 0xffff)
	b.advance(3 * time.Second)
	b.RaiseGPE(1)
	b.setGPE(2, 2, 2)
	equal(t, "SCI", b.sci.Level(), true)
	b.Reset()
	equal(t, "SCI after a reset", b.sci.Level(), false)
	for off := uint64(0); off < 8; off += 4 {
		equal(t, "register", b.read(off, 4), 0)
	}
	equal(t, "events", b.gpe(0, 4), 0)
}

func TestState(t *testing.T) {
	from, to := newBed(t, false), newBed(t, false)
	from.write(acpipm.RegEnable, 2, acpipm.StatusTimer|acpipm.StatusPowerButton)
	from.write(acpipm.RegControl, 2, 5<<10|1)
	from.RaiseGPE(3)
	from.advance(time.Second)
	to.clock.SetNow(from.clock.Now())
	if err := to.Load(from.Save()); err != nil {
		t.Fatal(err)
	}
	equal(t, "control", to.read(acpipm.RegControl, 2), 5<<10|1)
	equal(t, "events", to.gpe(0, 4), 8)
	to.advance(1400 * time.Millisecond)
	equal(t, "SCI by the timer that was armed", to.sci.Level(), true)

	bad := from.Save()
	bad.GPEEnable = nil
	if err := to.Load(bad); err == nil {
		t.Error("a state without events was loaded")
	}
}

func TestNoAllocations(t *testing.T) {
	b := newBed(t, false)
	b.write(acpipm.RegEnable, 2, acpipm.StatusTimer)
	h := b.Registers()
	if n := testing.AllocsPerRun(100, func() {
		h.ReadIO(acpipm.RegTimer, 4)
		h.WriteIO(acpipm.RegStatus, 4, 0xffff)
	}); n != 0 {
		t.Errorf("%g allocations", n)
	}
}

// TestTimerIsReadWhole reads the timer while time passes: as a clock source it
// must not jump when its lower half wraps around between two looks.
func TestTimerIsReadWhole(t *testing.T) {
	set, err := clock.New()
	if err != nil {
		t.Fatal(err)
	}
	defer set.Close()
	set.Virtual.Start()
	b := acpipm.New(acpipm.Config{Name: "PM", Clock: set.Virtual, SCI: device.NewLine("SCI")})
	defer b.Close()
	const wrap, mask = 1 << 16, 1<<24 - 1
	h := b.Registers()
	last, passed := h.ReadIO(acpipm.RegTimer, 4), uint64(0)
	for passed < 12*wrap {
		now := h.ReadIO(acpipm.RegTimer, 4)
		d := (now - last) & mask
		if d > mask/2 {
			t.Fatalf("the timer went from %#x back to %#x", last, now)
		}
		passed += d
		last = now
	}
}

func FuzzRegisters(f *testing.F) {
	f.Add([]byte{0, 2, 1, 0, 8, 1, 255, 0, 3, 4, 1, 60})
	f.Fuzz(func(t *testing.T, data []byte) {
		b := newBed(t, len(data)%2 == 0)
		for len(data) >= 4 {
			op, off, v := data[0], uint64(data[1]&63), uint64(data[2])|uint64(data[3])<<8
			size := 1 << (op >> 4 % 3)
			if size == 8 {
				size = 4
			}
			size = min(size, 4)
			off &^= uint64(size - 1)
			switch op & 7 {
			case 0, 1:
				b.write(off, size, v|v<<16)
			case 2:
				b.read(off, size)
			case 3:
				b.setGPE(off, size, v|v<<16)
			case 4:
				b.gpe(off, size)
			case 5:
				b.advance(time.Duration(v) << (op >> 3))
			case 6:
				s := b.Save()
				s.Overflow ^= v << (op >> 3)
				if err := b.Load(s); err != nil {
					t.Fatal(err)
				}
			case 7:
				b.RaiseGPE(int(v))
				b.PowerButton()
				b.Wake([]runstate.WakeReason{runstate.WakeOther, runstate.WakeRTC, runstate.WakeTimer}[v%3])
				b.RTCAlarm()
				b.Pending()
			}
			data = data[4:]
		}
		b.Reset()
		if b.sci.Level() {
			t.Error("the SCI is high after a reset")
		}
	})
}
