package hpet

import (
	"testing"
	"time"

	"govmd/internal/device/devtest"
)

// BenchmarkPeriodic is one periodic interrupt.
func BenchmarkPeriodic(b *testing.B) {
	r := plug(devtest.New(b))
	r.set(config(2), timerInterrupts|timerPeriodic|timerSetValue|toInput2)
	r.set(comparator(2), quickest/tickNS)
	r.set(regConfig, configEnable)
	b.ReportAllocs()
	b.ResetTimer()
	for range b.N {
		r.Advance(quickest * time.Nanosecond)
	}
	if n := r.pins[2].Rises(); n < b.N {
		b.Errorf("%d interrupts, want %d", n, b.N)
	}
}

func BenchmarkReadCounter(b *testing.B) {
	r := plug(devtest.New(b))
	r.set(regConfig, configEnable)
	b.ReportAllocs()
	for range b.N {
		r.dev.ReadIO(regCounter, 8)
	}
}
