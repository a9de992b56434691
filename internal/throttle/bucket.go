package throttle

import "math"

// State is how full the buckets of a configuration are. Requests fill them; they
// leak at their limits' rates; a request has to wait while one that it would go
// into is above its brim.
//
// A limit without a burst rate has its brim at a tenth of a second's worth. With
// one, the brim is where a burst of that rate gets to in its whole length, and a
// second bucket with the burst's own rate keeps the burst from being faster than
// that.
type State struct {
	cfg   Config
	level [Kinds]float64 // units above empty
	burst [Kinds]float64 // the same of the bucket that limits bursts
	last  int64          // ns, when they last leaked
}

// tenth is the part of a second over which work is spread.
const tenth = 10

// Configure sets the limits and empties the buckets.
func (s *State) Configure(c Config, now int64) { *s = State{cfg: c, last: now} }

func (s *State) leak(now int64) {
	sec := float64(now-s.last) / 1e9
	if s.last = now; sec <= 0 {
		return // a clock that was set back, too
	}
	for k, b := range s.cfg.Buckets {
		s.level[k] = max(0, s.level[k]-float64(b.Avg)*sec)
		if b.Length > 1 {
			s.burst[k] = max(0, s.burst[k]-float64(b.Max)*sec)
		}
	}
}

// each calls fn for the kinds that a request counts for.
func each(write bool, fn func(total, one Kind)) {
	one := Kind(1)
	if write {
		one = 2
	}
	fn(BPSTotal, BPSTotal+one)
	fn(IOPSTotal, IOPSTotal+one)
}

// Wait returns for how many nanoseconds the next request has to wait, 0 for not
// at all.
func (s *State) Wait(write bool, now int64) (ns int64) {
	s.leak(now)
	each(write, func(total, one Kind) { ns = max(ns, s.waitFor(total), s.waitFor(one)) })
	return ns
}

func (s *State) waitFor(k Kind) int64 {
	b := s.cfg.Buckets[k]
	if b.Avg == 0 {
		return 0
	}
	brim, burstBrim := float64(b.Avg)/tenth, 0.0
	if b.Max > 0 {
		brim, burstBrim = float64(b.Max)*float64(b.Length), float64(b.Max)/tenth
	}
	if over := s.level[k] - brim; over > 0 {
		return nanoseconds(over, b.Avg)
	}
	if b.Length > 1 {
		if over := s.burst[k] - burstBrim; over > 0 {
			return nanoseconds(over, b.Max)
		}
	}
	return 0
}

func nanoseconds(units float64, rate uint64) int64 {
	return int64(min(math.Ceil(units*1e9/float64(rate)), 1<<62))
}

// Account notes a request of n bytes that goes ahead.
func (s *State) Account(write bool, n int64) {
	ops := 1.0
	if s.cfg.OpSize > 0 {
		ops = max(1, float64(n)/float64(s.cfg.OpSize))
	}
	each(write, func(total, one Kind) {
		units := float64(n)
		if total == IOPSTotal {
			units = ops
		}
		for _, k := range [2]Kind{total, one} {
			s.level[k] += units
			if s.cfg.Buckets[k].Length > 1 {
				s.burst[k] += units
			}
		}
	})
}
