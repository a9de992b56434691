package device

import (
	"sync"
	"time"
)

// limiter lets through ten messages at once and one a second after that.
type limiter struct {
	mu         sync.Mutex
	tokens     int
	last       time.Time
	suppressed int
}

const limiterBurst = 10

// allow reports whether a message may pass, and how many did not since the last
// one that did.
func (l *limiter) allow() (suppressed int, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	if l.last.IsZero() {
		l.tokens = limiterBurst
		l.last = now
	}
	if n := int(now.Sub(l.last) / time.Second); n > 0 {
		l.tokens = min(limiterBurst, l.tokens+n)
		l.last = now
	}
	if l.tokens == 0 {
		l.suppressed++
		return 0, false
	}
	l.tokens--
	suppressed, l.suppressed = l.suppressed, 0
	return suppressed, true
}
