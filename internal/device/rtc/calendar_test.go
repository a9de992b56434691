package rtc

import (
	"math/rand/v2"
	"testing"
	"time"
)

// TestNextAlarm compares with looking at each second in turn.
func TestNextAlarm(t *testing.T) {
	rnd := rand.New(rand.NewPCG(3, 4))
	for range 100 {
		r := registers{}
		r.cmos[regB] = uint8(rnd.Uint32()) & (b24 | bDM)
		field := func(reg int, encode func(int) uint8, limit int) {
			r.cmos[reg] = encode(rnd.IntN(limit))
			if rnd.IntN(2) == 0 {
				r.cmos[reg] = alarmAny | uint8(rnd.Uint32())
			}
		}
		field(regSecondsAlarm, r.encode, 60)
		field(regMinutesAlarm, r.encode, 60)
		field(regHoursAlarm, r.encodeHour, 24)
		from := int64(rnd.IntN(1 << 31))
		if rnd.IntN(2) == 0 {
			from = from/3600*3600 + 3599 // near a carry
		}
		want := from + 1
		for !r.matches(want) {
			want++
		}
		if got := r.nextAlarm(from); got != want {
			t.Fatalf("alarm %x:%x:%x (B %#x) after %d: %d, want %d", r.cmos[regHoursAlarm],
				r.cmos[regMinutesAlarm], r.cmos[regSecondsAlarm], r.cmos[regB], from, got, want)
		}
	}
}

func (r *registers) matches(sec int64) bool {
	h, m, s := time.Unix(sec, 0).UTC().Clock()
	ok := func(reg, want uint8) bool { return reg&alarmAny == alarmAny || reg == want }
	return ok(r.cmos[regHoursAlarm], r.encodeHour(h)) && ok(r.cmos[regMinutesAlarm], r.encode(m)) &&
		ok(r.cmos[regSecondsAlarm], r.encode(s))
}

func TestImpossibleAlarm(t *testing.T) {
	var r registers
	for _, regs := range [][3]uint8{{0x60, 0, 0}, {0, 0x75, 0}, {0, 0, 0x99}, {0x0a | 0xb0, 0, 0}} {
		r.cmos[regSecondsAlarm], r.cmos[regMinutesAlarm], r.cmos[regHoursAlarm] = regs[0], regs[1], regs[2]
		if regs[2] == 0x99 {
			r.cmos[regB] = b24
		}
		if got := r.nextAlarm(0); got != never {
			t.Errorf("% x: alarm at %d", regs, got)
		}
	}
}

func TestEncodings(t *testing.T) {
	at := time.Date(1999, 12, 31, 23, 58, 59, 0, time.UTC).Unix()
	for b, want := range map[uint8][8]uint8{
		b24:       {0x59, 0x58, 0x23, 6, 0x31, 0x12, 0x99, 0x19},
		0:         {0x59, 0x58, 0x91, 6, 0x31, 0x12, 0x99, 0x19},
		bDM | b24: {59, 58, 23, 6, 31, 12, 99, 19},
		bDM:       {59, 58, 11 | hourPM, 6, 31, 12, 99, 19},
	} {
		r := registers{}
		r.cmos[regB] = b
		r.show(at)
		for i, reg := range []int{regSeconds, regMinutes, regHours, regWeekday, regDay, regMonth, regYear, regCentury} {
			if r.cmos[reg] != want[i] {
				t.Errorf("B %#x: register %#x = %#x, want %#x", b, reg, r.cmos[reg], want[i])
			}
		}
		if got := r.shown(); got != at {
			t.Errorf("B %#x: %d reads back as %d", b, at, got)
		}
	}
}

func TestTwelveHours(t *testing.T) {
	r := registers{}
	for h, want := range map[int]uint8{0: 0x12, 1: 0x01, 11: 0x11, 12: 0x92, 13: 0x81, 23: 0x91} {
		if got := r.encodeHour(h); got != want {
			t.Errorf("hour %d is %#x, want %#x", h, got, want)
		}
		if got := r.decodeHour(want); got != h {
			t.Errorf("%#x is hour %d, want %d", want, got, h)
		}
	}
}
