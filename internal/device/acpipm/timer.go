package acpipm

import (
	"math/bits"

	"govmd/internal/runstate"
)

const (
	timerHz   = 3579545
	timerBits = 24
	second    = 1_000_000_000

	half = 1 << (timerBits - 1) // the status bit is set whenever the timer's top bit changes
)

// ticks returns how often the PM timer has counted since time 0. Guests see the
// low timerBits bits.
func (b *Block) ticks() uint64 {
	now := b.cfg.Clock.Now()
	if now < 0 {
		return 0
	}
	hi, lo := bits.Mul64(uint64(now), timerHz)
	q, _ := bits.Div64(hi, lo, second) // hi is less than second: now is below 2^63
	return q
}

// tickTime returns the first time, in nanoseconds, at which ticks returns at least tick.
func tickTime(tick uint64) int64 {
	const limit = 1<<63 - 1
	hi, lo := bits.Mul64(tick, second)
	lo, carry := bits.Add64(lo, timerHz-1, 0)
	hi += carry
	if hi >= timerHz {
		return limit
	}
	q, _ := bits.Div64(hi, lo, timerHz)
	return int64(min(q, limit))
}

// nextOverflow returns the tick, after tick, at which the top bit next changes.
func nextOverflow(tick uint64) uint64 { return (tick + half) &^ (half - 1) }

// statusNow returns the status register. b.mu is held.
func (b *Block) statusNow() uint16 { return b.statusAt(b.ticks()) }

func (b *Block) statusAt(tick uint64) uint16 {
	if tick >= b.overflow {
		return b.status | StatusTimer
	}
	return b.status
}

func (b *Block) timerExpired() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.statusNow()&b.enable&StatusTimer != 0 {
		b.wakeup(runstate.WakeTimer)
	}
	b.update()
}
