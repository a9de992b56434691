package device

import (
	"sync"
	"time"

	"github.com/sirupsen/logrus"
)

// Limiter bounds messages that a guest can bring about: it lets through ten at
// once and one a second after that. Its zero value is ready; it may be used from
// any goroutine.
type Limiter struct {
	mu         sync.Mutex
	tokens     int
	last       time.Time
	suppressed int
}

const limiterBurst = 10

// Log writes a message to e, if it may pass, with how many did not before.
func (l *Limiter) Log(e *logrus.Entry, level logrus.Level, format string, args ...any) {
	suppressed, ok := l.allow()
	if !ok {
		return
	}
	if suppressed > 0 {
		e = e.WithField("suppressed", suppressed)
	}
	e.Logf(level, format, args...)
}

// allow reports whether a message may pass, and how many did not since the last
// one that did.
func (l *Limiter) allow() (suppressed int, ok bool) {
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
