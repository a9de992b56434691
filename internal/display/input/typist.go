package input

import (
	"time"

	"govmd/internal/clock"
	"govmd/internal/qmp"
)

const (
	// pace is the time between two keys that are pressed or released one after the
	// other: a guest has to keep up, and a keyboard remembers few keys.
	pace = 10 * time.Millisecond
	// defaultHold is how long keys are held that are to be held for no other time.
	defaultHold = 100 * time.Millisecond
	maxHold     = time.Hour
	// maxStrokes bounds what waits to be typed: some minutes of it.
	maxStrokes = 4096
)

// stroke is a key that is pressed or released, and the time until the next.
type stroke struct {
	key  Key
	down bool
	then time.Duration
}

// typist types what waits, in guest time. The router's lock guards it.
type typist struct {
	timer   *clock.Timer
	strokes []stroke
	waits   bool // for the timer
}

// Type presses keys one after the other, holds them, and releases them in the opposite
// order, after what is being typed already. It returns before that is done. While the
// machine has stopped it does nothing.
func (r *Router) Type(keys []Key, hold time.Duration) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case len(r.keyboards) == 0:
		return qmp.Errorf("the machine has no keyboard")
	case hold < 0 || hold > maxHold:
		return qmp.Errorf("Parameter 'hold-time' expects a number of milliseconds up to %d", maxHold.Milliseconds())
	case !r.live():
		return nil
	case len(r.queue.strokes)+2*len(keys) > maxStrokes:
		return qmp.Errorf("too many keys wait to be typed: %d", len(r.queue.strokes))
	}
	for i, k := range keys {
		then := pace
		if i == len(keys)-1 {
			then = max(hold, pace)
		}
		r.queue.strokes = append(r.queue.strokes, stroke{k, true, then})
	}
	for i := range keys {
		r.queue.strokes = append(r.queue.strokes, stroke{keys[len(keys)-1-i], false, pace})
	}
	if !r.queue.waits {
		r.typeNext()
	}
	return nil
}

// typeOn is called by the timer.
func (r *Router) typeOn() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, again := r.queue.timer.Deadline(); again {
		return
	}
	r.typeNext()
}

// typeNext types what is next, and sets the timer for what follows. r.mu is held.
func (r *Router) typeNext() {
	q := &r.queue
	q.waits = len(q.strokes) > 0
	if !q.waits {
		q.strokes = nil
		return
	}
	s := q.strokes[0]
	q.strokes = q.strokes[1:]
	r.keyLocked(s.key, s.down)
	q.timer.Set(r.virtual.Now() + int64(s.then))
}
