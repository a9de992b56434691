package job

import (
	"sync"
	"time"
)

// slice is the time over which a Limiter spreads what it lets through.
const slice = 100 * time.Millisecond

// maxSlice bounds the wait for one request that is larger than its share, so that
// arithmetic does not overflow.
const maxSlice = 24 * time.Hour

// Limiter spreads work over time: it lets through a number of units a second,
// and says for how long to sleep. Its zero value limits nothing. Any goroutine.
type Limiter struct {
	mu    sync.Mutex
	speed uint64    // units a second; 0 for no limit
	quota uint64    // units a slice
	begin time.Time // of the slice
	end   time.Time // of the slice, which what went beyond its share makes longer
	spent uint64    // units since the slice began
	now   func() time.Time
}

// SetSpeed sets the number of units a second, 0 for no limit. A new limit is in
// force at once.
func (l *Limiter) SetSpeed(speed uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.speed = speed
	if speed > 0 {
		l.quota = max(1, uint64(float64(speed)*slice.Seconds()))
	}
	l.end = time.Time{}
}

// Speed returns the number of units a second, 0 for no limit.
func (l *Limiter) Speed() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.speed
}

// Delay notes that n units are wanted and returns for how long to sleep before
// asking again; with 0 they may be done now, and have been noted as done. One
// request larger than a slice's share goes through and is paid for by a longer
// wait of the next.
func (l *Limiter) Delay(n uint64) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.speed == 0 {
		return 0
	}
	now := time.Now
	if l.now != nil {
		now = l.now
	}
	t := now()
	if !t.Before(l.end) {
		l.begin, l.end, l.spent = t, t.Add(slice), 0
	}
	if l.spent >= l.quota {
		return l.end.Sub(t)
	}
	l.spent += n
	if l.spent > l.quota {
		length := float64(slice) * float64(l.spent) / float64(l.quota)
		l.end = l.begin.Add(time.Duration(min(length, float64(maxSlice))))
	}
	return 0
}
