package throttle

import "testing"

// run makes requests of n bytes back to back for seconds and returns how many
// went ahead.
func run(s *State, write bool, n int64, seconds float64) (passed int) {
	now, end := s.last, s.last+int64(seconds*1e9)
	for now < end {
		if wait := s.Wait(write, now); wait > 0 {
			now += wait
			continue
		}
		s.Account(write, n)
		passed++
	}
	return passed
}

func newState(set func(*Config)) *State {
	c := Unlimited()
	set(&c)
	s := &State{}
	s.Configure(c, 1e9)
	return s
}

func near(t *testing.T, what string, got, want int) {
	t.Helper()
	if got < want*98/100-2 || got > want*102/100+2 {
		t.Errorf("%s: %d, want about %d", what, got, want)
	}
}

func TestRates(t *testing.T) {
	iops := func(n uint64) func(*Config) { return func(c *Config) { c.Buckets[IOPSTotal].Avg = n } }
	near(t, "100 requests a second", run(newState(iops(100)), true, 4096, 10), 1010)
	near(t, "1 MiB a second", run(newState(func(c *Config) { c.Buckets[BPSTotal].Avg = 1 << 20 }), false, 4096, 10), 2560+26)
	s := newState(func(c *Config) { c.Buckets[IOPSWrite].Avg = 10 })
	if s.Account(false, 1); s.Wait(false, s.last) != 0 {
		t.Error("a limit of writes holds up reads")
	}
	near(t, "10 writes a second", run(s, true, 4096, 10), 101)
	near(t, "requests of four times the size that counts as one",
		run(newState(func(c *Config) { iops(100)(c); c.OpSize = 4096 }), true, 16384, 10), 252)
}

func TestBursts(t *testing.T) {
	set := func(length uint64) func(*Config) {
		return func(c *Config) { c.Buckets[IOPSTotal] = Bucket{Avg: 100, Max: 1000, Length: length} }
	}
	near(t, "a bucketful, then the rate", run(newState(set(1)), true, 1, 10), 1000+100*10)
	s := newState(set(5))
	near(t, "a burst is no faster than its rate", run(s, true, 1, 4), 4000+100)
	near(t, "and over once the bucket, which leaks meanwhile, is full", run(s, true, 1, 10), 1444+856)
}

func TestAClockThatGoesBack(t *testing.T) {
	s := newState(func(c *Config) { c.Buckets[IOPSTotal].Avg = 10 })
	s.Account(true, 1)
	s.Account(true, 1)
	if w := s.Wait(true, 0); w <= 0 || w > 1e9 {
		t.Errorf("wait: %d", w)
	}
}

func TestNoAllocations(t *testing.T) {
	s := newState(func(c *Config) { c.Buckets[IOPSTotal].Avg = 1 << 40 })
	if n := testing.AllocsPerRun(100, func() { s.Wait(true, 5e9); s.Account(true, 4096) }); n != 0 {
		t.Errorf("%v allocations for each request", n)
	}
}
