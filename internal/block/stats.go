package block

import (
	"slices"
	"sync"
	"time"

	"govmd/internal/clock"
)

// Acct is a kind of operation in the accounts.
type Acct uint8

// The kinds.
const (
	AcctRead Acct = iota
	AcctWrite
	AcctFlush
	AcctUnmap
	NumAcct
)

func acctOf(op Op) Acct {
	switch op {
	case OpRead:
		return AcctRead
	case OpFlush:
		return AcctFlush
	case OpDiscard:
		return AcctUnmap
	}
	return AcctWrite
}

// Counts are the accounts of one kind of operation.
type Counts struct {
	Bytes, Ops, Merged, Failed, Invalid uint64
	TotalTime                           int64 // ns
}

// Histogram counts latencies in bins: Bins[i] those from Boundaries[i-1] up to
// below Boundaries[i], in ns.
type Histogram struct {
	Boundaries []uint64
	Bins       []uint64
}

// Stats are a back end's accounts. All methods may be called from anywhere.
type Stats struct {
	clock *clock.Clock

	mu         sync.Mutex
	counts     [NumAcct]Counts
	hist       [NumAcct]*Histogram
	timed      []*timed
	lastAccess int64
	noInvalid  bool // stats-account-invalid=off
	noFailed   bool // stats-account-failed=off
}

func (s *Stats) init(set *clock.Set) {
	if set != nil {
		s.clock = set.Realtime
	}
}

var epoch = time.Now()

func (s *Stats) now() int64 {
	if s.clock != nil {
		return s.clock.Now()
	}
	return int64(time.Since(epoch))
}

// SetAccounting says whether invalid and failed operations count.
func (s *Stats) SetAccounting(invalid, failed bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.noInvalid, s.noFailed = !invalid, !failed
}

// Accounting returns what SetAccounting has set.
func (s *Stats) Accounting() (invalid, failed bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return !s.noInvalid, !s.noFailed
}

// Invalid counts a request that the device has refused.
func (s *Stats) Invalid(op Op) {
	now := s.now()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.counts[acctOf(op)].Invalid++
	if !s.noInvalid {
		s.lastAccess = now
	}
}

// Merged counts n requests that the device has merged into others.
func (s *Stats) Merged(op Op, n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.counts[acctOf(op)].Merged += uint64(n)
}

// done accounts for a request's end.
func (s *Stats) done(r *Request, err error) {
	now := s.now()
	s.Account(acctOf(r.Op), r.bytes(), r.start, now, err)
}

// Start returns the time for Account.
func (s *Stats) Start() int64 { return s.now() }

// Account adds an operation that a device has done past a Queue.
func (s *Stats) Account(k Acct, bytes, start, end int64, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := &s.counts[k]
	took := end - start
	if err == nil {
		c.Bytes += uint64(bytes)
		c.Ops++
	} else {
		c.Failed++
	}
	if h := s.hist[k]; h != nil {
		i, _ := slices.BinarySearch(h.Boundaries, uint64(took)+1)
		h.Bins[i]++
	}
	if err != nil && s.noFailed {
		return
	}
	c.TotalTime += took
	s.lastAccess = end
	for _, t := range s.timed {
		t.account(k, took, end)
	}
}

// Counts returns the accounts of a kind.
func (s *Stats) Counts(k Acct) Counts {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.counts[k]
}

// Idle returns for how long there has been no access; ok is false when there
// never was one.
func (s *Stats) Idle() (ns int64, ok bool) {
	now := s.now()
	s.mu.Lock()
	defer s.mu.Unlock()
	return now - s.lastAccess, s.lastAccess > 0
}

// SetHistogram counts latencies of a kind from now on, in bins between the
// boundaries, which grow; none ends it.
func (s *Stats) SetHistogram(k Acct, boundaries []uint64) error {
	for i := range boundaries {
		if boundaries[i] == 0 || i > 0 && boundaries[i] <= boundaries[i-1] {
			return Errorf(KindInvalid, "Latency histogram boundaries must grow")
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(boundaries) == 0 {
		s.hist[k] = nil
		return nil
	}
	s.hist[k] = &Histogram{Boundaries: slices.Clone(boundaries), Bins: make([]uint64, len(boundaries)+1)}
	return nil
}

// Histogram returns a copy of a kind's histogram, or nil.
func (s *Stats) Histogram(k Acct) *Histogram {
	s.mu.Lock()
	defer s.mu.Unlock()
	h := s.hist[k]
	if h == nil {
		return nil
	}
	return &Histogram{Boundaries: slices.Clone(h.Boundaries), Bins: slices.Clone(h.Bins)}
}

// Timed are the latencies within an interval.
type Timed struct {
	Interval      time.Duration
	Min, Max, Avg [NumAcct]int64   // ns
	QueueDepth    [NumAcct]float64 // mean, read and write only
}

// AddInterval has latencies summed up over windows of d (stats-intervals).
func (s *Stats) AddInterval(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.timed = append(s.timed, newTimed(d, s.now()))
}

// Intervals returns what AddInterval asked for.
func (s *Stats) Intervals() []Timed {
	now := s.now()
	s.mu.Lock()
	defer s.mu.Unlock()
	var list []Timed
	for _, t := range s.timed {
		list = append(list, t.report(now))
	}
	return list
}

// timed keeps two windows that overlap by half, as QEMU does: what is reported
// is the older one, which covers between half an interval and a whole one.
type timed struct {
	period int64
	win    [NumAcct][2]window
}

type window struct {
	expires       int64
	min, max, sum int64
	n             int64
}

func newTimed(d time.Duration, now int64) *timed {
	t := &timed{period: int64(d)}
	for k := range t.win {
		t.win[k][0].expires = now + t.period/2
		t.win[k][1].expires = now + t.period
	}
	return t
}

func (t *timed) roll(k Acct, now int64) {
	for i := range t.win[k] {
		w := &t.win[k][i]
		if w.expires <= now {
			*w = window{expires: w.expires + (now-w.expires)/t.period*t.period + t.period}
		}
	}
}

func (t *timed) account(k Acct, took, now int64) {
	t.roll(k, now)
	for i := range t.win[k] {
		w := &t.win[k][i]
		if w.n == 0 || took < w.min {
			w.min = took
		}
		w.max = max(w.max, took)
		w.sum += took
		w.n++
	}
}

func (t *timed) report(now int64) Timed {
	r := Timed{Interval: time.Duration(t.period)}
	for k := range NumAcct {
		t.roll(k, now)
		w := t.win[k][0]
		if o := t.win[k][1]; o.expires < w.expires {
			w = o
		}
		if w.n > 0 {
			r.Min[k], r.Max[k], r.Avg[k] = w.min, w.max, w.sum/w.n
			r.QueueDepth[k] = float64(w.sum) / float64(max(1, now-(w.expires-t.period)))
		}
	}
	return r
}
