package monitor

import (
	"strconv"
	"sync"
	"time"

	"govmd/internal/event"
	"govmd/internal/qmp"
	"govmd/internal/qmp/qjson"
)

// eventInterval is the least time between two events that are limited.
const eventInterval = time.Second

// limited are the events that guests can cause at will, with the member by which
// they are told apart: events of one name that differ in it do not limit each
// other.
var limited = map[string]string{
	"RTC_CHANGE":                "",
	"WATCHDOG":                  "",
	"BALLOON_CHANGE":            "",
	"QUORUM_REPORT_BAD":         "node-name",
	"QUORUM_FAILURE":            "",
	"VSERPORT_CHANGE":           "id",
	"MEMORY_DEVICE_SIZE_CHANGE": "qom-path",
}

// maxLimited bounds how many events are told apart at a time.
const maxLimited = 1024

// limiter passes events on. Of those that are limited it passes the first at
// once, then at most one for each interval, the newest.
type limiter struct {
	emit func(event.Stamped) // called with mu held: events keep their order

	mu      sync.Mutex
	waiting map[limitKey]*limit
	stopped bool
}

type limitKey struct{ name, member string }

type limit struct {
	timer  *time.Timer
	newest event.Stamped // Event is nil when there is none
}

func (l *limiter) publish(s event.Stamped) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.stopped {
		return
	}
	name := s.Event.EventName()
	member, ok := limited[name]
	if !ok {
		l.emit(s)
		return
	}
	key := limitKey{name: name}
	if member != "" && len(l.waiting) < maxLimited {
		key.member = qmp.MemberText(s.Event, member)
	}
	if w := l.waiting[key]; w != nil {
		traceHeld.Emit(name)
		w.newest = s
		return
	}
	if l.waiting == nil {
		l.waiting = make(map[limitKey]*limit)
	}
	w := &limit{}
	w.timer = time.AfterFunc(eventInterval, func() { l.expire(key, w) })
	l.waiting[key] = w
	l.emit(s)
}

func (l *limiter) expire(key limitKey, w *limit) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.stopped {
		return
	}
	if w.newest.Event == nil {
		delete(l.waiting, key)
		return
	}
	l.emit(w.newest)
	w.newest = event.Stamped{}
	w.timer.Reset(eventInterval)
}

// stop drops what waits; nothing is passed on afterwards.
func (l *limiter) stop() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.stopped = true
	for _, w := range l.waiting {
		w.timer.Stop()
	}
	l.waiting = nil
}

// emit queues an event for every client that listens.
func (m *Monitor) emit(s event.Stamped) {
	traceEmit.Emit(s.Event.EventName())
	var msg []byte
	for _, sess := range m.snapshot() {
		if !sess.listens() {
			continue
		}
		if msg == nil {
			msg = appendEvent(nil, s)
		}
		sess.event(msg)
	}
}

func appendEvent(dst []byte, s event.Stamped) []byte {
	dst = append(dst, `{"timestamp": {"seconds": `...)
	dst = strconv.AppendInt(dst, s.Time.Unix(), 10)
	dst = append(dst, `, "microseconds": `...)
	dst = strconv.AppendInt(dst, int64(s.Time.Nanosecond()/1000), 10)
	dst = append(dst, `}, "event": `...)
	dst = qjson.AppendString(dst, s.Event.EventName())
	if qmp.HasData(s.Event) {
		dst = append(dst, `, "data": `...)
		dst = qmp.Append(dst, s.Event)
	}
	return append(dst, '}')
}
