package worker

import (
	"slices"
	"time"
)

// Polling is how a worker looks for work before it waits for it: waiting costs
// a wake-up, looking costs processor time.
type Polling struct {
	Max    int64 // the longest that it polls, in ns; 0 for never
	Grow   int64 // factor by which the time grows when it was too short; 0 is 2
	Shrink int64 // divisor when it was in vain; 0 stops polling until work comes quickly again
}

// firstSpin is where the time begins to grow, in ns.
const firstSpin = 4000

// SetPolling changes how the worker polls its sources that can be looked at.
func (w *Worker) SetPolling(p Polling) { w.polling.Store(&p) }

func (w *Worker) listPolled() {
	var list []*Source
	for _, s := range w.sources {
		if s != nil && s.ready != nil {
			list = append(list, s)
		}
	}
	w.polled = slices.Clip(list)
}

// poll runs what is ready, looking for as long as the worker polls. It reports
// whether anything ran.
func (w *Worker) poll(begin int64) bool {
	p := w.polling.Load()
	if p == nil || p.Max == 0 || w.spin == 0 {
		return false
	}
	for {
		some, ran := w.look()
		if ran || !some || now()-begin >= min(w.spin, p.Max) {
			return ran
		}
	}
}

// look is one round over the sources. some is false when there are none.
func (w *Worker) look() (some, ran bool) {
	w.run.Lock()
	defer w.run.Unlock()
	if w.paused > 0 || w.closing || len(w.polled) == 0 {
		return false, false
	}
	for _, s := range w.polled {
		if s.ready() {
			s.fn()
			ran = true
		}
	}
	return true, ran
}

// adapt learns from how long it took until there was work.
func (w *Worker) adapt(took int64) {
	p := w.polling.Load()
	switch {
	case p == nil || p.Max == 0:
		w.spin = 0
	case took <= w.spin: // it was worth it
	case took > p.Max: // the wait is long: polling is in vain
		if p.Shrink == 0 {
			w.spin = 0
		} else {
			w.spin /= p.Shrink
		}
	case w.spin == 0:
		w.spin = min(firstSpin, p.Max)
	default:
		grow := p.Grow
		if grow == 0 {
			grow = 2
		}
		if w.spin > p.Max/grow {
			w.spin = p.Max
		} else {
			w.spin *= grow
		}
	}
}

var epoch = time.Now()

// now is the monotonic time in ns.
func now() int64 { return int64(time.Since(epoch)) }
